//! Log lines, on stderr or in files.
//!
//! Under systemd each line begins with its priority as `<N>`, which journald takes off (sd-daemon(3)), and
//! has no time of its own. Otherwise it begins with the time and the level. A line is one line: control
//! characters in it are escaped, so that nobody's input can forge another one.

mod ecs;
mod files;

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

use ecs::EcsLines;
use files::Rotating;
pub use files::{Files, FilesError};

/// Our own crates begin with this; of the others only warnings are of interest.
const OWN: &str = "fleet";

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `<6>message`
    Journal,
    /// `2026-01-02T03:04:05.678901Z  INFO message`
    Plain,
}

impl Style {
    /// The style for a standard error that is connected to journald by the evidence of `JOURNAL_STREAM`,
    /// which systemd sets to the device and inode of that stream. A process in between may have redirected
    /// the stream and left the variable.
    #[must_use]
    pub fn detect(journal_stream: Option<&str>) -> Style {
        let stderr = std::fs::metadata("/proc/self/fd/2").map(|stream| (stream.dev(), stream.ino()));
        match (journal_stream.and_then(parse_stream), stderr) {
            (Some(announced), Ok(actual)) if announced == actual => Style::Journal,
            _ => Style::Plain,
        }
    }
}

fn parse_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// The log's level, which can be changed while the daemon runs.
#[derive(Clone, Debug)]
pub struct Verbosity {
    handle: reload::Handle<Targets, Registry>,
}

impl Verbosity {
    /// 0 tells what an operator wants to know, anything above also what a developer does.
    pub fn set(&self, verbosity: i64) {
        // It fails only when logging has ended, that is, at the end of the process.
        let _ = self.handle.reload(targets(verbosity));
    }

    /// What is not finer than `level`.
    pub fn set_level(&self, level: Level) {
        let _ = self.handle.reload(targets_at(level));
    }
}

fn targets(verbosity: i64) -> Targets {
    targets_at(if verbosity > 0 { Level::DEBUG } else { Level::INFO })
}

/// Others never tell more than warnings: their details may hold what nobody is to read, such as headers.
fn targets_at(level: Level) -> Targets {
    let own = LevelFilter::from_level(level);
    Targets::new().with_default(own.min(LevelFilter::WARN)).with_target(OWN, own)
}

/// Where log lines go, and how they look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nowhere.
    Nowhere,
    /// To standard error, for a person or for journald.
    Stderr(Style),
    /// To standard error, a JSON object each, with the names of the Elastic Common Schema.
    StderrJson,
    /// To files that follow each other, as JSON.
    Files(Files),
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log was started before.
    #[error("the log was started before")]
    Twice(#[source] TryInitError),
    /// There are no files for it.
    #[error("there are no log files")]
    Files(#[source] FilesError),
    /// Standard error cannot be kept.
    #[error("there is no standard error")]
    Stderr(#[source] io::Error),
}

/// Starts the log of `service` for the whole process, with what is not finer than `level`. Returns standard error
/// as it was before the log took it: for what is said to whoever started the process, and is not for the log.
///
/// # Errors
/// The log was started before, or its files cannot be opened.
pub fn start_to(output: Output, service: &'static str, level: Level) -> Result<File, StartError> {
    start_steered(output, service, level).map(|(terminal, _)| terminal)
}

/// The same, with a level that can be changed; `None`: nothing is logged.
///
/// # Errors
/// The log was started before, or its files cannot be opened.
pub fn start_steered(
    output: Output,
    service: &'static str,
    level: Level,
) -> Result<(File, Option<Verbosity>), StartError> {
    let terminal = io::stderr().as_fd().try_clone_to_owned().map_err(StartError::Stderr)?;
    let lines = tracing_subscriber::fmt::layer();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match output {
        Output::Nowhere => return Ok((terminal.into(), None)),
        Output::Stderr(style) => Box::new(lines.with_writer(io::stderr).event_format(Lines(style))),
        Output::StderrJson => Box::new(lines.with_writer(io::stderr).event_format(EcsLines(service))),
        Output::Files(files) => {
            let log = Arc::new(Rotating::open(files).map_err(StartError::Files)?);
            Box::new(lines.with_writer(log).event_format(EcsLines(service)))
        }
    };
    let (filter, handle) = reload::Layer::new(targets_at(level));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    subscriber.try_init().map_err(StartError::Twice)?;
    Ok((terminal.into(), Some(Verbosity { handle })))
}

/// Starts logging to stderr for the whole process.
///
/// # Errors
/// It was started before.
pub fn start(style: Style, verbosity: i64) -> Result<Verbosity, TryInitError> {
    let (subscriber, verbosity) = subscriber(style, verbosity, io::stderr);
    subscriber.try_init()?;
    Ok(verbosity)
}

fn subscriber<W>(style: Style, verbosity: i64, writer: W) -> (impl Subscriber + Send + Sync, Verbosity)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(targets(verbosity));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).event_format(Lines(style));
    (tracing_subscriber::registry().with(lines.with_filter(filter)), Verbosity { handle })
}

