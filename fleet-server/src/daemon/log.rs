//! The log that the configuration asks for.

use std::fs::File;
use std::io::{self, Write};

use fleet_service::error::chain;
use fleet_service::logging::{self, Output, StartError, Style, Verbosity};
use tracing::Level as Finest;

use crate::config::logging::{Destination, Level, Logging};

/// What the lines name as their service.
const SERVICE: &str = "fleet-server";

/// Where whoever started the server is told what is for nobody else, and why it cannot run.
#[derive(Debug)]
pub(crate) struct Terminal {
    stderr: File,
    /// The log goes there too.
    has_log: bool,
    /// `None`: nothing is logged.
    verbosity: Option<Verbosity>,
}

impl Terminal {
    /// Nobody is left to tell if this fails.
    pub(super) fn tell(&mut self, text: &str) {
        let _ = self.stderr.write_all(text.as_bytes());
    }

    /// The log's level, which can be changed.
    pub(crate) fn verbosity(&self) -> Option<Verbosity> {
        self.verbosity.clone()
    }

    /// Tells why the server cannot run, unless its log has told it already.
    pub(super) fn tell_failure(&mut self, error: &dyn std::error::Error) {
        if !self.has_log {
            self.tell(&format!("error: {}\n", chain(error)));
        }
    }
}

/// Tells why there is no log.
pub(crate) fn tell_on_stderr(error: &dyn std::error::Error) {
    // Nobody is left to tell if this fails.
    let _ = io::stderr().write_all(format!("error: {}\n", chain(error)).as_bytes());
}

/// Starts the log.
pub(crate) fn start(config: &Logging) -> Result<Terminal, StartError> {
    let style = Style::detect(std::env::var("JOURNAL_STREAM").ok().as_deref());
    let output = match &config.destination {
        None | Some(Destination::Stderr { pretty: true }) => Output::Stderr(style),
        Some(Destination::Stderr { pretty: false }) => Output::StderrJson,
        Some(Destination::Nowhere) => Output::Nowhere,
        Some(Destination::Files(files)) => Output::Files(files.clone()),
    };
    let finest = match config.level {
        Level::Error => Finest::ERROR,
        Level::Warning => Finest::WARN,
        Level::Info => Finest::INFO,
        Level::Debug => Finest::DEBUG,
        Level::Trace => Finest::TRACE,
    };
    let has_log = matches!(output, Output::Stderr(_) | Output::StderrJson);
    let (stderr, verbosity) = logging::start_steered(output, SERVICE, finest)?;
    Ok(Terminal { stderr, has_log, verbosity })
}
