//! What is known of one agent.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::Revision;

use crate::documents::{Agent, AgentState};
use crate::status::{OFFLINE_AFTER, Status};
use crate::timestamp::Timestamp;

/// A document with its revision; [`Revision::ZERO`]: there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept<T> {
    pub(super) revision: Revision,
    pub(super) value: Arc<T>,
}

/// An agent's documents, and what is asked of them most.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Arc<str>,
    pub(super) agent: Option<Kept<Agent>>,
    pub(super) state: Option<Kept<AgentState>>,
    pub(super) row: Row,
}

/// What an agent's status is made of, beside its documents: counting a hundred thousand agents reads only these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// When it was last heard of, or else enrolled: seconds since 1970.
    pub(super) heard: u32,
    /// The number of its policy.
    pub(super) policy: u32,
    /// How it is when it has just been heard of.
    pub(super) base: Status,
}

impl Row {
    pub(super) fn of(agent: &Agent, state: &AgentState, policy: u32) -> Row {
        let heard = state.last_checkin.unwrap_or(agent.enrolled_at);
        Row {
            heard: u32::try_from(heard.unix()).unwrap_or(u32::MAX),
            policy,
            base: Status::of(agent, state, None, Duration::ZERO, heard),
        }
    }

    /// How the agent is, unless its check-in is held: the rules of [`Status::of`].
    pub(super) fn status(self, inactivity_timeout: Duration, now: Timestamp) -> Status {
        let silence = Timestamp::from_unix(self.heard.into()).until(now);
        match self.base {
            Status::Unenrolled => Status::Unenrolled,
            _ if !inactivity_timeout.is_zero() && silence > inactivity_timeout => Status::Inactive,
            base @ (Status::Uninstalled | Status::Orphaned) => base,
            _ if silence > OFFLINE_AFTER => Status::Offline,
            base => base,
        }
    }
}

/// Whether a held check-in makes a difference to this status: it is one of silence.
pub(super) fn is_silent(status: Status) -> bool {
    matches!(status, Status::Inactive | Status::Offline | Status::Enrolling)
}

/// An agent as it was at a moment: the documents may have changed since, which a write with their revisions
/// finds out.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The agent's id.
    pub id: Arc<str>,
    /// What was decided about it.
    pub agent: Arc<Agent>,
    /// The revision of `agent`.
    pub agent_revision: Revision,
    /// What it reported.
    pub state: Arc<AgentState>,
    /// The revision of `state`; [`Revision::ZERO`]: it has never reported.
    pub state_revision: Revision,
}

impl Entry {
    pub(super) fn new(id: Arc<str>) -> Entry {
        let row = Row { heard: 0, policy: 0, base: Status::Unenrolled };
        Entry { id, agent: None, state: None, row }
    }

    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let agent = self.agent.clone()?;
        let state = self.state.clone().unwrap_or_default();
        Some(Snapshot {
            id: Arc::clone(&self.id),
            agent: agent.value,
            agent_revision: agent.revision,
            state: state.value,
            state_revision: state.revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::documents::{AgentKind, AuditReason, CheckinStatus};

    prop_compose! {
        fn agent()(
            active in prop::bool::weighted(0.9),
            enrolled_at in 0..2000_i64,
            audit in prop::sample::select(vec![None, Some(AuditReason::Uninstall), Some(AuditReason::Orphaned), Some(AuditReason::Migrated)]),
            upgrade_started_at in prop::option::of((0..2000_i64).prop_map(Timestamp::from_unix)),
            unenrollment_started_at in prop::option::of((0..2000_i64).prop_map(Timestamp::from_unix)),
            is_collector: bool,
        ) -> Agent {
            Agent {
                active,
                enrolled_at: Timestamp::from_unix(enrolled_at),
                audit_unenrolled_reason: audit,
                upgrade_started_at,
                unenrollment_started_at,
                kind: if is_collector { AgentKind::Opamp } else { AgentKind::Permanent },
                ..Agent::default()
            }
        }
    }

    prop_compose! {
        fn state()(
            last_checkin in prop::option::of((0..2000_i64).prop_map(Timestamp::from_unix)),
            last_checkin_status in prop::sample::select(vec![None, Some(CheckinStatus::Online), Some(CheckinStatus::Error), Some(CheckinStatus::Degraded), Some(CheckinStatus::Disconnected)]),
            policy_revision_idx in 0..2_u64,
            upgraded_at in prop::option::of((0..2000_i64).prop_map(Timestamp::from_unix)),
        ) -> AgentState {
            AgentState { last_checkin, last_checkin_status, policy_revision_idx, upgraded_at, ..AgentState::default() }
        }
    }

    proptest! {
        #[test]
        fn a_row_knows_the_status(agent in agent(), state in state(), timeout in 0..1000_u64, now in 0..4000_i64) {
            let (timeout, now) = (Duration::from_secs(timeout), Timestamp::from_unix(now));
            let row = Row::of(&agent, &state, 0);
            prop_assert_eq!(row.status(timeout, now), Status::of(&agent, &state, None, timeout, now));
            // A held check-in makes a difference to silence alone.
            let held = Status::of(&agent, &state, Some(now), timeout, now);
            if !is_silent(row.status(timeout, now)) {
                prop_assert_eq!(row.status(timeout, now), held);
            }
        }
    }
}
