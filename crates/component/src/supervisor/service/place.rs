//! Where a service comes for what it has to know.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::supervisor::spec::ServiceSpec;

/// Where a service comes for what it has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A socket in the file system.
    Socket(PathBuf),
    /// A port of this machine.
    Port(u16),
}

impl Place {
    /// `folder`: where sockets lie whose spec files have names alone.
    pub(super) fn of(spec: &ServiceSpec, folder: &Path) -> Place {
        match spec.cport {
            0 => Place::Socket(folder.join(spec.socket())),
            port => Place::Port(port),
        }
    }
}

/// As operations are told it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(path) => write!(f, "unix://{}", path.display()),
            Place::Port(port) => write!(f, "127.0.0.1:{port}"),
        }
    }
}
