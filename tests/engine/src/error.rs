//! What can go wrong with an engine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why an engine is not there, or does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A program that downloads or starts it is not installed, or does not start.
    #[error("cannot run {program}; it belongs to the Debian package {package}")]
    Run {
        /// Its name.
        program: String,
        /// What brings it.
        package: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A download failed.
    #[error("{program} did not download {what}: {output}")]
    Download {
        /// The program that was to do it.
        program: String,
        /// What was to come.
        what: &'static str,
        /// What the program said.
        output: String,
    },
    /// What came is not what was published.
    #[error("{what} has the SHA-256 {found} instead of {wanted}")]
    Checksum {
        /// What came.
        what: &'static str,
        /// Its checksum.
        found: String,
        /// The published one.
        wanted: &'static str,
    },
    /// There is none for such machines.
    #[error("no Java runtime is known for {0} machines")]
    Machine(&'static str),
    /// A file or folder of the installation or of the engine.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An archive cannot be read.
    #[error("{} is no archive, or a broken one", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: zip::result::ZipError,
    },
    /// It does not serve in time, or ended at once.
    #[error("the engine {what}; its log ends with:\n{log}")]
    Start {
        /// What it did instead.
        what: String,
        /// The end of its log.
        log: String,
    },
    /// The thread that the engine belongs to has ended.
    #[error("the engine's keeper has ended")]
    Gone,
    /// Its address is none, or its TLS settings are wrong.
    #[error("{0}")]
    Address(String),
    /// No whole answer came.
    #[error("{method} {url}: {reason}")]
    Http {
        /// The method of the request.
        method: String,
        /// Its address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The engine refused.
    #[error("the engine answers {status}: {body}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// A state was not reached.
    #[error("not within {bound:?}: {what}; last seen: {last}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        bound: Duration,
        /// What was there instead.
        last: String,
    },
}

impl EngineError {
    pub(crate) fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { verb, path: path.to_owned(), source }
    }

    /// The error and all that is behind it, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}
