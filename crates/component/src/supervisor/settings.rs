//! How a supervisor works.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Launcher, Listen, LogSink, OwnLog};
use crate::wire;

/// What components are told of their agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFacts {
    /// Its id; empty until it has enrolled.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Whether that is not a release.
    pub is_snapshot: bool,
    /// Whether nobody manages it.
    pub is_standalone: bool,
    /// Whether it runs without privileges.
    pub is_unprivileged: bool,
}

impl AgentFacts {
    pub(super) fn to_wire(&self) -> wire::AgentInfo {
        let mode = if self.is_standalone { wire::Mode::Standalone } else { wire::Mode::Managed };
        wire::AgentInfo {
            id: self.id.clone(),
            version: self.version.clone(),
            is_snapshot: self.is_snapshot,
            mode: mode.into(),
            is_unprivileged: self.is_unprivileged,
        }
    }
}

/// How a supervisor works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Components work in `run/<id>` below it; what was installed is kept in `services`.
    pub home: PathBuf,
    /// Where services come to for their credentials, if their spec files do not say where that is.
    pub sockets: PathBuf,
    /// Where they connect to.
    pub listen: Listen,
    /// What they are told of their agent.
    pub agent: AgentFacts,
    /// Who sees to it that they die with it.
    pub launcher: Launcher,
    /// Where their lines go.
    pub logs: Arc<dyn LogSink>,
    /// The folder of the sockets where they are asked to serve their figures; `None`: they are not.
    pub metrics_sockets: Option<PathBuf>,
    /// The largest message in bytes.
    pub max_message_size: usize,
    /// Whether larger ones are sent in pieces.
    pub sends_chunks: bool,
}

impl Settings {
    /// On a free port of this machine, with their lines in the agent's own log.
    pub fn new(home: impl Into<PathBuf>, agent: AgentFacts) -> Settings {
        let home = home.into();
        Settings {
            sockets: home.clone(),
            home,
            listen: Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            agent,
            launcher: Launcher::default(),
            logs: Arc::new(OwnLog),
            metrics_sockets: None,
            max_message_size: crate::MAX_MESSAGE_SIZE,
            sends_chunks: true,
        }
    }
}
