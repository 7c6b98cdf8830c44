//! Which agents are meant, and which of them are not asked after all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fleet_access::rights::Right;
use fleet_policy::agents::{Filter, Presence, Seen};
use fleet_policy::documents::{AgentPolicy, Refusal};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::fields::bad;

/// So many refusals are kept with an action. More are counted.
const MOST_REFUSALS: usize = 10;
/// So many policies are read in one call of the store.
const READ_TOGETHER: usize = 100;

/// Which agents: their ids, or a query such as `policy_id:web`. No limit.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a list of ids of agents, or a query such as \"policy_id:web\", is needed")]
pub(super) enum Chosen {
    Ids(BTreeSet<String>),
    Query(String),
}

impl Chosen {
    /// Whoever leaves it empty forgot something: that must not be all agents there are.
    fn check(&self) -> Result<(), ApiError> {
        let is_empty = match self {
            Chosen::Ids(ids) => ids.is_empty(),
            Chosen::Query(query) => query.trim().is_empty(),
        };
        if is_empty {
            let text = "ids of agents, or a query, are needed: say \"*\" for all agents";
            return Err(bad("agents", text));
        }
        Ok(())
    }
}

/// The agents that are asked, and those that are not after all.
#[derive(Debug)]
pub(super) struct Picked<T> {
    /// In the order of their ids, with what was found out about each.
    pub(super) agents: Vec<Agent<T>>,
    pub(super) refused: Refused,
}

/// An agent that is asked.
#[derive(Debug)]
pub(super) struct Agent<T> {
    pub(super) id: Arc<str>,
    policy_id: Arc<str>,
    pub(super) found: T,
}

/// Agents that are not asked.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) count: u64,
    pub(super) first: Vec<Refusal>,
}

impl Refused {
    fn add(&mut self, agent_id: &str, error: String) {
        self.count += 1;
        if self.first.len() < MOST_REFUSALS {
            let agent_id = agent_id.chars().take(128).collect();
            self.first.push(Refusal { agent_id, error });
        }
    }
}

impl<T> Picked<T> {
    /// Their ids.
    pub(super) fn ids(&self) -> Vec<String> {
        self.agents.iter().map(|agent| agent.id.to_string()).collect()
    }

    /// The first refusal, for whoever asked a single agent.
    pub(super) fn single(mut self) -> Result<Picked<T>, ApiError> {
        match self.refused.first.pop() {
            Some(refusal) => Err(ApiError::BadRequest(refusal.error)),
            None => Ok(self),
        }
    }
}

impl Management {
    /// Those of the chosen agents that pass `check`, which says why one does not. It must not ask for agents.
    pub(super) async fn pick<T>(
        &self,
        chosen: &Chosen,
        with_inactive: bool,
        caller: &Caller,
        mut check: impl FnMut(&Seen<'_>) -> Result<T, String>,
    ) -> Result<Picked<T>, ApiError> {
        chosen.check()?;
        if let Chosen::Ids(ids) = chosen {
            self.fleet.agents.learn(ids.iter().map(String::as_str)).await?;
        }
        let mut picked = Picked { agents: Vec::new(), refused: Refused::default() };
        let mut take = |seen: &Seen<'_>| match check(seen) {
            Ok(found) => {
                let (id, policy_id) = (Arc::clone(seen.id), Arc::clone(&seen.agent.policy_id));
                picked.agents.push(Agent { id, policy_id, found });
            }
            Err(reason) => picked.refused.add(seen.id, reason),
        };
        let mut missing = Vec::new();
        let moment = self.fleet.moment();
        match chosen {
            Chosen::Ids(ids) => {
                for id in ids {
                    let found = self.fleet.agents.get(id);
                    let found =
                        found.filter(|agent| caller.may_on(Right::ControlAgents, &agent.agent.policy_id));
                    let Some(agent) = found else {
                        missing.push(id);
                        continue;
                    };
                    let status = self.fleet.agents.status_of(&agent, &moment);
                    take(&Seen {
                        id: &agent.id,
                        agent: &agent.agent,
                        state: &agent.state,
                        status,
                        policy: 0,
                    });
                }
            }
            Chosen::Query(text) => {
                let query = self.agent_query("request body.agents", Some(text))?;
                let policies = caller.policies(Right::ControlAgents);
                let filter = Filter { with_inactive, policies: policies.as_ref(), ..Filter::new(&query) };
                self.fleet.agents.choose(&filter, &moment, take);
            }
        }
        for id in missing {
            picked.refused.add(id, format!("Agent {id} not found"));
        }
        picked.agents.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(picked)
    }

    /// One agent, if it passes `check`.
    pub(super) async fn pick_one<T>(
        &self,
        id: &str,
        caller: &Caller,
        check: impl FnMut(&Seen<'_>) -> Result<T, String>,
    ) -> Result<Picked<T>, ApiError> {
        self.find_agent(id, caller, Right::ControlAgents).await?;
        let chosen = Chosen::Ids([id.to_owned()].into());
        self.pick(&chosen, true, caller, check).await?.single()
    }

    /// Refuses the agents of whose policy `why` says why.
    pub(super) async fn refuse_by_policy<T>(
        &self,
        picked: &mut Picked<T>,
        why: impl Fn(&AgentPolicy) -> Option<String>,
    ) -> Result<(), ApiError> {
        let ids: BTreeSet<&str> = picked.agents.iter().map(|agent| &*agent.policy_id).collect();
        let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
        let mut reasons = HashMap::new();
        for ids in ids.chunks(READ_TOGETHER) {
            let found = self.deployer.policies().read_many(ids).await?;
            reasons.extend(found.into_iter().flatten().filter_map(|policy| {
                let reason = why(&policy.value)?;
                Some((policy.id.clone(), reason))
            }));
        }
        if reasons.is_empty() {
            return Ok(());
        }
        let refused = &mut picked.refused;
        picked.agents.retain(|agent| {
            let reason = reasons.get(&*agent.policy_id);
            if let Some(reason) = reason {
                refused.add(&agent.id, format!("agent {}: {reason}", agent.id));
            }
            reason.is_none()
        });
        Ok(())
    }

    /// Refuses agents of policies that people are kept from changing.
    pub(super) async fn refuse_hosted<T>(
        &self,
        picked: &mut Picked<T>,
        doing: &'static str,
    ) -> Result<(), ApiError> {
        self.refuse_by_policy(picked, |policy| {
            let text = || format!("{doing} is refused: its policy {} is hosted (is_managed)", policy.id);
            policy.is_managed.then(text)
        })
        .await
    }

    /// The moment at which an agent's state is looked at.
    pub(super) fn now(&self) -> fleet_policy::timestamp::Timestamp {
        self.fleet.moment().now()
    }
}
