//! A message, what it changes, and its answer.

use std::sync::Arc;

use fleet_access::key::ApiKey;
use fleet_policy::agents::{SaveError, Snapshot};
use fleet_policy::documents::{AgentDetails, CheckinStatus};
use fleet_policy::opamp::{Decision, Description, Parts, SERVER_CAPABILITIES, decide};
use fleet_policy::policies::Head;
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::opamp::{AgentToServer, ServerToAgent};
use fleet_store::WriteError;
use futures_util::future::try_join_all;
use tracing::warn;

use super::who::Who;
use crate::agents::AgentsApi;
use crate::agents::acks::RESULTS_AT_A_TIME;
use crate::agents::checkin::KEYS_AGAIN;
use crate::agents::error::ApiError;
use crate::engines::keys::KeysError;

/// A state is decided again so often when it changes at the same moment.
const ATTEMPTS: usize = 5;

/// What came of a message, or of a look.
pub(super) struct Heard {
    /// What the collector is told.
    pub(super) reply: ServerToAgent,
    /// Whether that is more than that its message has come.
    pub(super) says_something: bool,
    /// Whether there is more to tell it at once.
    pub(super) has_more: bool,
    /// When there will be more.
    pub(super) look_again: Option<Timestamp>,
    /// Who it is. `None`: nobody, or not yet.
    pub(super) agent: Option<Present>,
}

/// A collector that is there.
pub(super) struct Present {
    pub(super) id: Arc<str>,
    pub(super) policy_id: Arc<str>,
}

impl Heard {
    fn alone(reply: ServerToAgent) -> Heard {
        Heard { reply, says_something: true, has_more: false, look_again: None, agent: None }
    }
}

impl AgentsApi {
    /// Takes a message of whoever has `key`, and tells what to answer.
    pub(super) async fn exchange(&self, key: &ApiKey, message: &AgentToServer) -> Result<Heard, ApiError> {
        match self.who(key, message).await? {
            Who::Known(agent) => {
                let agent = self.keep_parts(agent, message).await?;
                self.hear(agent, Some(message), &message.instance_uid).await
            }
            Who::Renamed(reply) => Ok(Heard::alone(reply)),
            Who::Gone => Ok(Heard::alone(ServerToAgent {
                instance_uid: message.instance_uid.clone(),
                capabilities: SERVER_CAPABILITIES,
                ..ServerToAgent::default()
            })),
        }
    }

    /// Stores what follows from a message, or from what has changed, and tells what to answer. Results go
    /// first, so that none is missing of what counts as done.
    pub(super) async fn hear(
        &self,
        mut agent: Snapshot,
        message: Option<&AgentToServer>,
        instance_uid: &[u8],
    ) -> Result<Heard, ApiError> {
        let fleet = &self.fleet;
        let mut is_newest = message.is_none();
        for _ in 0..ATTEMPTS {
            let conversation = self.conversations.get(&agent.id);
            let head = fleet.policies.head(&agent.agent.policy_id);
            let now = fleet.clock.now();
            let mut decision = decide(&agent, message, &conversation, head.as_ref(), &fleet.actions, now);
            if decision.reply.remote_config.is_some() && !is_newest {
                // Another server may have given it a newer one, which is not known here yet. (Who is only woken
                // is woken by the newest.)
                fleet.policies.refresh(&agent.agent.policy_id).await.map_err(WriteError::NotDone)?;
                is_newest = true;
                continue;
            }
            if let Some(head) = head.as_ref().filter(|_| decision.reply.remote_config.is_some())
                && let Err(error) = self.add_keys(&agent.id, head, &mut decision).await
            {
                let error: &dyn std::error::Error = &error;
                warn!(agent = &*agent.id, error, "a configuration waits for the keys of its collector");
                decision = decide(&agent, message, &conversation, None, &fleet.actions, now);
                let again = now + KEYS_AGAIN;
                decision.look_again = Some(decision.look_again.map_or(again, |other| other.min(again)));
            }
            for results in decision.results.chunks(RESULTS_AT_A_TIME) {
                try_join_all(results.iter().map(|result| fleet.actions.record(result))).await?;
            }
            if let Some(state) = decision.state.clone() {
                match fleet.agents.save_state(&agent, state).await {
                    Ok(saved) => agent = saved,
                    Err(SaveError::Changed) => {
                        agent = fleet.agents.get(&agent.id).ok_or(ApiError::AgentNotFound)?;
                        continue;
                    }
                    Err(SaveError::Store(error)) => return Err(error.into()),
                }
            }
            return self.carry_out(&agent, decision, instance_uid).await;
        }
        Err(ApiError::Busy)
    }

    /// Gives a collector keys of its own for what its configuration writes to.
    async fn add_keys(&self, agent_id: &str, head: &Head, decision: &mut Decision) -> Result<(), KeysError> {
        let (fleet, rendered) = (&self.fleet, &head.rendered);
        let Some(config) = &rendered.collector else { return Ok(()) };
        let keyed = rendered.keyed.as_ref().map_or(&[][..], |keyed| &keyed.outputs);
        let outputs = config.keyless(keyed);
        if outputs.is_empty() && !fleet.output_keys.has_any(agent_id) {
            return Ok(());
        }
        let keys = Box::pin(fleet.output_keys.ensure(fleet, agent_id, rendered, &outputs)).await?;
        decision.reply.remote_config = Some(config.message_with(&keys));
        Ok(())
    }

    /// What is left to do once all is stored.
    async fn carry_out(
        &self,
        agent: &Snapshot,
        decision: Decision,
        instance_uid: &[u8],
    ) -> Result<Heard, ApiError> {
        self.conversations.put(&agent.id, decision.conversation);
        if decision.unenroll {
            self.unenroll(agent).await?;
        }
        let has_left = agent.state.last_checkin_status == Some(CheckinStatus::Disconnected);
        let present = (!has_left)
            .then(|| Present { id: Arc::clone(&agent.id), policy_id: Arc::clone(&agent.agent.policy_id) });
        Ok(Heard {
            reply: ServerToAgent { instance_uid: instance_uid.to_vec(), ..decision.reply },
            says_something: decision.says_something,
            has_more: decision.has_more,
            look_again: decision.look_again,
            agent: present,
        })
    }

    /// Stores the large parts of a message, and what lists show of them.
    async fn keep_parts(&self, agent: Snapshot, message: &AgentToServer) -> Result<Snapshot, ApiError> {
        let parts = Parts::of(message);
        if parts.is_empty() {
            return Ok(agent);
        }
        let mut details: AgentDetails = self.fleet.agents.details(&agent.id).await?.unwrap_or_default();
        let before = Description::stored(&details);
        let description = parts.description.clone();
        if parts.put_into(&mut details) {
            self.fleet.agents.put_details(&agent.id, &details).await?;
        }
        let Some(description) = description else { return Ok(agent) };
        if !description.describe(&before, &mut (*agent.agent).clone()) {
            return Ok(agent);
        }
        let changed = self.fleet.agents.change(&agent.id, |agent| description.describe(&before, agent));
        changed.await?.ok_or(ApiError::AgentNotFound)
    }
}
