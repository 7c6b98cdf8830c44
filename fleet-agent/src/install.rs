//! Putting the agent on a machine as a service of systemd, and taking it away.
//!
//! The programs lie below a home, a version each, with a link to the one that runs, so that another version is taken
//! up by turning the link. What the agent keeps, its logs and its configuration lie where a system keeps such files.
//!
//! All but the configuration belongs to the user of an agent without privileges. Where root works there, it first takes
//! everything for itself ([`seize`]), or does what it does as that user ([`become_owner`]).

mod files;
mod layout;
mod level;
mod ownership;
mod service;
mod unit;

use std::io;
use std::path::PathBuf;

pub use files::{add_components, add_version, remove_all, secure_data, turn_link};
pub use layout::{FOLDER, Layout, Record};
pub use level::LevelChange;
pub use ownership::{Seized, become_owner, give, owner, owns, seize};
pub use service::{Account, Systemctl};
pub use unit::{unit_file, user_of_unit};

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
    /// What an agent's user has put into its directories would lead root elsewhere.
    #[error(
        "{} is a link, or another name of a file: root does not follow what the agent's user put there. Look where it leads, and remove it", path.display()
    )]
    Planted {
        /// The file.
        path: PathBuf,
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
