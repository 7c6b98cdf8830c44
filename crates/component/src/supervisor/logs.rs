//! What components write: lines, bounded in length and number, with what is in them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use super::spec::LogKeys;
use crate::unit::LogLevel;

/// The longest line, in bytes; the rest of a longer one is dropped.
const LONGEST_LINE: usize = 64 * 1024;
/// The buffer of each stream, in bytes.
const BUFFER: usize = 4096;
/// Lines that are taken at once, and in a second from then on; others are dropped, and counted.
const BURST: u64 = 5000;
const PER_SECOND: u64 = 1000;
/// A component that has written nothing for so long is idle.
const IDLE: Duration = Duration::from_secs(1);

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The file of a service.
    File,
}

impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogSource::Stdout => "stdout",
            LogSource::Stderr => "stderr",
            LogSource::File => "file",
        })
    }
}

/// The component that has written something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOrigin {
    /// Its id.
    pub component: String,
    /// The type of its inputs.
    pub kind: String,
    /// The name of its program.
    pub binary: String,
}

impl LogOrigin {
    /// The data set that its lines belong to.
    #[must_use]
    pub fn dataset(&self) -> String {
        format!("elastic_agent.{}", self.binary.replace('-', "_"))
    }
}

/// A line of a component.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord {
    /// Who wrote it.
    pub origin: Arc<LogOrigin>,
    /// Where.
    pub source: LogSource,
    /// How bad it is.
    pub level: LogLevel,
    /// When, in the component's own words; `None`: it does not say.
    pub time: Option<String>,
    /// What happened.
    pub message: String,
    /// What else it says.
    pub fields: Map<String, Value>,
}

/// Where the lines of components go. Called from the tasks that read them: it must not wait.
pub trait LogSink: fmt::Debug + Send + Sync {
    /// Takes a line.
    fn write(&self, record: LogRecord);
}

/// Writes the lines of components to the agent's own log.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnLog;

impl LogSink for OwnLog {
    fn write(&self, record: LogRecord) {
        let LogRecord { origin, source, level, message, fields, .. } = record;
        let fields = if fields.is_empty() { String::new() } else { Value::Object(fields).to_string() };
        /// By the names that those who read logs of components know.
        macro_rules! tell {
            ($level:ident) => {
                $level!(
                    component.id = origin.component,
                    component.type = origin.kind,
                    component.binary = origin.binary,
                    component.dataset = origin.dataset(),
                    log.source = %source,
                    fields,
                    "{message}"
                )
            };
        }
        match level {
            LogLevel::Error => tell!(error),
            LogLevel::Warning => tell!(warn),
            LogLevel::Info => tell!(info),
            LogLevel::Debug | LogLevel::Trace => tell!(debug),
        }
    }
}

/// How much the units of a component log.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels(Arc<RwLock<BTreeMap<String, LogLevel>>>);

impl Levels {
    pub(super) fn set(&self, levels: BTreeMap<String, LogLevel>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = levels;
    }

    /// That of a unit, or else of the one that logs most.
    fn of(&self, unit: Option<&str>) -> LogLevel {
        let levels = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let own = unit.and_then(|unit| levels.get(unit)).copied();
        own.or_else(|| levels.values().max().copied()).unwrap_or_default()
    }
}

/// What reads the lines of a component.
#[derive(Clone, Debug)]
pub(super) struct LogReader {
    pub(super) origin: Arc<LogOrigin>,
    pub(super) keys: Arc<LogKeys>,
    pub(super) levels: Levels,
    pub(super) sink: Arc<dyn LogSink>,
}

