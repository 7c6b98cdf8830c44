//! What servers say.

use super::from_agent::AgentConfigMap;

/// A message to an agent. An `error_response` stands alone; so does a `command`, beside `capabilities`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServerToAgent {
    /// To whom: as it calls itself.
    #[prost(bytes = "vec", tag = "1")]
    pub instance_uid: Vec<u8>,
    /// What went wrong.
    #[prost(message, optional, tag = "2")]
    pub error_response: Option<ServerErrorResponse>,
    /// A configuration to run.
    #[prost(message, optional, tag = "3")]
    pub remote_config: Option<AgentRemoteConfig>,
    /// Bits of [`ServerFlag`](super::ServerFlag).
    #[prost(uint64, tag = "6")]
    pub flags: u64,
    /// Bits of [`ServerCapability`](super::ServerCapability).
    #[prost(uint64, tag = "7")]
    pub capabilities: u64,
    /// Who the agent is from now on.
    #[prost(message, optional, tag = "8")]
    pub agent_identification: Option<AgentIdentification>,
    /// Something to do.
    #[prost(message, optional, tag = "9")]
    pub command: Option<ServerToAgentCommand>,
}

/// What went wrong.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ServerErrorResponse {
    /// Whose fault it is.
    #[prost(enumeration = "ServerErrorResponseType", tag = "1")]
    pub r#type: i32,
    /// What, for a person.
    #[prost(string, tag = "2")]
    pub error_message: String,
    /// When to try again, if the server is not there for it now.
    #[prost(message, optional, tag = "3")]
    pub retry_info: Option<RetryInfo>,
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ServerErrorResponseType {
    /// Nobody knows.
    Unknown = 0,
    /// The message's: it is not to be sent again.
    BadRequest = 1,
    /// The server's: it has too much to do.
    Unavailable = 2,
}

/// When to try again.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct RetryInfo {
    /// After so many nanoseconds.
    #[prost(uint64, tag = "1")]
    pub retry_after_nanoseconds: u64,
}

/// A configuration to run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentRemoteConfig {
    /// Its files.
    #[prost(message, optional, tag = "1")]
    pub config: Option<AgentConfigMap>,
    /// Tells it from others; the agent names it in its report.
    #[prost(bytes = "vec", tag = "2")]
    pub config_hash: Vec<u8>,
}

/// Who an agent is from now on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentIdentification {
    /// Its new id: 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub new_instance_uid: Vec<u8>,
}

/// Something to do.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ServerToAgentCommand {
    /// What.
    #[prost(enumeration = "CommandType", tag = "1")]
    pub r#type: i32,
}

/// What an agent can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum CommandType {
    /// Start again.
    Restart = 0,
}
