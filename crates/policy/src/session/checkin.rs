//! What a check-in changes.

use std::sync::Arc;
use std::time::Duration;

use fleet_protocol::agent::{Rollback, UpgradeDetails};

use crate::documents::{AgentState, CheckinStatus, UnhealthyReason};
use crate::timestamp::Timestamp;

/// An agent that tells nothing new is written this often, so that it is known to be there.
pub const BEAT: Duration = Duration::from_secs(120);

/// An upgrade in this state has not begun. When nothing more is told of it, it was taken back: one that begins is
/// told of until it is done.
const SCHEDULED: &str = "UPG_SCHEDULED";

/// What an agent says of itself.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it is.
    pub status: CheckinStatus,
    /// The same for a person.
    pub message: Arc<str>,
    /// What of it is not healthy.
    pub unhealthy_reason: Vec<UnhealthyReason>,
    /// The policy that it runs and its revision. `None`: it does not say (agents before 9.2), or what it says
    /// is not to be used.
    pub running: Option<(Arc<str>, u64)>,
    /// The last action that it has received. `None`: it does not say, or nobody knows its token.
    pub received: Option<u64>,
    /// Where its upgrade stands. `None`: there is none.
    pub upgrade_details: Option<Box<UpgradeDetails>>,
    /// Versions that it could go back to.
    pub rollbacks: Vec<Rollback>,
    /// Digest of the large part of what it says.
    pub details_digest: Box<str>,
}

/// The state of an agent after `report`; `None`: as it was, and told not long ago. `is_over` tells of an action
/// that nobody asks about any more.
#[must_use]
pub fn apply(
    before: &AgentState,
    report: Report,
    is_over: impl Fn(u64) -> bool,
    now: Timestamp,
) -> Option<AgentState> {
    let mut after = before.clone();
    after.last_checkin_status = Some(report.status);
    after.last_checkin_message = report.message;
    after.unhealthy_reason = report.unhealthy_reason;
    after.rollbacks = report.rollbacks;
    after.details_digest = report.details_digest;
    if let Some((policy_id, revision)) = report.running {
        after.agent_policy_id = Some(policy_id);
        after.policy_revision_idx = revision;
    }
    // A token of long ago must not bring back what was received since.
    after.action_seq_no = before.action_seq_no.max(report.received.unwrap_or(0));
    let was_upgrading = before.upgrade_details.as_ref().is_some_and(|details| details.state != SCHEDULED);
    if was_upgrading && report.upgrade_details.is_none() {
        after.upgraded_at = Some(now);
    }
    after.upgrade_details = report.upgrade_details;
    if let Some(failure) = &after.policy_failure
        && after.agent_policy_id.as_deref() == Some(&*failure.policy_id)
        && after.policy_revision_idx >= failure.revision
    {
        after.policy_failure = None;
    }
    let is_due = before.last_checkin.is_none_or(|last| last.until(now) >= BEAT);
    if after == *before && !is_due {
        return None;
    }
    after.acked_actions.retain(|acked| !is_over(acked.seq_no));
    after.last_checkin = Some(now);
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When an agent was upgraded that told of an upgrade in this state, and tells of none now.
    fn upgraded_after(state: &str) -> Option<Timestamp> {
        let details = UpgradeDetails { state: state.to_owned(), ..UpgradeDetails::default() };
        let before = AgentState { upgrade_details: Some(Box::new(details)), ..AgentState::default() };
        let report = Report {
            status: CheckinStatus::Online,
            message: "".into(),
            unhealthy_reason: Vec::new(),
            running: None,
            received: None,
            upgrade_details: None,
            rollbacks: Vec::new(),
            details_digest: "".into(),
        };
        let after = apply(&before, report, |_| false, Timestamp::from_unix(1000)).unwrap();
        assert_eq!(after.upgrade_details, None);
        after.upgraded_at
    }

    #[test]
    fn an_upgrade_of_which_nothing_more_is_told_is_done_unless_it_had_not_begun() {
        assert_eq!(upgraded_after("UPG_WATCHING"), Some(Timestamp::from_unix(1000)));
        assert_eq!(upgraded_after("UPG_DOWNLOADING"), Some(Timestamp::from_unix(1000)));
        assert_eq!(upgraded_after("UPG_SCHEDULED"), None, "it was cancelled");
    }
}
