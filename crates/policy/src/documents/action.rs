//! Actions, whom they are for, and what came of them.

use fleet_protocol::agent::Signed;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::timestamp::Timestamp;

/// Something that agents are to do. A document that holds no known type, or cannot be read, is shown as such
/// and delivered to nobody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Action {
    /// What acknowledgements name. Several documents may share it.
    pub action_id: String,
    /// When it was asked for.
    #[serde(rename = "@timestamp")]
    pub timestamp: Timestamp,
    /// What to do, as [`fleet_protocol::agent::ActionType`] names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// For which inputs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub input_type: String,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Timestamp>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// The agents start over so many seconds, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_duration_seconds: Option<u64>,
    /// An agent has at least so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_execution_duration: Option<u64>,
    /// How long an input may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// The agents, when they are few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// So many documents of [`ActionTargets`] name the agents, when they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_documents: Option<u32>,
    /// How many agents it is for.
    #[serde(default)]
    pub total: u64,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Proof of where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The spaces that it is seen in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The secrets that `data` refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_references: Vec<SecretReference>,
    /// How many agents were meant too, but not asked: it would have done them no good.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// What came of an action that agents are not told of. Absent: it is still being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Whether nobody asked for it: a policy did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_automatic: bool,
    /// That policy.
    #[serde(rename = "policyId", default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
}

/// A secret that stands in an action as `$co.elastic.secret{<id>}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretReference {
    /// Its id.
    pub id: String,
}

/// An agent that was not asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The agent.
    pub agent_id: String,
    /// Why, for a person.
    pub error: String,
}

/// What came of an action that agents are not told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When it was done.
    pub at: Timestamp,
    /// For so many agents.
    pub acked: u64,
    /// For so many it could not be.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A part of the agents of an action. Written before the action itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionTargets {
    /// Their ids, in the order in which they start.
    pub agents: Vec<String>,
}

/// The id of the `part`th document of [`ActionTargets`] of the action document `document_id`.
#[must_use]
pub fn targets_id(document_id: &str, part: u32) -> String {
    format!("{document_id}/{part:06}")
}

/// What became of an action at one agent. Written once: a repetition changes nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionResult {
    /// The action.
    pub action_id: String,
    /// The agent.
    pub agent_id: String,
    /// When it was told.
    #[serde(rename = "@timestamp")]
    pub timestamp: Timestamp,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The kind of input that it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_input_type: Option<String>,
    /// What the input was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_data: Option<Box<RawValue>>,
    /// What the input answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_response: Option<Box<RawValue>>,
    /// More, such as the upload of a diagnostics request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// When the input began, as it wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When the input was done, as it wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
}

/// Actions for no more agents than this name them themselves.
pub const INLINE_TARGETS: usize = 1_000;

/// The most agents that one document of [`ActionTargets`] names: an id has at most 128 bytes, a document at
/// most 1 MiB.
pub const TARGETS_PER_DOCUMENT: usize = 7_000;
