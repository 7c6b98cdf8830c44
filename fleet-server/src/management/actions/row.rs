//! How far one action is.

use std::sync::Arc;

use fleet_policy::actions::StoredAction;
use fleet_policy::agents::{Agents, Progress};
use fleet_policy::documents::Refusal;
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// How far an action is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActionRow {
    pub(super) action_id: String,
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub(super) kind: ActionType,
    /// `COMPLETE`, `EXPIRED`, `CANCELLED`, `FAILED`, `IN_PROGRESS`, `ROLLOUT_PASSED`
    pub(super) status: &'static str,
    #[schemars(with = "String")]
    pub(super) creation_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) expiration: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) cancellation_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) completion_time: Option<Timestamp>,
    /// Agents that were meant.
    pub(super) nb_agents_action_created: u64,
    /// The same.
    pub(super) nb_agents_actioned: u64,
    pub(super) nb_agents_ack: u64,
    /// Agents at which it failed, or that were not asked.
    pub(super) nb_agents_failed: u64,
    pub(super) has_rollout_period: bool,
    /// Whether nobody asked for it: a policy did.
    #[serde(rename = "is_automatic")]
    pub(super) is_automatic: bool,
    /// Of an upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// Of a change of a policy, and of what a policy asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy_id: Option<String>,
    /// Of a change of a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<u64>,
    /// Of a re-assignment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) new_policy_id: Option<String>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    pub(super) latest_errors: Vec<ActionError>,
}

/// How it failed at one agent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActionError {
    pub(super) agent_id: String,
    pub(super) error: String,
    #[schemars(with = "String")]
    pub(super) timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<String>,
}

/// The documents of one action.
#[derive(Clone, Debug)]
pub(super) struct Parts(pub(super) Vec<Arc<StoredAction>>);

impl Parts {
    fn progress(&self, agents: &Agents) -> Progress {
        let mut sum = Progress::default();
        for part in &self.0 {
            let progress = match (&part.action.outcome, part.kind.is_delivered()) {
                (Some(outcome), false) => Progress { acked: outcome.acked, failed: outcome.failed },
                _ => agents.progress(part.seq_no),
            };
            sum.acked += progress.acked;
            sum.failed += progress.failed;
        }
        sum
    }

    fn status(&self, done: u64, failed: u64, total: u64, now: Timestamp) -> &'static str {
        let Some(part) = self.0.first() else { return "COMPLETE" };
        let is_undone = !part.kind.is_delivered() && part.action.outcome.is_none();
        if done >= total && !is_undone {
            if failed > 0 { "FAILED" } else { "COMPLETE" }
        } else if self.0.iter().all(|part| part.is_expired(now)) {
            if part.kind == ActionType::Upgrade { "ROLLOUT_PASSED" } else { "EXPIRED" }
        } else {
            "IN_PROGRESS"
        }
    }

    /// Those that were not asked.
    fn refusals(&self) -> impl Iterator<Item = (&Refusal, Timestamp)> {
        self.0
            .iter()
            .flat_map(|part| part.action.refusals.iter().map(|refusal| (refusal, part.action.timestamp)))
    }

    /// How far it is; `cancelled` is when it was taken back. At most `errors` of the refusals are told of.
    pub(super) fn row(
        &self,
        agents: &Agents,
        cancelled: Option<Timestamp>,
        errors: usize,
        now: Timestamp,
    ) -> Option<ActionRow> {
        let first = self.0.first()?;
        let action = &first.action;
        let asked: u64 = self.0.iter().map(|part| part.agents.len() as u64).sum();
        let refused: u64 = self.0.iter().map(|part| part.action.refused).sum();
        let progress = self.progress(agents);
        let (done, failed) = (progress.acked + progress.failed, progress.failed + refused);
        let status = match cancelled {
            Some(_) => "CANCELLED",
            None => self.status(done, failed, asked, now),
        };
        let data = action.data.as_ref().and_then(|data| serde_json::from_str::<Value>(data.get()).ok());
        let text = |field: &str| Some(data.as_ref()?.get(field)?.as_str()?.to_owned());
        let is = |kind: ActionType| first.kind == kind;
        let refusals = self.refusals().take(errors).map(|(refusal, at)| ActionError {
            agent_id: refusal.agent_id.clone(),
            error: refusal.error.clone(),
            timestamp: at,
            hostname: agents.get(&refusal.agent_id).map(|agent| agent.agent.host.hostname.to_string()),
        });
        Some(ActionRow {
            action_id: action.action_id.clone(),
            kind: first.kind,
            status,
            creation_time: action.timestamp,
            start_time: action.start_time,
            expiration: action.expiration,
            cancellation_time: cancelled,
            completion_time: action.outcome.map(|outcome| outcome.at),
            nb_agents_action_created: asked + refused,
            nb_agents_actioned: asked + refused,
            nb_agents_ack: progress.acked,
            nb_agents_failed: failed,
            has_rollout_period: action.rollout_duration_seconds.is_some(),
            is_automatic: action.is_automatic,
            version: text("version").filter(|_| is(ActionType::Upgrade)),
            policy_id: action.policy_id.clone(),
            revision: None,
            new_policy_id: text("policy_id").filter(|_| is(ActionType::PolicyReassign)),
            user: action.user_id.clone(),
            latest_errors: refusals.collect(),
        })
    }
}
