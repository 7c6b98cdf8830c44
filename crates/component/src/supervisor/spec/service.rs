//! The part of a spec file that is about a service of the system.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::document::{Variable, duration};

/// Where services come for what they have to know, unless their spec file says otherwise.
const DEFAULT_SOCKET: &str = ".eaci.sock";

/// A service of the system: the agent has it installed, and it connects by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// The port of this machine where it is told what a command reads from its standard input; 0: at the socket.
    pub cport: u16,
    /// The socket where it is told; a name is one in the agent's own directory.
    pub csocket: String,
    /// What it writes.
    pub log: ServiceLog,
    /// What is run to have it on the system.
    pub operations: Operations,
    /// How long it may take.
    pub timeouts: ServiceTimeouts,
}

/// What a service writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceLog {
    /// Its file; in the last part of it, `*` stands for anything. Empty: what it writes is not read.
    pub path: String,
}

/// What is run to have a service on the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Operations {
    /// Fails if it is not there, or not as it should be.
    pub check: Option<OperationSpec>,
    /// Has it there, as it should be, and running.
    pub install: Option<OperationSpec>,
    /// Removes it.
    pub uninstall: Option<OperationSpec>,
}

/// A call of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationSpec {
    /// Its arguments.
    pub args: Vec<String>,
    /// Its variables, beside the agent's.
    pub env: Vec<Variable>,
    /// How long it may take; 0: as long as one of its kind may.
    #[serde(deserialize_with = "duration", serialize_with = "as_milliseconds")]
    pub timeout: Duration,
    /// Exit codes that are no failure, beside 0.
    pub non_fatal_exit_codes: Vec<i32>,
}

/// How long a service may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceTimeouts {
    /// Between two check-ins.
    #[serde(deserialize_with = "duration")]
    pub checkin: Duration,
}

impl Default for ServiceTimeouts {
    fn default() -> ServiceTimeouts {
        ServiceTimeouts { checkin: Duration::from_secs(30) }
    }
}

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Whether it is there.
    Check,
    /// To have it there.
    Install,
    /// To remove it.
    Uninstall,
}

impl Operation {
    /// How long one may take whose spec file does not say it: none may keep its component from ever going on.
    pub(in crate::supervisor) fn default_timeout(self) -> Duration {
        match self {
            Operation::Check => Duration::from_secs(30),
            Operation::Install | Operation::Uninstall => Duration::from_secs(600),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Check => "check",
            Operation::Install => "install",
            Operation::Uninstall => "uninstall",
        })
    }
}

impl Operations {
    /// That of a kind, if there is one.
    #[must_use]
    pub fn get(&self, operation: Operation) -> Option<&OperationSpec> {
        match operation {
            Operation::Check => self.check.as_ref(),
            Operation::Install => self.install.as_ref(),
            Operation::Uninstall => self.uninstall.as_ref(),
        }
    }
}

impl ServiceSpec {
    /// Its socket, as it is written.
    #[must_use]
    pub fn socket(&self) -> &str {
        if self.csocket.is_empty() { DEFAULT_SOCKET } else { &self.csocket }
    }

    /// What is wrong with it, and the fix.
    pub(super) fn problem(&self) -> Option<String> {
        if self.cport != 0 && !self.csocket.is_empty() {
            return Some("service has cport and csocket: keep one".to_owned());
        }
        let log = &self.log.path;
        let (folder, _) = log.rsplit_once('/').unwrap_or_default();
        if !log.is_empty() && (!log.starts_with('/') || log.ends_with('/') || folder.contains('*')) {
            return Some(format!(
                "service.log.path is {log:?}: write the whole path of a file, with * in its last part alone"
            ));
        }
        None
    }
}

fn as_milliseconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}ms", span.as_millis()))
}
