//! What can go wrong in the harness itself.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A failure of the harness, or of something that a test asked it to do.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// Real machines cannot run here; the reason is for the reader of the test report.
    #[error("real machines cannot run here: {0}")]
    Unavailable(String),
    /// A program could not be started at all.
    #[error("cannot start `{command}`")]
    Spawn {
        /// The command line.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program ended with a non-zero status where success was demanded.
    #[error("`{command}` failed ({status})\nstdout: {stdout}\nstderr: {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// The exit status, or the signal.
        status: String,
        /// Its standard output.
        stdout: String,
        /// Its standard error.
        stderr: String,
    },
    /// A state was not reached in time.
    #[error("{what}: not within {bound:?}; last seen: {last}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        bound: Duration,
        /// The state that was seen last.
        last: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An operation needs a running machine.
    #[error("machine {machine} is not running")]
    NotRunning {
        /// Its name.
        machine: String,
    },
    /// A machine ended while it was expected to boot.
    #[error("machine {machine} ended while booting ({status}); its console:\n{console}")]
    DiedBooting {
        /// Its name.
        machine: String,
        /// How systemd-nspawn ended.
        status: String,
        /// The end of its console output.
        console: String,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate {name}")]
    Certificate {
        /// Its subject.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// An HTTP request got no answer.
    #[error("{method} {url}: no answer: {reason}")]
    Http {
        /// The method.
        method: String,
        /// The address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// Output of a program was not in the expected form.
    #[error("unexpected output: {0}")]
    Unexpected(String),
}

impl HarnessError {
    /// For `map_err`: a failed operation on a file.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
