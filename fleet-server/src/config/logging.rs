//! `logging`: where log lines go, and how many.

use std::path::PathBuf;
use std::time::Duration;

use fleet_service::config::document::{Section, read};
use fleet_service::logging::Files;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors alone.
    Error,
    /// What may become an error.
    Warning,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

pub(super) const LEVELS: [(&str, Level); 6] = [
    ("trace", Level::Trace),
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("warn", Level::Warning),
    ("warning", Level::Warning),
    ("error", Level::Error),
];

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Nowhere.
    Nowhere,
    /// Standard error.
    Stderr {
        /// For a person to read, instead of JSON lines.
        pretty: bool,
    },
    /// Files that are rotated, with JSON lines.
    Files(Files),
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// How much is told.
    pub level: Level,
    /// Where to. `None`: the configuration does not say, and the daemon writes to standard error, as every
    /// other of ours does.
    pub destination: Option<Destination>,
}

pub(super) fn read(root: &Section<'_>) -> Logging {
    let section = root.section("logging");
    let level = section.get("level", Level::Info, read::one_of(&LEVELS));
    let stderr = section.get("to_stderr", false, read::boolean);
    let to_files = section.optional("to_files", read::boolean);
    let pretty = section.get("pretty", false, read::boolean);
    let has_files = section.has("files");
    let files = files(&section.section("files"));
    let destination = match (stderr, to_files) {
        (true, _) => Some(Destination::Stderr { pretty }),
        (false, Some(false)) => Some(Destination::Nowhere),
        (false, Some(true)) => Some(Destination::Files(files)),
        (false, None) if has_files => Some(Destination::Files(files)),
        (false, None) => None,
    };
    if pretty && !stderr {
        section.warning("pretty", "logging.pretty has no effect: it needs logging.to_stderr: true");
    }
    if has_files && stderr {
        section.warning("files", "logging.files has no effect: logging.to_stderr wins");
    }
    Logging { level, destination }
}

fn files(section: &Section<'_>) -> Files {
    let interval = super::duration(section, "interval", Duration::ZERO);
    Files {
        path: section.get("path", PathBuf::from("."), read::path),
        name: section.get("name", "fleet-server.log".to_owned(), read::text),
        rotate_every_bytes: section.get("rotateeverybytes", 10 << 20, read::integer(1..=i64::MAX as u64)),
        keep_files: section.get("keepfiles", 7, read::integer(0..=1024)),
        permissions: section.get("permissions", 0o600, read::integer(0..=0o777)),
        interval: (!interval.is_zero()).then_some(interval),
        rotate_on_startup: section.get("rotateonstartup", true, read::boolean),
        redirect_stderr: section.get("redirect_stderr", false, read::boolean),
    }
}
