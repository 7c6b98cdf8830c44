//! `POST /api/fleet/agents/enroll`

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What an agent sends to become one of ours. The key in its header names the policy.
#[derive(Debug, Deserialize)]
pub struct EnrollRequest<'a> {
    /// `PERMANENT`; the historical `EPHEMERAL` and `TEMPORARY` mean the same.
    #[serde(borrow, default, rename = "type")]
    pub kind: Option<Cow<'a, str>>,
    /// The id that it wants. Absent or empty: a new one.
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    /// Proves that it may take the place of the agent with that id.
    #[serde(borrow, default)]
    pub replace_token: Option<Cow<'a, str>>,
    /// Names this attempt, so that a repetition makes no second agent.
    #[serde(borrow, default)]
    pub enrollment_id: Option<Cow<'a, str>>,
    /// What it tells of itself.
    #[serde(borrow, default)]
    pub metadata: Option<EnrollMetadata<'a>>,
}

/// What an agent tells of itself.
#[derive(Debug, Deserialize)]
pub struct EnrollMetadata<'a> {
    /// The machine and the agent: an object.
    #[serde(borrow, default)]
    pub local: Option<&'a RawValue>,
    /// What a person gave at enrolment: an object.
    #[serde(borrow, default)]
    pub user_provided: Option<&'a RawValue>,
    /// Its first tags.
    #[serde(borrow, default)]
    pub tags: Option<Vec<Cow<'a, str>>>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct EnrollResponse<'a> {
    /// `created`.
    pub action: &'static str,
    /// The agent.
    pub item: EnrolledAgent<'a>,
}

/// The agent as it was enrolled.
#[derive(Debug, Serialize)]
pub struct EnrolledAgent<'a> {
    /// Its id.
    pub id: &'a str,
    /// `true`.
    pub active: bool,
    /// The policy that it will get.
    pub policy_id: &'a str,
    /// `PERMANENT`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// RFC 3339, UTC.
    pub enrolled_at: &'a str,
    /// As it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_provided_metadata: Option<&'a RawValue>,
    /// As it was sent, with the id filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_metadata: Option<&'a RawValue>,
    /// None yet.
    pub actions: [(); 0],
    /// The first half of its key.
    pub access_api_key_id: &'a str,
    /// Its key: base64 of `id:secret`. Told only here.
    pub access_api_key: &'a str,
    /// `online`.
    pub status: &'static str,
    /// Its tags.
    pub tags: &'a [String],
}
