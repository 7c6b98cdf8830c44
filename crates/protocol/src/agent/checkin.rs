//! `POST /api/fleet/agents/{id}/checkin`: what the agent says.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A check-in.
#[derive(Debug, Deserialize)]
pub struct CheckinRequest<'a> {
    /// `online`, `error`, `degraded`, `starting` or `disconnected`, in any case. Required.
    #[serde(borrow, default)]
    pub status: Option<Cow<'a, str>>,
    /// The same for a person.
    #[serde(borrow, default)]
    pub message: Option<Cow<'a, str>>,
    /// The last token that the server gave it: what it has received.
    #[serde(borrow, default)]
    pub ack_token: Option<Cow<'a, str>>,
    /// The machine and the agent.
    #[serde(borrow, default)]
    pub local_metadata: Option<&'a RawValue>,
    /// What it runs, and how that is: an array.
    #[serde(borrow, default)]
    pub components: Option<&'a RawValue>,
    /// How long it is ready to wait: a Go duration.
    #[serde(borrow, default)]
    pub poll_timeout: Option<Cow<'a, str>>,
    /// Where a running upgrade stands. Absent or `null`: there is none.
    #[serde(borrow, default)]
    pub upgrade_details: Option<&'a RawValue>,
    /// The policy that it runs (agents from 9.2 on).
    #[serde(borrow, default)]
    pub agent_policy_id: Option<Cow<'a, str>>,
    /// That policy's revision.
    #[serde(default)]
    pub policy_revision_idx: Option<i64>,
    /// Versions that it could go back to.
    #[serde(borrow, default)]
    pub upgrade: Option<&'a RawValue>,
}

/// Where an upgrade stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeDetails {
    /// The version that it goes to.
    pub target_version: String,
    /// The state, `UPG_…`.
    pub state: String,
    /// The action that asked for it. Empty: somebody at the machine did.
    #[serde(default)]
    pub action_id: String,
    /// More, by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What an agent tells of upgrades beside a running one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeReport {
    /// Versions that are still on the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
}

/// A version that an agent could go back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The version.
    pub version: String,
    /// Until when, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
}
