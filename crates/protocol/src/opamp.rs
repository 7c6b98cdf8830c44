//! `/v1/opamp`: the Open Agent Management Protocol (OpAMP), as OpenTelemetry collectors speak it.
//!
//! Field numbers and meanings are those of the specification, [open-telemetry/opamp-spec] (Apache-2.0). Only what
//! the server reads or says is here: what else a message holds is skipped, as protobuf has it. Packages,
//! connection settings and custom messages are among that.
//!
//! [open-telemetry/opamp-spec]: https://github.com/open-telemetry/opamp-spec

mod any;
mod bits;
mod frame;
mod from_agent;
mod to_agent;

pub use any::{AnyValue, ArrayValue, KeyValue, KeyValueList, Variant};
pub use bits::{AgentCapability, AgentFlag, ServerCapability, ServerFlag, has};
pub use frame::{FrameError, read_frame, write_frame};
pub use from_agent::{
    AgentConfigFile, AgentConfigMap, AgentDescription, AgentDisconnect, AgentToServer, ComponentHealth,
    EffectiveConfig, RemoteConfigStatus, RemoteConfigStatuses,
};
pub use prost::{DecodeError, Message};
pub use to_agent::{
    AgentIdentification, AgentRemoteConfig, CommandType, RetryInfo, ServerErrorResponse,
    ServerErrorResponseType, ServerToAgent, ServerToAgentCommand,
};

/// The `Content-Type` of messages over plain HTTP.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// Bytes of an instance's id.
pub const INSTANCE_UID_LENGTH: usize = 16;
