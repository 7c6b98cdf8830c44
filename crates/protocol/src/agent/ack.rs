//! `POST /api/fleet/agents/{id}/acks`

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What an agent has done.
#[derive(Debug, Deserialize)]
pub struct AckRequest<'a> {
    /// One for each action.
    #[serde(borrow, default)]
    pub events: Vec<Event<'a>>,
}

/// What became of one action.
#[derive(Debug, Default, Deserialize)]
pub struct Event<'a> {
    /// `ACTION_RESULT`, …
    #[serde(borrow, default, rename = "type")]
    pub kind: Option<Cow<'a, str>>,
    /// `ACKNOWLEDGED`, …
    #[serde(borrow, default)]
    pub subtype: Option<Cow<'a, str>>,
    /// The agent, which is the one that sends it.
    #[serde(borrow, default)]
    pub agent_id: Option<Cow<'a, str>>,
    /// The action.
    #[serde(borrow, default)]
    pub action_id: Option<Cow<'a, str>>,
    /// For a person.
    #[serde(borrow, default)]
    pub message: Option<Cow<'a, str>>,
    /// When, RFC 3339.
    #[serde(borrow, default)]
    pub timestamp: Option<Cow<'a, str>>,
    /// What went wrong. Absent or empty: nothing.
    #[serde(borrow, default)]
    pub error: Option<Cow<'a, str>>,
    /// An upgrade's retries.
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
    /// A diagnostics request's upload.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    /// The kind of input of an `INPUT_ACTION`.
    #[serde(borrow, default)]
    pub action_input_type: Option<Cow<'a, str>>,
    /// What an input was asked.
    #[serde(borrow, default)]
    pub action_data: Option<&'a RawValue>,
    /// What an input answered.
    #[serde(borrow, default)]
    pub action_response: Option<&'a RawValue>,
    /// When an input began, RFC 3339.
    #[serde(borrow, default)]
    pub started_at: Option<Cow<'a, str>>,
    /// When an input was done, RFC 3339.
    #[serde(borrow, default)]
    pub completed_at: Option<Cow<'a, str>>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct AckResponse {
    /// `acks`.
    pub action: &'static str,
    /// Whether an item is not 200.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub errors: bool,
    /// One for each event, in their order.
    pub items: Vec<AckItem>,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AckItem {
    /// A status of HTTP.
    pub status: u16,
    /// For a person. `OK` when the status is 200.
    pub message: String,
}
