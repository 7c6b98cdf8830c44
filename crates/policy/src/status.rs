//! How an agent is, by the rules that people know.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::documents::{Agent, AgentKind, AgentState, AuditReason, CheckinStatus};
use crate::timestamp::Timestamp;

/// An agent that was not heard of for longer is offline.
pub const OFFLINE_AFTER: Duration = Duration::from_secs(300);

/// How many statuses there are.
pub const STATUSES: usize = 11;

/// How an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It left, or was made to.
    Unenrolled,
    /// Not heard of for longer than its policy's inactivity timeout.
    Inactive,
    /// It told that it was removed from its machine.
    Uninstalled,
    /// Its endpoint protection told that it is gone.
    Orphaned,
    /// Not heard of for [`OFFLINE_AFTER`], or a collector that said that it goes away.
    Offline,
    /// It has not told yet that it runs its policy, or becomes another version.
    Updating,
    /// It has never checked in.
    Enrolling,
    /// It was asked to leave.
    Unenrolling,
    /// It says that it cannot do its work.
    Error,
    /// It says that it cannot do a part of it.
    Degraded,
    /// It is well.
    Online,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; STATUSES] = [
        Status::Unenrolled,
        Status::Inactive,
        Status::Uninstalled,
        Status::Orphaned,
        Status::Offline,
        Status::Updating,
        Status::Enrolling,
        Status::Unenrolling,
        Status::Error,
        Status::Degraded,
        Status::Online,
    ];

    /// As it is written in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unenrolled => "unenrolled",
            Status::Inactive => "inactive",
            Status::Uninstalled => "uninstalled",
            Status::Orphaned => "orphaned",
            Status::Offline => "offline",
            Status::Updating => "updating",
            Status::Enrolling => "enrolling",
            Status::Unenrolling => "unenrolling",
            Status::Error => "error",
            Status::Degraded => "degraded",
            Status::Online => "online",
        }
    }

    /// How an agent is. `heard_of` is when somebody last heard of it, where that is later than what its state
    /// says; `inactivity_timeout` is its policy's, zero for none. The first rule that fits holds.
    #[must_use]
    pub fn of(
        agent: &Agent,
        state: &AgentState,
        heard_of: Option<Timestamp>,
        inactivity_timeout: Duration,
        now: Timestamp,
    ) -> Status {
        let last_checkin = state.last_checkin.max(heard_of);
        let silence = last_checkin.unwrap_or(agent.enrolled_at).until(now);
        if !agent.active {
            Status::Unenrolled
        } else if !inactivity_timeout.is_zero() && silence > inactivity_timeout {
            Status::Inactive
        } else if agent.audit_unenrolled_reason == Some(AuditReason::Uninstall) {
            Status::Uninstalled
        } else if agent.audit_unenrolled_reason == Some(AuditReason::Orphaned) {
            Status::Orphaned
        } else if silence > OFFLINE_AFTER || has_said_goodbye(agent, state) {
            Status::Offline
        } else if state.policy_revision_idx == 0 || agent.upgrade_started_at > state.upgraded_at {
            Status::Updating
        } else if last_checkin.is_none() {
            Status::Enrolling
        } else if agent.unenrollment_started_at.is_some() {
            Status::Unenrolling
        } else {
            match state.last_checkin_status {
                Some(CheckinStatus::Error) => Status::Error,
                Some(CheckinStatus::Degraded) => Status::Degraded,
                _ => Status::Online,
            }
        }
    }
}

/// Collectors say when they go away. (Other agents that say so may still be there: they come back.)
fn has_said_goodbye(agent: &Agent, state: &AgentState) -> bool {
    agent.kind == AgentKind::Opamp && state.last_checkin_status == Some(CheckinStatus::Disconnected)
}
