//! What agents say.

use std::collections::BTreeMap;

use super::any::KeyValue;

/// A message of an agent. A part that is absent has not changed since it was sent last.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentToServer {
    /// Who says it: 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub instance_uid: Vec<u8>,
    /// One more than that of the message before.
    #[prost(uint64, tag = "2")]
    pub sequence_num: u64,
    /// What the agent is and where it runs.
    #[prost(message, optional, tag = "3")]
    pub agent_description: Option<AgentDescription>,
    /// Bits of [`AgentCapability`](super::AgentCapability).
    #[prost(uint64, tag = "4")]
    pub capabilities: u64,
    /// How it is.
    #[prost(message, optional, tag = "5")]
    pub health: Option<ComponentHealth>,
    /// The configuration that it runs.
    #[prost(message, optional, tag = "6")]
    pub effective_config: Option<EffectiveConfig>,
    /// What came of the configuration that it was offered.
    #[prost(message, optional, tag = "7")]
    pub remote_config_status: Option<RemoteConfigStatus>,
    /// It goes away.
    #[prost(message, optional, tag = "9")]
    pub agent_disconnect: Option<AgentDisconnect>,
    /// Bits of [`AgentFlag`](super::AgentFlag).
    #[prost(uint64, tag = "10")]
    pub flags: u64,
}

/// What an agent is and where it runs, by the semantic conventions of OpenTelemetry.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentDescription {
    /// What tells it from others.
    #[prost(message, repeated, tag = "1")]
    pub identifying_attributes: Vec<KeyValue>,
    /// What else there is to know.
    #[prost(message, repeated, tag = "2")]
    pub non_identifying_attributes: Vec<KeyValue>,
}

/// How an agent, or a part of it, is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ComponentHealth {
    /// Whether it does its work.
    #[prost(bool, tag = "1")]
    pub healthy: bool,
    /// When it started: nanoseconds since 1970 began.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// Why it does not, for a person.
    #[prost(string, tag = "3")]
    pub last_error: String,
    /// How it is, in words of its own kind.
    #[prost(string, tag = "4")]
    pub status: String,
    /// Since when: nanoseconds since 1970 began.
    #[prost(fixed64, tag = "5")]
    pub status_time_unix_nano: u64,
    /// Its parts, by their names.
    #[prost(btree_map = "string, message", tag = "6")]
    pub component_health_map: BTreeMap<String, ComponentHealth>,
}

/// The configuration that an agent runs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EffectiveConfig {
    /// Its files.
    #[prost(message, optional, tag = "1")]
    pub config_map: Option<AgentConfigMap>,
}

/// The files of a configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentConfigMap {
    /// The files by their names. A single one may have the empty name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub config_map: BTreeMap<String, AgentConfigFile>,
}

/// A file of a configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentConfigFile {
    /// What is in it.
    #[prost(bytes = "vec", tag = "1")]
    pub body: Vec<u8>,
    /// Of what type that is: `text/yaml`.
    #[prost(string, tag = "2")]
    pub content_type: String,
}

/// What came of a configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoteConfigStatus {
    /// The hash of the last one that the agent received. Empty: it has received none.
    #[prost(bytes = "vec", tag = "1")]
    pub last_remote_config_hash: Vec<u8>,
    /// What came of it.
    #[prost(enumeration = "RemoteConfigStatuses", tag = "2")]
    pub status: i32,
    /// Why it failed.
    #[prost(string, tag = "3")]
    pub error_message: String,
}

/// What can come of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum RemoteConfigStatuses {
    /// Nothing is said.
    Unset = 0,
    /// It runs.
    Applied = 1,
    /// The agent is at it.
    Applying = 2,
    /// It cannot be run.
    Failed = 3,
}

/// The agent goes away.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct AgentDisconnect {}
