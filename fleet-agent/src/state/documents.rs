//! What is kept: who the agent is, what it runs, and how far it has come.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fleet::{AckEvent, Action, ConnectionSettings, SettingsError, UpgradeDetails};
use crate::fleet_server::FleetServer;

/// Who the agent is to its fleet. Made by an enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The agent's id.
    pub id: String,
    /// Its key, as it is sent: base64 of `id:secret`.
    pub access_api_key: String,
    /// How its server is reached.
    pub connection: ConnectionSettings,
    /// The policy that it enrolled for.
    #[serde(default)]
    pub policy_id: String,
    /// When it enrolled, RFC 3339.
    #[serde(default)]
    pub enrolled_at: String,
    /// Proves, at another enrolment, that the agent with that id is this one.
    #[serde(default)]
    pub replace_token: String,
    /// The tags that it enrolled with.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The server that it runs, and is an agent of.
    #[serde(default)]
    pub fleet_server: Option<FleetServer>,
}

impl Identity {
    /// The document's name.
    pub const NAME: &'static str = "identity";

    /// Puts the content of the files that it names in their place: an agent without privileges may not read them.
    /// Returns their names.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn take_in_files(&mut self) -> Result<Vec<String>, SettingsError> {
        let mut taken = self.connection.take_in_files()?;
        if let Some(server) = &mut self.fleet_server {
            taken.extend(server.take_in_files()?);
        }
        Ok(taken)
    }

    /// How its server is reached under a policy with this section `fleet`. That of an agent which runs it itself stays
    /// where it is.
    ///
    /// # Errors
    /// A value is not of its kind.
    pub fn connection_by(&self, fleet: &Map<String, Value>) -> Result<ConnectionSettings, SettingsError> {
        let connection = self.connection.with_policy(fleet)?;
        Ok(if self.fleet_server.is_some() { self.connection.clone() } else { connection })
    }
}

/// The last policy that was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedPolicy {
    /// The policy itself.
    pub policy: Map<String, Value>,
}

impl SavedPolicy {
    /// The document's name.
    pub const NAME: &'static str = "policy";
}

/// How far the agent has come with what it was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// What the server is told it has received.
    pub ack_token: String,
    /// The policy that was applied last.
    pub policy_id: String,
    /// The log level that somebody chose for this one agent.
    pub log_level: Option<String>,
    /// Actions for later.
    pub queued: Vec<Queued>,
    /// Results that the server has not heard of yet.
    pub acks: Vec<PendingAck>,
    /// The last actions that were taken on, so that one that comes twice is done once. The newest is last.
    pub taken: Vec<String>,
    /// Where an upgrade stands.
    pub upgrade: Option<UpgradeDetails>,
    /// The agent was told to leave, and has.
    pub unenrolled: bool,
}

impl Progress {
    /// The document's name.
    pub const NAME: &'static str = "progress";
}

/// An action for later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// The action.
    pub action: Action,
    /// When it is due, in seconds since 1970.
    pub due: i64,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
}

/// A result that the server has not heard of yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingAck {
    /// What it will be told.
    pub event: AckEvent,
}
