//! What an agent reports of itself.

use std::sync::Arc;

use fleet_protocol::agent::{Rollback, UpgradeDetails};
use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// What an agent reports, but for the large part. Written by the server that it checks in at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentState {
    /// When it was last heard of, to within two minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checkin: Option<Timestamp>,
    /// How it says it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checkin_status: Option<CheckinStatus>,
    /// The same for a person.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub last_checkin_message: Arc<str>,
    /// What of it is not healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unhealthy_reason: Vec<UnhealthyReason>,
    /// The policy that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_policy_id: Option<Arc<str>>,
    /// That policy's revision. 0: none.
    #[serde(skip_serializing_if = "is_zero")]
    pub policy_revision_idx: u64,
    /// The newest revision that it could not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_failure: Option<Box<PolicyFailure>>,
    /// What it has received: the actions up to this revision of their collection.
    #[serde(skip_serializing_if = "is_zero")]
    pub action_seq_no: u64,
    /// The actions of which it told how they ended, as long as they are not over for everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acked_actions: Vec<AckedAction>,
    /// Where a running upgrade stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_details: Option<Box<UpgradeDetails>>,
    /// When the last upgrade was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgraded_at: Option<Timestamp>,
    /// How the last upgrade failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_attempt: Option<Box<UpgradeAttempt>>,
    /// Versions that it could go back to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
    /// Digest of the details that are stored, so that unchanged ones need not be read.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub details_digest: Box<str>,
    /// What only collectors that speak OpAMP report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opamp: Option<Box<OpampState>>,
}

/// What a collector that speaks OpAMP reports beside what all agents do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpampState {
    /// What it can do: bits of [`AgentCapability`](fleet_protocol::opamp::AgentCapability).
    pub capabilities: u64,
    /// The number of its last message when this was written.
    pub sequence_num: u64,
    /// What came of the configuration that it was offered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_config_status: Option<RemoteConfig>,
    /// When it started, as it says with its health: nanoseconds since 1970 began. 0: it does not say.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_time: u64,
    /// It was told to start again, and has not shown that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Box<PendingRestart>>,
}

/// A restart that a collector was told to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRestart {
    /// The revision of the action's document.
    pub seq_no: u64,
    /// The action.
    pub action_id: Box<str>,
    /// When it was told.
    pub at: Timestamp,
    /// When the collector had started then. 0: it had not said.
    #[serde(default)]
    pub start_time: u64,
    /// The number of its last message then.
    #[serde(default)]
    pub sequence_num: u64,
    /// It has said goodbye since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_left: bool,
}

/// What came of a configuration that a collector was offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteConfig {
    /// The configuration's hash, hexadecimal.
    pub hash: Box<str>,
    /// What came of it.
    pub status: RemoteConfigOutcome,
    /// Why it failed, in the collector's words.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub error: Box<str>,
}

/// What can come of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RemoteConfigOutcome {
    /// It was sent to a collector that does not say what comes of it.
    Offered,
    /// The collector has it, and says no more.
    Unset,
    /// The collector is at it.
    Applying,
    /// It runs.
    Applied,
    /// It cannot be run.
    Failed,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How an agent says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckinStatus {
    /// As it should be.
    Online,
    /// It cannot do its work.
    Error,
    /// It cannot do a part of its work.
    Degraded,
    /// Not there yet.
    Starting,
    /// It goes away.
    Disconnected,
}

impl CheckinStatus {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CheckinStatus::Online => "online",
            CheckinStatus::Error => "error",
            CheckinStatus::Degraded => "degraded",
            CheckinStatus::Starting => "starting",
            CheckinStatus::Disconnected => "disconnected",
        }
    }

    /// Reads it as agents write it: in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<CheckinStatus> {
        [
            ("online", CheckinStatus::Online),
            ("error", CheckinStatus::Error),
            ("degraded", CheckinStatus::Degraded),
            ("starting", CheckinStatus::Starting),
            ("disconnected", CheckinStatus::Disconnected),
        ]
        .into_iter()
        .find_map(|(name, status)| name.eq_ignore_ascii_case(text).then_some(status))
    }
}

/// The part of an agent that is not healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnhealthyReason {
    /// What collects.
    Input,
    /// What ships.
    Output,
    /// Something else.
    Other,
}

impl UnhealthyReason {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            UnhealthyReason::Input => "input",
            UnhealthyReason::Output => "output",
            UnhealthyReason::Other => "other",
        }
    }
}

/// A revision that an agent could not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFailure {
    /// The policy.
    pub policy_id: Arc<str>,
    /// Its revision.
    pub revision: u64,
    /// Why, in its words.
    pub error: String,
    /// When it told.
    pub at: Timestamp,
}

/// An action of which an agent told how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckedAction {
    /// The revision of the action's document.
    pub seq_no: u64,
    /// Whether it failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// An upgrade that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeAttempt {
    /// When it told.
    pub at: Timestamp,
    /// Why, in its words.
    pub error: String,
}
