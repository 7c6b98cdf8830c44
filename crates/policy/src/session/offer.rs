//! What an agent is to get now.

use std::time::Duration;

use crate::actions::{Actions, Due};
use crate::agents::Snapshot;
use crate::policies::Head;
use crate::timestamp::Timestamp;

/// The most actions of one answer. The next check-in gets the rest.
pub const MOST_ACTIONS: usize = 100;
/// A revision that an agent could not apply is offered again after this long.
const RETRY_FAILED_POLICY: Duration = Duration::from_secs(60);

/// What an agent is to get.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The newest revision of its policy, if it does not run that.
    pub policy: Option<Head>,
    /// What it is to do, oldest first.
    pub actions: Vec<Due>,
}

/// Whether an agent is to get a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyOffer {
    /// It runs it.
    Runs,
    /// It is to get it.
    Send,
    /// It could not apply it a short time ago.
    Failed,
}

impl Offer {
    /// Whether there is nothing to say: the agent may wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policy.is_none() && self.actions.is_empty()
    }
}

/// What `agent` is to get, where `head` is the newest revision of its policy.
#[must_use]
pub fn offer(agent: &Snapshot, head: Option<Head>, actions: &Actions, now: Timestamp) -> Offer {
    let state = &agent.state;
    let policy = head.filter(|head| policy_offer(agent, head.rendered.revision, now) == PolicyOffer::Send);
    let is_acked = |seq_no| state.acked_actions.iter().any(|acked| acked.seq_no == seq_no);
    Offer { policy, actions: actions.due(&agent.id, state.action_seq_no, is_acked, now, MOST_ACTIONS) }
}

/// Whether `agent` is to get `newest`, the newest revision of its policy.
///
/// An agent that says it runs a newer one than there is gets the newest there is: the store was set back.
#[must_use]
pub fn policy_offer(agent: &Snapshot, newest: u64, now: Timestamp) -> PolicyOffer {
    let state = &agent.state;
    let assigned = &agent.agent.policy_id;
    if state.agent_policy_id.as_ref() == Some(assigned) && state.policy_revision_idx == newest {
        return PolicyOffer::Runs;
    }
    match &state.policy_failure {
        Some(failure)
            if failure.policy_id == *assigned
                && failure.revision == newest
                && failure.at.until(now) < RETRY_FAILED_POLICY =>
        {
            PolicyOffer::Failed
        }
        _ => PolicyOffer::Send,
    }
}
