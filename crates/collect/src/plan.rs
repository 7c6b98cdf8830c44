//! What a collector is told: facts about its agent, and the plan that it carries out.

use std::path::PathBuf;

use serde_json::{Map, Value};

/// What stays the same for as long as a collector runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A directory of the collector's own: positions and queues.
    pub data: PathBuf,
    /// Who collects.
    pub agent: AgentFacts,
    /// The machine's name, for `host.name`; none: asked of the system.
    pub host_name: Option<String>,
}

/// Who collects: goes into each event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentFacts {
    /// The agent's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its name, as a rule the machine's.
    pub name: String,
    /// Another one after each start.
    pub ephemeral_id: String,
}

/// Everything that is to be collected, and where it goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What is collected.
    pub inputs: Vec<InputUnit>,
    /// Where it goes.
    pub outputs: Vec<OutputUnit>,
}

/// One input of a policy, with its streams.
#[derive(Clone, Debug, PartialEq)]
pub struct InputUnit {
    /// Its id in the policy.
    pub id: String,
    /// Its `type` in the policy.
    pub kind: String,
    /// The name of its [`OutputUnit`].
    pub output: String,
    /// The policy's input: variables replaced, conditions decided, disabled streams gone.
    pub config: Map<String, Value>,
}

/// One output of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputUnit {
    /// Its name in the policy.
    pub name: String,
    /// Its `type`.
    pub kind: String,
    /// The policy's output.
    pub config: Map<String, Value>,
}
