//! What is kept of an agent's keys.

use std::collections::BTreeMap;

use fleet_access::seal::{Context, Sealed};
use fleet_policy::timestamp::Timestamp;
use fleet_store::Collection;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// [`AgentKeys`] by the agent's id.
pub(super) static AGENT_KEYS: Collection = Collection { name: "agent-output-keys", indexed: &[] };

/// The keys of an agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AgentKeys {
    /// By the names that its policy has for the outputs.
    pub(super) outputs: BTreeMap<String, OutputKey>,
    /// Keys that are over once the agent runs the policy below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) to_retire_api_key_ids: Vec<RetiredKey>,
    /// Whether something is to be done once it does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) pending: bool,
    /// The policy that the keys were last changed for.
    pub(super) policy_id: String,
    /// Its revision.
    pub(super) revision: u64,
}

/// A key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OutputKey {
    /// The output that it is for.
    pub(super) output_id: String,
    /// The cluster that knows it.
    pub(super) cluster: String,
    /// Its id.
    pub(super) api_key_id: String,
    /// `id:key`.
    pub(super) api_key: Sealed,
    /// The rights that it is to have: roles by their names.
    pub(super) permissions: Map<String, Value>,
    /// Of these: see `KeyedOutput::permissions_hash`.
    pub(super) permissions_hash: String,
    /// Whether it has the rights of older revisions too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_stale: bool,
}

/// A key that no policy needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RetiredKey {
    /// Its id.
    pub(super) id: String,
    /// The output that it was for.
    pub(super) output: String,
    /// The cluster that knows it.
    pub(super) cluster: String,
    /// Since when.
    pub(super) retired_at: Timestamp,
}

/// The part of [`AgentKeys`] that is in memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KeysRow {
    pub(super) pending: bool,
    pub(super) policy_id: Box<str>,
    pub(super) revision: u64,
}

/// Where the key of an agent for an output is sealed.
pub(super) fn context<'a>(agent_id: &'a str, output: &'a str) -> Context<'a> {
    Context::new(AGENT_KEYS.name, agent_id, output)
}