impl LogReader {
    /// Reads a stream to its end.
    pub(super) async fn run(self, stream: impl AsyncRead + Unpin, source: LogSource) {
        let mut stream = BufReader::with_capacity(BUFFER, stream);
        let mut rate = Rate::new();
        loop {
            let line = match self.next_line(&mut stream, &mut rate, source).await {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    debug!(component = self.origin.component, %error, "its output cannot be read any more");
                    break;
                }
            };
            if !rate.allows() {
                continue;
            }
            self.tell_dropped(&mut rate, source);
            let text = String::from_utf8_lossy(&line);
            if let Some(record) = self.record(text.trim_end(), source) {
                self.sink.write(record);
            }
        }
        self.tell_dropped(&mut rate, source);
    }

    /// The next line. While there is none, it is told what was left out before.
    async fn next_line(
        &self,
        stream: &mut (impl AsyncBufRead + Unpin),
        rate: &mut Rate,
        source: LogSource,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut reading = pin!(read_line(stream));
        if rate.dropped > 0 {
            match timeout(IDLE, &mut reading).await {
                Ok(line) => return line,
                Err(_) => self.tell_dropped(rate, source),
            }
        }
        reading.await
    }

    fn tell_dropped(&self, rate: &mut Rate, source: LogSource) {
        let dropped = std::mem::take(&mut rate.dropped);
        if dropped > 0 {
            let message = format!("{dropped} lines are left out: the component writes too many");
            self.sink.write(LogRecord {
                origin: Arc::clone(&self.origin),
                source,
                level: LogLevel::Warning,
                time: None,
                message,
                fields: Map::new(),
            });
        }
    }

    /// What a line says; `None`: nothing that is wanted.
    fn record(&self, line: &str, source: LogSource) -> Option<LogRecord> {
        if line.trim().is_empty() {
            return None;
        }
        let map = line.starts_with('{').then(|| serde_json::from_str::<Map<String, Value>>(line).ok());
        let (level, time, message, fields) = match map.flatten() {
            Some(mut fields) => {
                let level = take_text(&mut fields, &self.keys.level_key);
                let level = level.and_then(|level| LogLevel::parse(&level)).unwrap_or_default();
                let time = take_text(&mut fields, &self.keys.time_key);
                let message = take_text(&mut fields, &self.keys.message_key).unwrap_or_default();
                for key in &self.keys.ignore_keys {
                    take(&mut fields, key);
                }
                (level, time, message, fields)
            }
            None => {
                let level = if source == LogSource::Stderr { LogLevel::Error } else { LogLevel::Info };
                (level, None, line.to_owned(), Map::new())
            }
        };
        let wanted = self.levels.of(find(&fields, "unit.id").and_then(Value::as_str));
        (level.min(LogLevel::Debug) <= wanted).then(|| LogRecord {
            origin: Arc::clone(&self.origin),
            source,
            level,
            time,
            message,
            fields,
        })
    }
}

/// The value at `a.b`, written so or as `{a: {b}}`.
fn find<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).or_else(|| {
        let (first, rest) = key.split_once('.')?;
        find(map.get(first)?.as_object()?, rest)
    })
}

fn take(map: &mut Map<String, Value>, key: &str) -> Option<Value> {
    if let Some(value) = map.remove(key) {
        return Some(value);
    }
    let (first, rest) = key.split_once('.')?;
    let inner = map.get_mut(first)?.as_object_mut()?;
    let value = take(inner, rest);
    if inner.is_empty() {
        map.remove(first);
    }
    value
}

fn take_text(map: &mut Map<String, Value>, key: &str) -> Option<String> {
    match take(map, key)? {
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// The next line, without its end, as far as it is kept.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut is_begun = false;
    loop {
        let available = stream.fill_buf().await?;
        if available.is_empty() {
            return Ok(is_begun.then_some(line));
        }
        is_begun = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let taken = end.map_or(available.len(), |end| end + 1);
        stream.consume(taken);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// How many lines are taken.
#[derive(Debug)]
struct Rate {
    left: u64,
    since: Instant,
    dropped: u64,
}

impl Rate {
    fn new() -> Rate {
        Rate { left: BURST, since: Instant::now(), dropped: 0 }
    }

    fn allows(&mut self) -> bool {
        if self.left == 0 && self.since.elapsed() >= Duration::from_secs(1) {
            self.left = PER_SECOND;
            self.since = Instant::now();
        } else if self.since.elapsed() >= Duration::from_secs(10) {
            self.left = BURST;
            self.since = Instant::now();
        }
        if self.left == 0 {
            self.dropped += 1;
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests;
