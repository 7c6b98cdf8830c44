//! A restart that a collector was told to do: whether it has.
//!
//! Collectors do not acknowledge the command. That one has started again shows in the start time that it tells with its
//! health, and in that it begins a conversation anew: it describes itself after a goodbye, or counts its messages from the
//! beginning. One that shows neither within [`WITHIN`] has failed.

use std::time::Duration;

use fleet_protocol::opamp::AgentToServer;

use super::errand::result;
use crate::actions::StoredAction;
use crate::agents::Snapshot;
use crate::documents::{AckedAction, ActionResult, AgentState, OpampState, PendingRestart};
use crate::timestamp::Timestamp;

/// A collector has so long to start again and to say so.
pub const WITHIN: Duration = Duration::from_secs(300);

/// How a restart ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) seq_no: u64,
    pub(super) action_id: Box<str>,
    pub(super) error: Option<String>,
}

/// Notes that the collector was told to start again.
pub(super) fn begin(state: &mut AgentState, action: &StoredAction, sequence_num: u64, now: Timestamp) {
    let opamp = state.opamp.get_or_insert_default();
    opamp.restart = Some(Box::new(PendingRestart {
        seq_no: action.seq_no,
        action_id: action.action.action_id.as_str().into(),
        at: now,
        start_time: opamp.start_time,
        sequence_num,
        has_left: false,
    }));
}

/// Looks whether `message`, or the time, has brought the restart to an end.
pub(super) fn look(state: &mut AgentState, message: Option<&AgentToServer>, now: Timestamp) -> Option<Ended> {
    let opamp = state.opamp.as_deref_mut()?;
    let is_back = message.is_some_and(|message| hear(opamp, message));
    let restart = opamp.restart.take_if(|restart| is_back || restart.at.until(now) >= WITHIN)?;
    let PendingRestart { seq_no, action_id, .. } = *restart;
    let error = (!is_back).then(|| {
        let minutes = WITHIN.as_secs() / 60;
        format!("the collector has not shown within {minutes} minutes that it has started again")
    });
    Some(Ended { seq_no, action_id, error })
}

/// Takes what a message says about the collector's start. Answers whether it has started again as it was told.
fn hear(opamp: &mut OpampState, message: &AgentToServer) -> bool {
    let started = message.health.as_ref().map_or(0, |health| health.start_time_unix_nano);
    if started != 0 {
        opamp.start_time = started;
    }
    let Some(restart) = opamp.restart.as_deref_mut() else { return false };
    if message.agent_disconnect.is_some() {
        restart.has_left = true;
        return false;
    }
    let is_newer = match restart.start_time {
        // When it had started was not known: after it was told to, then.
        0 => started > nanoseconds(restart.at),
        before => started > before,
    };
    let begins = message.agent_description.is_some()
        && (restart.has_left || message.sequence_num <= restart.sequence_num);
    is_newer || begins
}

fn nanoseconds(at: Timestamp) -> u64 {
    at.unix().unsigned_abs().saturating_mul(1_000_000_000)
}

/// What is to be written of a collector that was told to start again and is not heard of; `None`: it has time left.
#[must_use]
pub fn give_up(agent: &Snapshot, now: Timestamp) -> Option<(AgentState, ActionResult)> {
    let mut state = (*agent.state).clone();
    let ended = look(&mut state, None, now)?;
    state.acked_actions.push(AckedAction { seq_no: ended.seq_no, failed: true });
    Some((state, result(agent, &ended.action_id, ended.error, now)))
}