/// Writes a line for each event.
struct Lines(Style);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        match self.0 {
            Style::Journal => write!(writer, "<{}>", priority(level))?,
            Style::Plain => {
                SystemTime.format_time(&mut writer)?;
                write!(writer, " {level:>5} ")?;
            }
        }
        let mut line = String::new();
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                write!(line, "{}: ", span.name())?;
            }
        }
        context.format_fields(Writer::new(&mut line), event)?;
        write_escaped(&mut writer, &line)?;
        writeln!(writer)
    }
}

/// syslog's priorities.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn write_escaped(writer: &mut Writer<'_>, line: &str) -> fmt::Result {
    for c in line.chars() {
        if c.is_control() {
            write!(writer, "{}", c.escape_default())?;
        } else {
            writer.write_char(c)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;

    use tracing_subscriber::layer::SubscriberExt;

    use super::{EcsLines, Level, Style, parse_stream, subscriber, targets_at};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn buffer() -> (Buffer, impl Fn() -> Buffer + Send + Sync + 'static) {
        let buffer = Buffer::default();
        let clone = buffer.clone();
        (buffer, move || clone.clone())
    }

    #[test]
    fn lines_for_the_journal_have_priorities() {
        let (buffer, writer) = buffer();
        let (subscriber, _verbosity) = subscriber(Style::Journal, 1, writer);
        with_default(subscriber, || {
            tracing::error!(target: "fleetd", "broken");
            tracing::warn!(target: "fleetd", unit = "a.service", "odd");
            tracing::info!(target: "fleetd", "fine");
            tracing::debug!(target: "fleet_store::etcd", "detail");
        });
        assert_eq!(buffer.take(), "<3>broken\n<4>odd unit=\"a.service\"\n<6>fine\n<7>detail\n");
    }

    #[test]
    fn plain_lines_have_a_time_and_a_level() {
        let (buffer, writer) = buffer();
        let (subscriber, _verbosity) = subscriber(Style::Plain, 0, writer);
        with_default(subscriber, || {
            let span = tracing::info_span!(target: "fleetd", "engine");
            span.in_scope(|| tracing::info!(target: "fleetd", "elected"));
        });
        let line = buffer.take();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{line}");
        assert_eq!(rest, " INFO engine: elected\n");
    }

    #[test]
    fn lines_of_json_have_the_names_of_the_schema() {
        let (buffer, writer) = buffer();
        let layer = tracing_subscriber::fmt::layer().with_writer(writer).event_format(EcsLines("server"));
        let subscriber = tracing_subscriber::registry().with(layer).with(targets_at(Level::WARN));
        with_default(subscriber, || {
            let error = io::Error::other("a\nb");
            let error = &error as &dyn std::error::Error;
            tracing::warn!(target: "fleet_server", agent = "web-1", count = 7, error, "odd\u{2028}");
            tracing::info!(target: "fleet_server", "not told");
        });
        let text = buffer.take();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let mut line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(line["@timestamp"].take().as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({
            "@timestamp": null,
            "log.level": "warn",
            "log.logger": "fleet_server",
            "message": "odd\u{2028}",
            "error.message": "a\nb",
            "labels": {"agent": "web-1", "count": 7},
            "service.name": "server",
            "ecs.version": "1.6.0",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn the_level_can_change_and_strangers_only_warn() {
        let (buffer, writer) = buffer();
        let (subscriber, verbosity) = subscriber(Style::Journal, 0, writer);
        with_default(subscriber, || {
            let log = || {
                tracing::debug!(target: "fleetd", "own");
                tracing::info!(target: "h2", "strange");
                tracing::warn!(target: "h2", "bad");
            };
            log();
            assert_eq!(buffer.take(), "<4>bad\n");
            verbosity.set(1);
            log();
            assert_eq!(buffer.take(), "<7>own\n<4>bad\n");
            verbosity.set(0);
            log();
            assert_eq!(buffer.take(), "<4>bad\n");
        });
    }

    #[test]
    fn input_cannot_forge_a_line() {
        let (buffer, writer) = buffer();
        let (subscriber, _verbosity) = subscriber(Style::Journal, 0, writer);
        with_default(subscriber, || tracing::info!(target: "fleetd", "name {}", "a\n<3>forged\u{1b}[0m"));
        assert_eq!(buffer.take(), "<6>name a\\n<3>forged\\x1b[0m\n");
    }

    #[test]
    fn another_stream_than_the_announced_one_is_not_the_journal() {
        assert_eq!(Style::detect(None), Style::Plain);
        assert_eq!(Style::detect(Some("nonsense")), Style::Plain);
        assert_eq!(Style::detect(Some("1:1")), Style::Plain);
        assert_eq!(parse_stream("12:345"), Some((12, 345)));
    }
}
