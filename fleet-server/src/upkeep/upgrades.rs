//! Agents go to the versions that their policies require, a share of them to each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_policy::agents::Filter;
use fleet_policy::documents::{Action, Agent, AgentPolicy};
use fleet_policy::keeper::Duty;
use fleet_policy::query::AgentQuery;
use fleet_policy::timestamp::Timestamp;
use fleet_policy::upgrades::{Candidate, Share, note, plan, shares};
use fleet_policy::version::Version;
use fleet_protocol::agent::ActionType;
use fleet_store::{Error, ErrorKind, LeaseId, WriteError};
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::time::sleep;
use tracing::info;

use super::sign_action;
use crate::fleet::Fleet;

/// How often it is looked who is to be upgraded.
const ROUND: Duration = Duration::from_secs(10);
/// The most agents of one policy that are asked in one round: the others follow, so that not all of them fetch
/// the same at the same moment.
const MOST_TOGETHER: usize = 1_000;
/// An upgrade that no agent has fetched for so long is over.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Sends agents to the versions that their policies require.
#[derive(Debug)]
pub struct Upgrades {
    fleet: Arc<Fleet>,
    /// The version that the server says it is: agents are not later.
    own: Version,
}

impl Upgrades {
    /// For the agents of `fleet`, by a server of version `own`.
    #[must_use]
    pub fn new(fleet: &Arc<Fleet>, own: Version) -> Upgrades {
        Upgrades { fleet: Arc::clone(fleet), own }
    }

    /// Asks whoever is to be asked now.
    ///
    /// # Errors
    /// The store does not take it, or the lease is over.
    pub async fn round(&self, lease: LeaseId) -> Result<(), WriteError> {
        let policies = self.fleet.agent_policies.all();
        let requires = |policy: &&AgentPolicy| {
            !policy.is_managed && policy.required_versions.as_ref().is_some_and(|all| !all.is_empty())
        };
        let requiring: Vec<&AgentPolicy> =
            policies.values().map(|policy| &policy.value).filter(requires).collect();
        if requiring.is_empty() {
            return Ok(());
        }
        let now = self.fleet.clock.now();
        let mut candidates = self.candidates(&requiring, now);
        for policy in requiring {
            let shares = shares(policy.required_versions.as_deref().unwrap_or_default(), self.own);
            let agents = candidates.remove(policy.id.as_str()).unwrap_or_default();
            for (index, ids) in plan(&shares, &agents, now, MOST_TOGETHER) {
                if let Some(share) = shares.get(index) {
                    self.ask(policy, share, ids, now, lease).await?;
                }
            }
        }
        Ok(())
    }

    /// The agents of these policies, by policy.
    fn candidates(&self, policies: &[&AgentPolicy], now: Timestamp) -> BTreeMap<Arc<str>, Vec<Candidate>> {
        let all = AgentQuery::all();
        let ids: BTreeSet<String> = policies.iter().map(|policy| policy.id.clone()).collect();
        let filter = Filter { policies: Some(&ids), ..Filter::new(&all) };
        let mut found: BTreeMap<Arc<str>, Vec<Candidate>> = BTreeMap::new();
        self.fleet.agents.choose(&filter, &self.fleet.moment(), |seen| {
            if let Some(candidate) = Candidate::of(seen.id, seen.agent, seen.state, seen.status, now) {
                found.entry(Arc::clone(&seen.agent.policy_id)).or_default().push(candidate);
            }
        });
        found
    }

    /// Asks agents. First it is noted that they are: if this server ends in between, they are asked again when it
    /// is their time, as if they had failed; never twice.
    async fn ask(
        &self,
        policy: &AgentPolicy,
        share: &Share,
        ids: Vec<Arc<str>>,
        now: Timestamp,
        lease: LeaseId,
    ) -> Result<(), WriteError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let mark = |agent: &mut Agent| {
            note(agent, &share.text, now);
            true
        };
        self.fleet.agents.change_many(&ids, mark, Some(lease)).await?;
        let is_marked = |id: &String| {
            let noted = self.fleet.agents.get(id).and_then(|found| found.agent.auto_upgrade.clone());
            noted.is_some_and(|auto| *auto.version == *share.text && auto.attempts.first() == Some(&now))
        };
        // Whoever changed meanwhile is looked at again in the next round.
        let asked: Vec<String> = ids.into_iter().filter(is_marked).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let (count, action_id) = (asked.len(), uuid::Uuid::new_v4().to_string());
        let action = self.action(policy, share, &action_id, now).map_err(WriteError::NotDone)?;
        self.fleet.actions.create_while(&action_id, action, asked, Some(lease)).await?;
        info!(
            policy = policy.id,
            version = share.text,
            agents = count,
            "agents are upgraded as their policy requires"
        );
        Ok(())
    }

    fn action(
        &self,
        policy: &AgentPolicy,
        share: &Share,
        action_id: &str,
        now: Timestamp,
    ) -> Result<Action, Error> {
        let data = json!({"version": share.text});
        let failed = |error| Error::caused_by(ErrorKind::Invalid, "sign an upgrade", error);
        let signed = sign_action(&self.fleet.signer.keys(), ActionType::Upgrade, action_id, Some(&data));
        let raw = to_raw_value(&data)
            .map_err(|error| Error::caused_by(ErrorKind::Invalid, "encode an upgrade", error))?;
        Ok(Action {
            action_id: action_id.to_owned(),
            timestamp: now,
            kind: ActionType::Upgrade.to_string(),
            input_type: String::new(),
            expiration: Some(now + LIFE),
            start_time: None,
            rollout_duration_seconds: None,
            minimum_execution_duration: None,
            timeout: None,
            agents: Vec::new(),
            target_documents: None,
            total: 0,
            data: Some(raw),
            signed: Some(signed.map_err(failed)?),
            user_id: None,
            traceparent: None,
            namespaces: policy.space_ids.clone(),
            secret_references: Vec::new(),
            refused: 0,
            refusals: Vec::new(),
            outcome: None,
            is_automatic: true,
            policy_id: Some(policy.id.clone()),
        })
    }
}

#[async_trait]
impl Duty for Upgrades {
    async fn serve(&self, lease: LeaseId) -> Result<(), WriteError> {
        loop {
            self.round(lease).await?;
            sleep(ROUND).await;
        }
    }
}
