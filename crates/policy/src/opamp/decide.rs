//! What a collector's state becomes, and what it is answered.

use std::sync::Arc;
use std::time::Duration;

use fleet_protocol::opamp::{
    AgentCapability, AgentToServer, CommandType, RemoteConfigStatus, RemoteConfigStatuses, ServerCapability,
    ServerFlag, ServerToAgent, ServerToAgentCommand, has,
};

use super::config::hash_text;
use super::errand::Command;
use super::{CollectorConfig, errand, health, restart, shorten};
use crate::actions::Actions;
use crate::agents::Snapshot;
use crate::documents::{
    ActionResult, AgentState, CheckinStatus, OpampState, PolicyFailure, RemoteConfig, RemoteConfigOutcome,
};
use crate::policies::Head;
use crate::session::BEAT;
use crate::timestamp::Timestamp;

/// What this server can do: bits of [`ServerCapability`].
pub const SERVER_CAPABILITIES: u64 = ServerCapability::AcceptsStatus as u64
    | ServerCapability::OffersRemoteConfig as u64
    | ServerCapability::AcceptsEffectiveConfig as u64;

/// A configuration of which a collector has said nothing is offered again after this long.
const OFFER_AGAIN: Duration = Duration::from_secs(30);
/// The longest error text that is kept, in bytes.
const LONGEST_ERROR: usize = 4096;
/// The revision that a collector runs which takes no configuration, as other servers have it.
const UNMANAGED_REVISION: u64 = 1;

/// What is remembered of a collector from one message to the next, and not stored. A server that remembers
/// nothing asks for everything once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The number of its last message.
    pub sequence_num: Option<u64>,
    /// The hash of the configuration that it was offered last and has said nothing of, and when.
    pub offered: Option<(Box<str>, Timestamp)>,
}

/// What follows from a message, or from a look at what has changed.
#[derive(Debug)]
pub struct Decision {
    /// The collector's state, if it is to be written.
    pub state: Option<AgentState>,
    /// To be kept, before the state.
    pub results: Vec<ActionResult>,
    /// The collector has left: to be done after all is stored.
    pub unenroll: bool,
    /// What it is told, but for its id.
    pub reply: ServerToAgent,
    /// Whether the reply tells more than that its message has come.
    pub says_something: bool,
    /// Whether there is more, which needs another message.
    pub has_more: bool,
    /// When there will be more.
    pub look_again: Option<Timestamp>,
    /// What to remember once all is stored.
    pub conversation: Conversation,
}

