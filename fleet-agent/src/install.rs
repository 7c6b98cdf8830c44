//! Putting the agent on a machine as a service of systemd, and taking it away.
//!
//! The programs lie below a home, a version each, with a link to the one that runs, so that another version is taken
//! up by turning the link. What the agent keeps, its logs and its configuration lie where a system keeps such files.

mod files;
mod layout;
mod service;
mod unit;

use std::io;
use std::path::PathBuf;

pub use files::{add_components, add_version, give, owns, remove_all, secure_data, turn_link};
pub use layout::{FOLDER, Layout, Record};
pub use service::{Account, Systemctl};
pub use unit::unit_file;

/// What could not be done.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Only root may.
    #[error("this must be run as root: sudo fleet-agent {0}")]
    NotRoot(&'static str),
    /// It is installed.
    #[error("the agent is installed already in {}: give --force to install it anew", home.display())]
    Installed {
        /// Where.
        home: PathBuf,
    },
    /// It is not installed.
    #[error("no agent is installed in {}", home.display())]
    NotInstalled {
        /// Where.
        home: PathBuf,
    },
    /// The machine was started by something else.
    #[error(
        "systemd does not run here, and the agent would be a service of it: run fleet-agent enroll, and fleet-agent run"
    )]
    NoSystemd,
    /// A step with files failed.
    #[error("{what} {} failed", path.display())]
    File {
        /// The step.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("{command} failed: {message}")]
    Command {
        /// The program with its arguments.
        command: String,
        /// What it said.
        message: String,
    },
    /// A name or a path that cannot be used.
    #[error("{field} {given:?} cannot be used: {problem}")]
    Field {
        /// The flag.
        field: &'static str,
        /// What was given.
        given: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl InstallError {
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> InstallError {
        let path = path.into();
        move |source| InstallError::File { what, path, source }
    }
}
