//! Log lines on stderr.
//!
//! Under systemd each line begins with its priority as `<N>`, which journald takes off (sd-daemon(3)), and
//! has no time of its own. Otherwise it begins with the time and the level. A line is one line: control
//! characters in it are escaped, so that nobody's input can forge another one.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

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
}

fn targets(verbosity: i64) -> Targets {
    let own = if verbosity > 0 { LevelFilter::DEBUG } else { LevelFilter::INFO };
    Targets::new().with_default(LevelFilter::WARN).with_target(OWN, own)
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

    use super::{Style, parse_stream, subscriber};

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
