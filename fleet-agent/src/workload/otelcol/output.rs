//! What a collector writes, in the agent's log.

use std::sync::{Mutex, PoisonError};

use fleet_component::supervisor::{LogRecord, LogSink, OwnLog};
use fleet_component::unit::LogLevel;

/// Of a failure, so much is told.
const LONGEST: usize = 500;

/// Passes on lines, and remembers the last one that told of a failure.
#[derive(Debug, Default)]
pub(super) struct Lines {
    failure: Mutex<String>,
}

impl Lines {
    /// The last failure that was told of since this was asked; empty: none.
    pub(super) fn take_failure(&self) -> String {
        std::mem::take(&mut *self.failure.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogSink for Lines {
    fn write(&self, mut record: LogRecord) {
        // A collector's lines for people are its time, a level, and the rest, with tabs between them.
        let mut parts = record.message.splitn(3, '\t');
        if let (Some(_), Some(level), Some(rest)) = (parts.next(), parts.next(), parts.next())
            && let Some(level) = LogLevel::parse(level)
        {
            let rest = rest.replace('\t', " ");
            record.level = level;
            record.message = rest;
        }
        if record.level == LogLevel::Error {
            let text: String = record.message.chars().take(LONGEST).collect();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = text;
        }
        OwnLog.write(record);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fleet_component::supervisor::{LogOrigin, LogSource};

    use super::*;

    #[test]
    fn failures_are_told_apart_from_the_rest() {
        let lines = Lines::default();
        let origin = LogOrigin { component: "c".into(), kind: "k".into(), binary: "b".into() };
        let origin = Arc::new(origin);
        let write = |message: &str| {
            lines.write(LogRecord {
                origin: Arc::clone(&origin),
                source: LogSource::Stderr,
                level: LogLevel::Error,
                time: None,
                message: message.to_owned(),
                fields: serde_json::Map::new(),
            });
        };
        write("Error: invalid configuration");
        write("2026-11-22T13:00:00Z\tinfo\tservice.go:1\tEverything is ready");
        assert_eq!(lines.take_failure(), "Error: invalid configuration");
        assert_eq!(lines.take_failure(), "");
    }
}