/// What follows from `message`, or (`None`) from what may have changed since the last one. `head` is the newest
/// revision of the collector's policy.
#[must_use]
pub fn decide(
    agent: &Snapshot,
    message: Option<&AgentToServer>,
    conversation: &Conversation,
    head: Option<&Head>,
    actions: &Actions,
    now: Timestamp,
) -> Decision {
    let before = &*agent.state;
    let mut state = before.clone();
    let mut conversation = conversation.clone();
    let mut reply = ServerToAgent { capabilities: SERVER_CAPABILITIES, ..ServerToAgent::default() };
    if let Some(message) = message {
        if misses_something(before, message, &conversation) {
            reply.flags |= u64::from(ServerFlag::ReportFullState);
        }
        conversation.sequence_num = Some(message.sequence_num);
        hear(&mut state, message);
    }
    let leaves = state.last_checkin_status == Some(CheckinStatus::Disconnected);
    let config = head.and_then(|head| head.rendered.collector.as_ref());
    if !leaves && let Some(config) = offer(&mut state, message, &mut conversation, config, now) {
        reply.remote_config = Some(config.message());
    }
    if let Some(head) = head {
        run_policy(agent, &mut state, head, now);
    }
    let ended = restart::look(&mut state, message, now);
    let stands_alone = reply.flags == 0 && reply.remote_config.is_none();
    let stored = state.opamp.as_ref().map_or(0, |opamp| opamp.sequence_num);
    let sequence_num = conversation.sequence_num.unwrap_or(stored);
    let command = Command { is_alone: stands_alone && !leaves, sequence_num };
    let errands = errand::run(agent, &mut state, actions, ended, command, now);
    if errands.restart {
        reply.command = Some(ServerToAgentCommand { r#type: CommandType::Restart.into() });
    }
    Decision {
        state: to_write(before, state, |seq_no| actions.is_over(seq_no), now),
        results: errands.results,
        unenroll: errands.unenroll,
        says_something: !stands_alone || errands.restart,
        has_more: errands.waits && !leaves,
        look_again: errands.next_start,
        reply,
        conversation,
    }
}

/// Whether messages before this one were missed, so that what it leaves out is not known.
fn misses_something(before: &AgentState, message: &AgentToServer, conversation: &Conversation) -> bool {
    // Who only asks whether there is something sends its id alone. Who describes itself sends everything.
    let is_poll =
        *message == AgentToServer { instance_uid: message.instance_uid.clone(), ..Default::default() };
    if is_poll || message.agent_description.is_some() || message.agent_disconnect.is_some() {
        return false;
    }
    let last = conversation.sequence_num.or_else(|| before.opamp.as_ref().map(|opamp| opamp.sequence_num));
    last.is_none_or(|last| message.sequence_num != last.wrapping_add(1))
}

/// Takes what the message says.
fn hear(state: &mut AgentState, message: &AgentToServer) {
    let opamp = state.opamp.get_or_insert_default();
    opamp.sequence_num = message.sequence_num;
    if message.capabilities != 0 {
        opamp.capabilities = message.capabilities;
    }
    if let Some(told) = &message.remote_config_status {
        opamp.remote_config_status = remote_config(told);
    }
    if message.agent_disconnect.is_some() {
        state.last_checkin_status = Some(CheckinStatus::Disconnected);
        state.last_checkin_message = Arc::default();
        return;
    }
    match &message.health {
        Some(told) => {
            state.last_checkin_status = Some(health::status(told));
            state.last_checkin_message = health::message(told);
            state.unhealthy_reason = health::reasons(told);
        }
        // Not all tell their health. Who has not is well, as far as anybody knows.
        None if matches!(state.last_checkin_status, None | Some(CheckinStatus::Disconnected)) => {
            state.last_checkin_status = Some(CheckinStatus::Online);
        }
        None => {}
    }
}

fn remote_config(told: &RemoteConfigStatus) -> Option<RemoteConfig> {
    if told.last_remote_config_hash.is_empty() {
        return None;
    }
    let status = match told.status() {
        RemoteConfigStatuses::Unset => RemoteConfigOutcome::Unset,
        RemoteConfigStatuses::Applied => RemoteConfigOutcome::Applied,
        RemoteConfigStatuses::Applying => RemoteConfigOutcome::Applying,
        RemoteConfigStatuses::Failed => RemoteConfigOutcome::Failed,
    };
    let error = shorten(&told.error_message, LONGEST_ERROR).into();
    Some(RemoteConfig { hash: hash_text(&told.last_remote_config_hash), status, error })
}

/// The configuration that the collector is to be offered now.
fn offer<'a>(
    state: &mut AgentState,
    message: Option<&AgentToServer>,
    conversation: &mut Conversation,
    config: Option<&'a CollectorConfig>,
    now: Timestamp,
) -> Option<&'a CollectorConfig> {
    let opamp = state.opamp.as_mut()?;
    let config = config.filter(|_| has(opamp.capabilities, AgentCapability::AcceptsRemoteConfig))?;
    let reports = has(opamp.capabilities, AgentCapability::ReportsRemoteConfig);
    let known = opamp.remote_config_status.as_ref().filter(|known| *known.hash == *config.hash());
    if let Some(known) = known {
        // Who does not say what it has, and begins anew, may have nothing.
        let begins = message.is_some_and(|message| message.agent_description.is_some());
        if known.status != RemoteConfigOutcome::Offered || !begins {
            conversation.offered = None;
            return None;
        }
    } else if reports
        && let Some((hash, at)) = &conversation.offered
        && **hash == *config.hash()
        && at.until(now) < OFFER_AGAIN
    {
        return None;
    }
    conversation.offered = Some((config.hash().into(), now));
    if !reports {
        let status = RemoteConfigOutcome::Offered;
        let offered = RemoteConfig { hash: config.hash().into(), status, error: Box::default() };
        opamp.remote_config_status = Some(offered);
    }
    Some(config)
}

/// Writes down which revision of its policy the collector runs, or cannot.
fn run_policy(agent: &Snapshot, state: &mut AgentState, head: &Head, now: Timestamp) {
    let Some(opamp) = state.opamp.as_deref() else { return };
    let policy_id = &agent.agent.policy_id;
    let newest = head.rendered.revision;
    let revision = match &head.rendered.collector {
        _ if !has(opamp.capabilities, AgentCapability::AcceptsRemoteConfig) => UNMANAGED_REVISION,
        None => newest,
        Some(config) => match outcome(opamp, config) {
            Some(RemoteConfig {
                status: RemoteConfigOutcome::Applied | RemoteConfigOutcome::Offered,
                ..
            }) => newest,
            Some(RemoteConfig { status: RemoteConfigOutcome::Failed, error, .. }) => {
                let is_known = state.policy_failure.as_ref().is_some_and(|known| {
                    known.policy_id == *policy_id && known.revision == newest && *known.error == **error
                });
                if !is_known {
                    let error = error.to_string();
                    let failure =
                        PolicyFailure { policy_id: Arc::clone(policy_id), revision: newest, error, at: now };
                    state.policy_failure = Some(Box::new(failure));
                }
                return;
            }
            _ => return,
        },
    };
    state.agent_policy_id = Some(Arc::clone(policy_id));
    state.policy_revision_idx = revision;
    state.policy_failure = None;
}

fn outcome<'a>(opamp: &'a OpampState, config: &CollectorConfig) -> Option<&'a RemoteConfig> {
    opamp.remote_config_status.as_ref().filter(|known| *known.hash == *config.hash())
}

/// The state, if it tells something new, or if it was written long ago.
fn to_write(
    before: &AgentState,
    mut after: AgentState,
    is_over: impl Fn(u64) -> bool,
    now: Timestamp,
) -> Option<AgentState> {
    let mut same = before.clone();
    if let (Some(same), Some(after)) = (&mut same.opamp, &after.opamp) {
        // Each message has another number: that alone is not worth a write.
        same.sequence_num = after.sequence_num;
    }
    let is_due = before.last_checkin.is_none_or(|last| last.until(now) >= BEAT);
    if same == after && !is_due {
        return None;
    }
    after.acked_actions.retain(|acked| !is_over(acked.seq_no));
    after.last_checkin = Some(now);
    Some(after)
}

#[cfg(test)]
mod tests;
