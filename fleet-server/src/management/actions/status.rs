//! How far actions and changes of policies are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right;
use fleet_policy::agents::Filter;
use fleet_policy::query::AgentQuery;
use fleet_policy::render::Rendered;
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::agent::{ActionType, policy_action_id};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row::{ActionError, ActionRow, Parts};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::{AtLeast, Params};

/// The most actions of a page.
const LARGEST_PAGE: usize = 10_000;
/// The most errors that are told of each action.
const MOST_ERRORS: usize = 100;

/// Which actions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct StatusQuery {
    /// Counts from 0.
    page: Option<AtLeast<0>>,
    /// 20 unless something else is asked for.
    per_page: Option<AtLeast<1>>,
    /// Only those that were asked for before: a moment, or the end of a day.
    date: Option<String>,
    /// Only so many, the latest.
    latest: Option<usize>,
    /// How many errors are told of each; 5 unless something else is asked for.
    error_size: Option<usize>,
}

/// Actions, the latest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct StatusAnswer {
    items: Vec<ActionRow>,
}

/// What a row tells of.
enum Subject {
    Action(Parts),
    Policy(Arc<Rendered>),
}

/// How far a revision is.
#[derive(Debug, Default)]
struct Reached {
    assigned: u64,
    runs: u64,
    failed: u64,
    errors: Vec<ActionError>,
}

fn end_of(date: &str) -> Result<Timestamp, ApiError> {
    let day = |text: &str| format!("{text}T00:00:00Z").parse::<Timestamp>().ok();
    let found = day(date).map(|day| day + Duration::from_secs(24 * 3600));
    found.or_else(|| date.parse().ok()).ok_or_else(|| {
        let text = "[request query.date]: a date such as 2026-01-31 or 2026-01-31T12:00:00Z is needed";
        ApiError::BadRequest(text.to_owned())
    })
}

/// `GET /agents/action_status`
pub(in crate::management) async fn status(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<StatusQuery>,
) -> Result<Json<StatusAnswer>, ApiError> {
    let errors = asked.error_size.unwrap_or(5).min(MOST_ERRORS);
    let size = asked.per_page.map_or(20, AtLeast::get).min(LARGEST_PAGE);
    let end = asked.date.as_deref().map(end_of).transpose()?;
    let (mut subjects, cancelled) = management.subjects(&caller);
    subjects.retain(|(at, _, _)| end.is_none_or(|end| *at < end));
    // What was asked for last stands first.
    subjects.sort_by_key(|subject| std::cmp::Reverse((subject.0, subject.1)));
    subjects.truncate(asked.latest.unwrap_or(usize::MAX));
    let skip = asked.page.map_or(0, AtLeast::get).saturating_mul(size);
    let page: Vec<_> = subjects.into_iter().skip(skip).take(size).collect();
    let now = management.now();
    let reached = management.reached(&page, errors);
    let mut items = Vec::with_capacity(page.len());
    for (at, _, subject) in &page {
        match subject {
            Subject::Action(parts) => {
                let id = parts.0.first().map(|part| part.action.action_id.as_str()).unwrap_or_default();
                let row = parts.row(&management.fleet.agents, cancelled.get(id).copied(), errors, now);
                items.extend(row);
            }
            Subject::Policy(policy) => {
                items.push(policy_row(policy, *at, reached.get(policy.policy_id.as_str())));
            }
        }
    }
    management.tell_errors(&page, &mut items, errors).await?;
    Ok(Json(StatusAnswer { items }))
}

type Subjects = Vec<(Timestamp, u64, Subject)>;

impl Management {
    /// What the caller may see, each with its moment and its place among those of the same moment; and when
    /// which actions were cancelled.
    fn subjects(&self, caller: &Caller) -> (Subjects, HashMap<String, Timestamp>) {
        let is_all = caller.policies(Right::ReadAgents).is_none();
        let mut cancelled = HashMap::new();
        let mut by_id: BTreeMap<String, Parts> = BTreeMap::new();
        for action in self.fleet.actions.all() {
            if let Some(target) = &action.cancels {
                cancelled.insert(target.clone(), action.action.timestamp);
                continue;
            }
            let is_seen = is_all
                || self
                    .fleet
                    .agents
                    .any_of(&action.agents, |agent| caller.may_on(Right::ReadAgents, &agent.policy_id));
            if is_seen {
                by_id
                    .entry(action.action.action_id.clone())
                    .or_insert_with(|| Parts(Vec::new()))
                    .0
                    .push(action);
            }
        }
        let mut subjects: Subjects = by_id
            .into_values()
            .filter_map(|parts| {
                let first = parts.0.first()?;
                Some((first.action.timestamp, first.seq_no, Subject::Action(parts)))
            })
            .collect();
        for policy in self.fleet.policies.newest() {
            // The first revision of a policy changes nothing for anybody.
            if policy.revision > 1 && (is_all || caller.may_on(Right::ReadAgents, &policy.policy_id)) {
                let at = policy.created_at.parse().unwrap_or_default();
                subjects.push((at, 0, Subject::Policy(policy)));
            }
        }
        (subjects, cancelled)
    }

