//! What becomes of the actions that a collector is to do.
//!
//! Collectors know one command, to start again, and do not acknowledge it: see [`super::restart`]. What a collector
//! cannot do fails at once, and is told so; anything else counts as done when it has been handed out.

use fleet_protocol::agent::ActionType;
use fleet_protocol::opamp::{AgentCapability, has};

use super::restart::{self, Ended, WITHIN};
use crate::actions::{Actions, Due, StoredAction};
use crate::agents::Snapshot;
use crate::documents::{AckedAction, ActionResult, AgentState};
use crate::timestamp::Timestamp;

/// More than so many actions that are over are not remembered: the oldest go.
const MOST_ACKED: usize = 256;
/// So many actions are looked at in one go.
const MOST: usize = 100;

/// What becomes of actions.
#[derive(Debug, Default)]
pub(super) struct Errands {
    /// To be kept.
    pub(super) results: Vec<ActionResult>,
    /// The collector is to start again.
    pub(super) restart: bool,
    /// The collector has left.
    pub(super) unenroll: bool,
    /// There is a command that must wait for the next message.
    pub(super) waits: bool,
    /// When the next action starts, or the time of one is over.
    pub(super) next_start: Option<Timestamp>,
}

/// What a command depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    /// It stands alone in its message: only then it may go out.
    pub(super) is_alone: bool,
    /// The number of the collector's last message.
    pub(super) sequence_num: u64,
}

/// Hands out what is due, and writes into `state` what is over with it, a restart that has `ended` first.
pub(super) fn run(
    agent: &Snapshot,
    state: &mut AgentState,
    actions: &Actions,
    ended: Option<Ended>,
    command: Command,
    now: Timestamp,
) -> Errands {
    let mut errands = Errands::default();
    if let Some(Ended { seq_no, action_id, error }) = ended {
        state.acked_actions.push(AckedAction { seq_no, failed: error.is_some() });
        errands.results.push(result(agent, &action_id, error, now));
    }
    let acked = state.acked_actions.clone();
    let is_acked = |seq_no| acked.iter().any(|acked| acked.seq_no == seq_no);
    let due = actions.due(&agent.id, agent.state.action_seq_no, is_acked, now, MOST);
    let capabilities = state.opamp.as_ref().map_or(0, |opamp| opamp.capabilities);
    let mut first_left = None;
    for Due { action, start_time } in &due {
        let restarting = state.opamp.as_ref().and_then(|opamp| opamp.restart.as_ref());
        let restarting = restarting.map(|restart| restart.seq_no);
        if restarting == Some(action.seq_no) {
            continue;
        }
        if start_time.is_some_and(|start| start > now) {
            errands.next_start = errands.next_start.into_iter().chain(*start_time).min();
            first_left = first_left.or(Some(action.seq_no));
            continue;
        }
        let outcome = match action.kind {
            ActionType::Restart if !has(capabilities, AgentCapability::AcceptsRestartCommand) => {
                Err("the collector does not accept a restart".to_owned())
            }
            // One after the other: who is away to start again hears of no other.
            ActionType::Restart if restarting.is_some() || !command.is_alone => {
                errands.waits |= restarting.is_none();
                first_left = first_left.or(Some(action.seq_no));
                continue;
            }
            ActionType::Restart => {
                errands.restart = true;
                restart::begin(state, action, command.sequence_num, now);
                continue;
            }
            ActionType::Unenroll => {
                errands.unenroll = true;
                Ok(())
            }
            ActionType::PolicyReassign => Ok(()),
            ActionType::Cancel => {
                cancel(agent, state, actions, action, now, &mut errands);
                Ok(())
            }
            kind => Err(format!("a collector that speaks OpAMP cannot do {kind}")),
        };
        over(agent, state, action, outcome.err(), now, &mut errands);
    }
    let done = due
        .iter()
        .map(|due| due.action.seq_no)
        .take_while(|seq_no| first_left.is_none_or(|left| *seq_no < left));
    state.action_seq_no = state.action_seq_no.max(done.last().unwrap_or(0));
    let restart = state.opamp.as_ref().and_then(|opamp| opamp.restart.as_ref());
    errands.next_start =
        errands.next_start.into_iter().chain(restart.map(|restart| restart.at + WITHIN)).min();
    let excess = state.acked_actions.len().saturating_sub(MOST_ACKED);
    state.acked_actions.drain(..excess);
    errands
}

/// What has not started yet does not start any more.
fn cancel(
    agent: &Snapshot,
    state: &mut AgentState,
    actions: &Actions,
    cancel: &StoredAction,
    now: Timestamp,
    errands: &mut Errands,
) {
    let target = cancel.cancels.as_deref().and_then(|id| actions.of_agent(id, &agent.id));
    let restart = state.opamp.as_ref().and_then(|opamp| opamp.restart.as_ref());
    let begun = restart.map(|restart| restart.seq_no);
    if let Some(target) = target.filter(|target| begun != Some(target.seq_no)) {
        over(agent, state, &target, Some("cancelled before its start".to_owned()), now, errands);
    }
}

fn over(
    agent: &Snapshot,
    state: &mut AgentState,
    action: &StoredAction,
    error: Option<String>,
    now: Timestamp,
    errands: &mut Errands,
) {
    if state.acked_actions.iter().any(|acked| acked.seq_no == action.seq_no) {
        return;
    }
    state.acked_actions.push(AckedAction { seq_no: action.seq_no, failed: error.is_some() });
    errands.results.push(result(agent, &action.action.action_id, error, now));
}

/// What came of an action.
pub(super) fn result(
    agent: &Snapshot,
    action_id: &str,
    error: Option<String>,
    now: Timestamp,
) -> ActionResult {
    ActionResult {
        action_id: action_id.to_owned(),
        agent_id: agent.id.to_string(),
        timestamp: now,
        error,
        action_input_type: None,
        action_data: None,
        action_response: None,
        data: None,
        started_at: None,
        completed_at: None,
    }
}
