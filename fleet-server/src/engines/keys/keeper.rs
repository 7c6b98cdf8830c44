//! What is over: keys of agents that have left, keys that no policy needs, rights of older revisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_policy::agents::Snapshot;
use fleet_policy::keeper::Duty;
use fleet_store::{Expect, LeaseId, WriteError};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::decide::{roles, with_old};
use super::document::{AgentKeys, KeysRow};
use super::{MOST_AT_A_TIME, api};
use crate::engines::EngineProblem;
use crate::fleet::Fleet;

/// How often it is looked whether something is over. All of what is looked at is in memory.
const ROUND: Duration = Duration::from_secs(2);
/// What could not be done is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(15);
/// How often it is looked whether some way to an engine is of no use any more.
const TIDY: Duration = Duration::from_mins(10);
/// Keys of an agent that is not known here are looked at when that is so for so long: it may be new.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// Ends keys, as long as its server is the keeper.
#[derive(Debug)]
pub struct KeyKeeper(Arc<Fleet>);

/// What is to be done for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// All its keys are over.
    End,
    /// It runs the policy that its keys were last changed for.
    Settle,
}

impl KeyKeeper {
    /// That of this server.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>) -> KeyKeeper {
        KeyKeeper(fleet)
    }

    async fn due(&self, agent_id: &str, row: &KeysRow, later: &BTreeMap<String, Instant>) -> Option<Due> {
        if later.get(agent_id).is_some_and(|until| Instant::now() < *until) {
            return None;
        }
        match self.0.agents.get(agent_id) {
            Some(agent) => due(&agent, row),
            // The store knows; when it does not answer, nothing is over.
            None => match self.0.agents.find(agent_id).await {
                Ok(Some(agent)) => due(&agent, row),
                Ok(None) => Some(Due::End),
                Err(_) => None,
            },
        }
    }

    /// Does what is due for one agent. Whether it is done.
    async fn serve_agent(&self, agent_id: &str, due: Due, lease: LeaseId) -> Result<bool, WriteError> {
        let documents = &self.0.output_keys.documents;
        let found = documents.get(agent_id).await.map_err(WriteError::NotDone)?;
        let Some(found) = found else { return Ok(true) };
        let expect = Expect::Revision(found.revision);
        let written = match due {
            Due::End => {
                if let Err(problem) = self.invalidate(&found.value, true).await {
                    return Ok(tell(agent_id, &problem));
                }
                info!(agent = agent_id, "its keys are over");
                documents.delete(agent_id, expect, Some(lease)).await.map(drop)
            }
            Due::Settle => {
                let mut keys = found.value;
                if let Err(problem) = self.settle(&mut keys).await {
                    return Ok(tell(agent_id, &problem));
                }
                let written = documents.put(agent_id, &keys, expect, None, Some(lease)).await.map(drop);
                if let Err(WriteError::Conflict { .. }) = written {
                    return self.give_back(agent_id, &keys).await;
                }
                written
            }
        };
        match written {
            // The agent got something new meanwhile: it is looked at again.
            Err(WriteError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(true),
        }
    }

    async fn settle(&self, keys: &mut AgentKeys) -> Result<(), EngineProblem> {
        self.invalidate(keys, false).await?;
        for key in keys.outputs.values_mut().filter(|key| key.is_stale) {
            let opened = self.0.engines.open_cluster(&self.0, &key.output_id, &key.cluster).await;
            let access = match opened {
                Ok(access) => access,
                // Nobody can do anything there any more.
                Err(EngineProblem::Gone(_)) => continue,
                Err(problem) => return Err(problem),
            };
            api::update(&access.connection, &key.api_key_id, &roles(&key.permissions)).await?;
            key.is_stale = false;
        }
        keys.to_retire_api_key_ids.clear();
        keys.pending = false;
        Ok(())
    }

    /// The agent was given another policy while rights of older ones were taken away: those of the newest may be
    /// among them. Whoever gave it to the agent has written what they are by now, or finds that it was overtaken
    /// and does it again.
    async fn give_back(&self, agent_id: &str, settled: &AgentKeys) -> Result<bool, WriteError> {
        let found = self.0.output_keys.documents.get(agent_id).await.map_err(WriteError::NotDone)?;
        let Some(found) = found else { return Ok(true) };
        for (name, key) in &found.value.outputs {
            let Some(before) = settled.outputs.get(name).filter(|old| old.api_key_id == key.api_key_id)
            else {
                continue;
            };
            let Ok(access) = self.0.engines.open(&self.0, &key.output_id).await else { return Ok(false) };
            let rights = with_old(&key.permissions, &roles(&before.permissions));
            if let Err(problem) = api::update(&access.connection, &key.api_key_id, &rights).await {
                return Ok(tell(agent_id, &problem));
            }
        }
        Ok(true)
    }

    /// Invalidates what is retired, and what is not too if the agent has left.
    async fn invalidate(&self, keys: &AgentKeys, all: bool) -> Result<(), EngineProblem> {
        let retired = keys.to_retire_api_key_ids.iter().map(|key| (&key.output, &key.cluster, &key.id));
        let used = keys.outputs.values().filter(|_| all);
        let used = used.map(|key| (&key.output_id, &key.cluster, &key.api_key_id));
        let mut over: BTreeMap<(&String, &String), Vec<String>> = BTreeMap::new();
        for (output, cluster, id) in retired.chain(used) {
            over.entry((output, cluster)).or_default().push(id.clone());
        }
        for ((output, cluster), ids) in over {
            match self.0.engines.open_cluster(&self.0, output, cluster).await {
                Ok(access) => {
                    if let Err(problem) = api::invalidate(&access.connection, &ids).await {
                        self.0.engines.forget_cluster(output, cluster).await;
                        return Err(problem);
                    }
                }
                Err(EngineProblem::Gone(_)) => {
                    warn!(
                        output,
                        keys = ids.len(),
                        "keys stay good: nobody can log in to their engine any more"
                    );
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }
}

impl KeyKeeper {
    /// Forgets the ways to engines that no output names and in which no agent has a key, if that was so already the
    /// last time (`idle`): a key may be on its way into the store. Answers those of which it is so now.
    async fn forget_ways(
        &self,
        idle: &BTreeSet<String>,
        lease: LeaseId,
    ) -> Result<BTreeSet<String>, WriteError> {
        let fleet = &self.0;
        let without = fleet.engines.without_output(fleet).await?;
        if without.is_empty() {
            return Ok(without);
        }
        let used = fleet.output_keys.clusters().await.map_err(WriteError::NotDone)?;
        // Who cannot read what an agent has must not forget how to end it.
        let Some(used) = used else { return Ok(BTreeSet::new()) };
        let now_idle: BTreeSet<String> = without.difference(&used).cloned().collect();
        fleet.engines.forget_ways(fleet, &(&now_idle & idle), lease).await?;
        Ok(&now_idle - idle)
    }
}

fn due(agent: &Snapshot, row: &KeysRow) -> Option<Due> {
    if !agent.agent.active {
        return Some(Due::End);
    }
    let state = &agent.state;
    let runs_it =
        state.agent_policy_id.as_deref() == Some(&row.policy_id) && state.policy_revision_idx >= row.revision;
    (row.pending && runs_it).then_some(Due::Settle)
}

fn tell(agent_id: &str, problem: &EngineProblem) -> bool {
    let problem = problem.to_string();
    warn!(agent = agent_id, problem, "what is over of an agent's keys is done later");
    false
}

#[async_trait]
impl Duty for KeyKeeper {
    async fn serve(&self, lease: LeaseId) -> Result<(), WriteError> {
        // What could not be done, and when it is tried again. Bounded by the number of agents with keys.
        let mut later: BTreeMap<String, Instant> = BTreeMap::new();
        let mut unknown: BTreeMap<String, Instant> = BTreeMap::new();
        let (mut idle, mut tidied) = (BTreeSet::new(), Instant::now());
        loop {
            let rows = self.0.output_keys.rows.all();
            later.retain(|id, until| rows.contains_key(id) && Instant::now() < *until);
            unknown.retain(|id, _| rows.contains_key(id) && self.0.agents.get(id).is_none());
            let mut work = Vec::new();
            for (agent_id, row) in rows.iter() {
                if self.0.agents.get(agent_id).is_none() {
                    let since = unknown.entry(agent_id.clone()).or_insert_with(Instant::now);
                    if since.elapsed() < UNKNOWN_FOR {
                        continue;
                    }
                }
                if let Some(due) = self.due(agent_id, &row.value, &later).await {
                    work.push((agent_id.clone(), due));
                }
            }
            drop(rows);
            let mut working = stream::iter(work)
                .map(|(agent_id, due)| async move {
                    let done = self.serve_agent(&agent_id, due, lease).await;
                    (agent_id, done)
                })
                .buffer_unordered(MOST_AT_A_TIME / 4);
            while let Some((agent_id, done)) = working.next().await {
                if !done? {
                    later.insert(agent_id, Instant::now() + TRY_AGAIN);
                }
            }
            if tidied.elapsed() >= TIDY {
                (idle, tidied) = (self.forget_ways(&idle, lease).await?, Instant::now());
            }
            sleep(ROUND).await;
        }
    }
}
