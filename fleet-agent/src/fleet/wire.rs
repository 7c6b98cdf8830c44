//! What an agent sends, and what it is answered. What is not known is passed over: servers are of many versions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Signed data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Base64 of what is signed.
    #[serde(default)]
    pub data: String,
    /// Base64 of its signature.
    #[serde(default)]
    pub signature: String,
    /// The same by the signing key before, while that is being changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_signature: Option<String>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// What its acknowledgement names.
    pub id: String,
    /// What is to be done.
    #[serde(rename = "type")]
    pub kind: String,
    /// With what.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// The kind of input that it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub input_type: String,
    /// Not before, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// Not after, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// How long it may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Proof of whom it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// The answer to a check-in. An action that cannot be read does not hide the others.
#[derive(Debug, Default, Deserialize)]
pub struct CheckinAnswer {
    /// What to send with the next one; empty: what was sent with the last.
    #[serde(default)]
    pub ack_token: Option<String>,
    /// What is to be done, in this order.
    #[serde(default)]
    pub actions: Option<Vec<Value>>,
}

/// Where an upgrade stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpgradeDetails {
    /// The version that it goes to.
    pub target_version: String,
    /// `UPG_…`
    pub state: String,
    /// The action that asked for it.
    pub action_id: String,
    /// More, by state.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// A part of the agent, and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentReport {
    /// `<input type>-<output>`
    pub id: String,
    /// The type of its inputs.
    #[serde(rename = "type")]
    pub kind: String,
    /// `HEALTHY`, …
    pub status: String,
    /// For a person.
    pub message: String,
    /// Its units.
    pub units: Vec<UnitReport>,
}

/// An input or an output of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitReport {
    /// `<component>-<input id>`, or the component's id for its output.
    pub id: String,
    /// `input` or `output`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `HEALTHY`, …
    pub status: String,
    /// For a person.
    pub message: String,
    /// What else it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

/// A check-in.
#[derive(Debug, Serialize)]
pub(super) struct CheckinBody<'a> {
    pub(super) status: &'a str,
    pub(super) message: &'a str,
    pub(super) local_metadata: &'a Value,
    pub(super) components: &'a [ComponentReport],
    pub(super) upgrade: Value,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) ack_token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) agent_policy_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy_revision_idx: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upgrade_details: Option<&'a UpgradeDetails>,
}

/// What became of an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AckEvent {
    /// `ACTION_RESULT`
    #[serde(rename = "type")]
    pub kind: String,
    /// `ACKNOWLEDGED`
    pub subtype: String,
    /// The agent.
    pub agent_id: String,
    /// The action.
    pub action_id: String,
    /// For a person.
    pub message: String,
    /// When, RFC 3339.
    pub timestamp: String,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Of an upgrade: whether it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Of diagnostics: the upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Of an input's action: the kind of input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_input_type: Option<String>,
    /// Of an input's action: what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_data: Option<Value>,
    /// Of an input's action: what it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_response: Option<Value>,
    /// Of an input's action: when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Of an input's action: when it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
}

impl AckEvent {
    /// The result of an action, now.
    #[must_use]
    pub fn of(agent_id: &str, action: &Action, outcome: Result<(), String>) -> AckEvent {
        let message = match &outcome {
            Ok(()) => format!("Action '{}' of type '{}' acknowledged.", action.id, action.kind),
            Err(error) => format!("Action '{}' of type '{}' failed: {error}", action.id, action.kind),
        };
        AckEvent {
            kind: "ACTION_RESULT".to_owned(),
            subtype: "ACKNOWLEDGED".to_owned(),
            agent_id: agent_id.to_owned(),
            action_id: action.id.clone(),
            message,
            timestamp: crate::clock::now_text(),
            error: outcome.err(),
            ..AckEvent::default()
        }
    }
}

/// The answer to acknowledgements.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AckAnswer {
    #[serde(default)]
    pub(super) items: Vec<AckItem>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct AckItem {
    #[serde(default)]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) message: String,
}

/// What an enrolment gave.
#[derive(Debug, Deserialize)]
pub struct EnrolledItem {
    /// The agent's id.
    pub id: String,
    /// Its key.
    pub access_api_key: String,
    /// The policy that it will get.
    #[serde(default)]
    pub policy_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct EnrolAnswer {
    pub(super) item: EnrolledItem,
}

/// How an error is told.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorAnswer {
    #[serde(default)]
    pub(super) error: String,
    #[serde(default)]
    pub(super) message: String,
}