    /// How far the revisions on a page are: all agents are looked at once.
    fn reached(&self, page: &Subjects, errors: usize) -> HashMap<Arc<str>, Reached> {
        let mut revisions = HashMap::new();
        for (_, _, subject) in page {
            if let Subject::Policy(policy) = subject {
                revisions.insert(policy.policy_id.clone(), policy.revision);
            }
        }
        let mut reached: HashMap<Arc<str>, Reached> = HashMap::new();
        if revisions.is_empty() {
            return reached;
        }
        let (query, only): (_, BTreeSet<String>) = (AgentQuery::all(), revisions.keys().cloned().collect());
        let filter = Filter { policies: Some(&only), ..Filter::new(&query) };
        self.fleet.agents.choose(&filter, &self.fleet.moment(), |seen| {
            let policy_id = &seen.agent.policy_id;
            let Some(revision) = revisions.get(&**policy_id).filter(|_| seen.agent.active) else { return };
            let reached = reached.entry(Arc::clone(policy_id)).or_default();
            reached.assigned += 1;
            let runs = seen.state.agent_policy_id.as_ref() == Some(policy_id);
            if runs && seen.state.policy_revision_idx >= *revision {
                reached.runs += 1;
                return;
            }
            let failure = seen.state.policy_failure.as_ref();
            if let Some(failure) =
                failure.filter(|failure| failure.policy_id == *policy_id && failure.revision == *revision)
            {
                reached.failed += 1;
                if reached.errors.len() < errors {
                    reached.errors.push(ActionError {
                        agent_id: seen.id.to_string(),
                        error: failure.error.clone(),
                        timestamp: failure.at,
                        hostname: Some(seen.agent.host.hostname.to_string()),
                    });
                }
            }
        });
        reached
    }

    /// Adds what agents said of actions that failed, as far as there is room.
    async fn tell_errors(
        &self,
        page: &Subjects,
        items: &mut [ActionRow],
        errors: usize,
    ) -> Result<(), ApiError> {
        let mut failing: HashMap<u64, (String, Vec<String>)> = HashMap::new();
        for (_, _, subject) in page {
            let Subject::Action(parts) = subject else { continue };
            for part in parts.0.iter().filter(|part| self.fleet.agents.progress(part.seq_no).failed > 0) {
                failing.insert(part.seq_no, (part.action.action_id.clone(), Vec::new()));
            }
        }
        if failing.is_empty() || errors == 0 {
            return Ok(());
        }
        let query = AgentQuery::all();
        self.fleet.agents.choose(&Filter::new(&query), &self.fleet.moment(), |seen| {
            for acked in seen.state.acked_actions.iter().filter(|acked| acked.failed) {
                if let Some((_, agents)) =
                    failing.get_mut(&acked.seq_no).filter(|(_, agents)| agents.len() < errors)
                {
                    agents.push(seen.id.to_string());
                }
            }
        });
        for (action_id, agents) in failing.into_values() {
            let Some(row) = items.iter_mut().find(|row| row.action_id == action_id) else { continue };
            for result in self.fleet.actions.results(&action_id, &agents).await? {
                let Some(error) = result.error.filter(|_| row.latest_errors.len() < errors) else { continue };
                let hostname = self.fleet.agents.get(&result.agent_id);
                let hostname = hostname.map(|agent| agent.agent.host.hostname.to_string());
                let (agent_id, timestamp) = (result.agent_id, result.timestamp);
                row.latest_errors.push(ActionError { agent_id, error, timestamp, hostname });
            }
            row.latest_errors.sort_by_key(|error| std::cmp::Reverse(error.timestamp));
        }
        Ok(())
    }
}

fn policy_row(policy: &Rendered, at: Timestamp, reached: Option<&Reached>) -> ActionRow {
    let nothing = Reached::default();
    let reached = reached.unwrap_or(&nothing);
    let status = if reached.runs >= reached.assigned { "COMPLETE" } else { "IN_PROGRESS" };
    ActionRow {
        action_id: policy_action_id(&policy.policy_id, policy.revision),
        kind: ActionType::PolicyChange,
        status,
        creation_time: at,
        start_time: None,
        expiration: None,
        cancellation_time: None,
        completion_time: None,
        nb_agents_action_created: reached.assigned,
        nb_agents_actioned: reached.assigned,
        nb_agents_ack: reached.runs,
        nb_agents_failed: reached.failed,
        has_rollout_period: false,
        is_automatic: false,
        version: None,
        policy_id: Some(policy.policy_id.clone()),
        revision: Some(policy.revision),
        new_policy_id: None,
        user: None,
        latest_errors: reached.errors.clone(),
    }
}
