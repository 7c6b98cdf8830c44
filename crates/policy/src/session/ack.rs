//! What an acknowledgement changes.

use std::sync::Arc;

use fleet_protocol::agent::{AckItem, ActionType, Event, is_policy_action, policy_action_revision};
use serde_json::value::RawValue;

use super::shorten;
use crate::actions::StoredAction;
use crate::agents::Snapshot;
use crate::documents::{AckedAction, ActionResult, AgentState, PolicyFailure, UpgradeAttempt};
use crate::timestamp::Timestamp;

/// More than so many actions of which an agent told how they ended are not remembered: the oldest go.
const MOST_ACKED: usize = 256;
/// The longest error text that is kept, in bytes.
const LONGEST_ERROR: usize = 4096;

/// An event, with the action that it is about as far as that is known.
#[derive(Debug)]
pub struct Said<'a> {
    /// The event.
    pub event: Event<'a>,
    /// The action.
    pub action: Option<Arc<StoredAction>>,
}

/// What to do when an acknowledgement has been stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The agent has left: its key is no longer good.
    Unenroll,
}

/// What an acknowledgement changes.
#[derive(Debug)]
pub struct Acknowledged {
    /// The agent's state, if it changes.
    pub state: Option<AgentState>,
    /// To be kept.
    pub results: Vec<ActionResult>,
    /// To be done after all is stored.
    pub effect: Option<Effect>,
    /// The answer, an item for each event.
    pub items: Vec<AckItem>,
}

/// What follows from `events`, which `agent` sent.
#[must_use]
pub fn acknowledge(agent: &Snapshot, events: &[Said<'_>], now: Timestamp) -> Acknowledged {
    let mut state = (*agent.state).clone();
    let mut results = Vec::new();
    let mut effect = None;
    let mut items = Vec::with_capacity(events.len());
    for said in events {
        let item = one(agent, said, now, &mut state, &mut results, &mut effect);
        items.push(match item {
            Ok(()) => AckItem { status: 200, message: "OK".to_owned() },
            Err((status, message)) => AckItem { status, message },
        });
    }
    let excess = state.acked_actions.len().saturating_sub(MOST_ACKED);
    state.acked_actions.drain(..excess);
    let state = (state != *agent.state).then_some(state);
    Acknowledged { state, results, effect, items }
}

fn one(
    agent: &Snapshot,
    said: &Said<'_>,
    now: Timestamp,
    state: &mut AgentState,
    results: &mut Vec<ActionResult>,
    effect: &mut Option<Effect>,
) -> Result<(), (u16, String)> {
    let event = &said.event;
    if event.agent_id.as_deref().is_some_and(|id| !id.is_empty() && id != &*agent.id) {
        return Err((400, format!("agent_id is not {}, which sends it", agent.id)));
    }
    let action_id = event.action_id.as_deref().unwrap_or_default();
    let error = event
        .error
        .as_deref()
        .filter(|error| !error.is_empty())
        .map(|error| shorten(error, LONGEST_ERROR).to_owned());
    if is_policy_action(action_id) {
        policy(agent, action_id, error, now, state);
        return Ok(());
    }
    let Some(action) = &said.action else {
        return Err((404, "action not found".to_owned()));
    };
    if !state.acked_actions.iter().any(|acked| acked.seq_no == action.seq_no) {
        state.acked_actions.push(AckedAction { seq_no: action.seq_no, failed: error.is_some() });
    }
    match (action.kind, &error) {
        (ActionType::Unenroll | ActionType::Migrate, None) => *effect = Some(Effect::Unenroll),
        (ActionType::Upgrade, Some(error)) if !will_retry(event.payload) => {
            state.upgrade_attempt = Some(Box::new(UpgradeAttempt { at: now, error: error.clone() }));
            state.upgraded_at = Some(now);
        }
        (ActionType::Upgrade, None) => {
            state.upgrade_attempt = None;
            // Newer agents tell in their details when they are done; for others this is the end.
            if state.upgrade_details.is_none() {
                state.upgraded_at = Some(now);
            }
        }
        _ => {}
    }
    results.push(result(agent, event, error, now));
    Ok(())
}

/// A revision of the agent's policy was applied, or was not. One of another policy is of no interest.
fn policy(agent: &Snapshot, action_id: &str, error: Option<String>, now: Timestamp, state: &mut AgentState) {
    let assigned = &agent.agent.policy_id;
    let Some(revision) = policy_action_revision(action_id, assigned) else { return };
    if let Some(error) = error {
        let failure = PolicyFailure { policy_id: Arc::clone(assigned), revision, error, at: now };
        state.policy_failure = Some(Box::new(failure));
        return;
    }
    let runs = state.agent_policy_id.as_ref() == Some(assigned);
    if !runs || state.policy_revision_idx < revision {
        state.agent_policy_id = Some(Arc::clone(assigned));
        state.policy_revision_idx = revision;
    }
    if state.policy_failure.as_ref().is_some_and(|failure| failure.revision <= revision) {
        state.policy_failure = None;
    }
}

fn will_retry(payload: Option<&RawValue>) -> bool {
    #[derive(serde::Deserialize)]
    struct Payload {
        #[serde(default)]
        retry: bool,
    }
    payload.is_some_and(|payload| {
        serde_json::from_str::<Payload>(payload.get()).is_ok_and(|payload| payload.retry)
    })
}

fn result(agent: &Snapshot, event: &Event<'_>, error: Option<String>, now: Timestamp) -> ActionResult {
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
    ActionResult {
        action_id: event.action_id.as_deref().unwrap_or_default().to_owned(),
        agent_id: agent.id.to_string(),
        timestamp: now,
        error,
        action_input_type: text(&event.action_input_type),
        action_data: event.action_data.map(ToOwned::to_owned),
        action_response: event.action_response.map(ToOwned::to_owned),
        data: event.data.map(ToOwned::to_owned),
        started_at: text(&event.started_at),
        completed_at: text(&event.completed_at),
    }
}
