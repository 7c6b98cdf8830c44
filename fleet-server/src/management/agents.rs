//! `/api/fleet/agents`, but for what they are asked to do.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::agents::Snapshot;
use fleet_policy::documents::AgentDetails;
use fleet_policy::query::Query as AgentQuery;
use fleet_policy::status::Status;
use fleet_protocol::opamp::AgentCapability;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::Caller;
use super::error::ApiError;
use super::input::{Input, Params};
use super::list::Page;
use super::routes::{self, Routes, get, put};
use super::{Answer, Management};
use fleet_access::rights::Right;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ControlAgents, ReadAgents};
    let one = "/api/fleet/agents/{id}";
    routes
        .add(
            get("/api/fleet/agent_status", ReadAgents, "How many agents are how").query::<StatusQuery>(),
            status,
        )
        .add(get("/api/fleet/agents", ReadAgents, "Lists agents").query::<Page>(), list)
        .add(get(one, ReadAgents, "Shows an agent").scoped().answers::<Value>(), show)
        .add(put(one, ControlAgents, "Changes an agent's tags").body::<Update>(), update)
        .add(routes::delete(one, ControlAgents, "Forgets an agent"), delete)
}

/// The most tags of an agent.
const MOST_TAGS: usize = 100;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Update {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StatusQuery {
    policy_id: Option<String>,
}

impl Management {
    /// The agents that a query is about, by their ids.
    pub(super) fn select(&self, query: &AgentQuery, with_inactive: bool) -> Vec<(Snapshot, Status)> {
        let mut all = Vec::new();
        self.fleet.agents.for_each(|agent| all.push(agent.clone()));
        let mut found: Vec<(Snapshot, Status)> = all
            .into_iter()
            .map(|agent| {
                let status = self.fleet.status_of(&agent);
                (agent, status)
            })
            .filter(|(agent, status)| (with_inactive || is_shown(*status)) && query.matches(agent, *status))
            .collect();
        found.sort_unstable_by(|a, b| a.0.id.cmp(&b.0.id));
        found
    }

    pub(super) fn find_agent(&self, id: &str) -> Result<Snapshot, ApiError> {
        self.fleet.agents.get(id).ok_or_else(|| ApiError::not_found("Agent", id))
    }
}

/// What lists leave out unless they are asked for it.
fn is_shown(status: Status) -> bool {
    !matches!(status, Status::Unenrolling | Status::Unenrolled | Status::Inactive | Status::Uninstalled)
}

/// An agent as it is shown.
fn shown(agent: &Snapshot, status: Status, details: Option<&AgentDetails>) -> Value {
    let (document, state) = (&agent.agent, &agent.state);
    let mut value = json!({
        "id": &*agent.id,
        "type": document.kind.as_str(),
        "active": document.active,
        "enrolled_at": document.enrolled_at,
        "policy_id": &*document.policy_id,
        "policy_revision": state.policy_revision_idx,
        "agent": {"id": &*agent.id, "version": &*document.agent.version},
        "access_api_key_id": &*document.access_api_key_id,
        "tags": document.tags,
        "status": status,
        "packages": [],
        "last_checkin": state.last_checkin,
        "last_checkin_status": state.last_checkin_status,
        "last_checkin_message": &*state.last_checkin_message,
        "unhealthy_reason": state.unhealthy_reason,
        "upgrade_details": state.upgrade_details,
        "upgraded_at": state.upgraded_at,
        "upgrade_started_at": document.upgrade_started_at,
        "unenrolled_at": document.unenrolled_at,
        "unenrollment_started_at": document.unenrollment_started_at,
        "audit_unenrolled_reason": document.audit_unenrolled_reason,
        "policy_failure": state.policy_failure,
        "local_metadata": {
            "elastic": {"agent": {"id": &*agent.id, "version": &*document.agent.version, "upgradeable": document.agent.upgradeable}},
            "host": {"hostname": &*document.host.hostname, "architecture": &*document.host.architecture},
            "os": {"platform": &*document.host.platform},
        },
    });
    if let Some(opamp) = &state.opamp {
        value["capabilities"] = json!(AgentCapability::names(opamp.capabilities));
        value["sequence_num"] = opamp.sequence_num.into();
        value["remote_config_status"] = json!(opamp.remote_config_status);
    }
    if let Some(details) = details {
        for (field, text) in [
            ("local_metadata", &details.local_metadata),
            ("user_provided_metadata", &details.user_provided_metadata),
            ("components", &details.components),
            ("identifying_attributes", &details.identifying_attributes),
            ("non_identifying_attributes", &details.non_identifying_attributes),
            ("health", &details.health),
            ("effective_config", &details.effective_config),
        ] {
            if let Some(given) = text.as_ref().and_then(|text| serde_json::from_str::<Value>(text.get()).ok())
            {
                value[field] = given;
            }
        }
        if !details.rejected.is_empty() {
            value["rejected"] = json!(details.rejected);
        }
    }
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

pub(super) async fn list(State(management): State<Management>, Params(page): Params<Page>) -> Answer {
    let query = AgentQuery::parse(page.kuery.as_deref().unwrap_or_default())
        .map_err(|error| ApiError::BadRequest(format!("[request query.kuery]: {error}")))?;
    let found = management.select(&query, page.show_inactive.unwrap_or(false));
    let total = found.len();
    let items: Vec<Value> =
        page.of(found).iter().map(|(agent, status)| shown(agent, *status, None)).collect();
    Ok(Json(page.answer(&items, total)))
}

pub(super) async fn show(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    let agent = management.find_agent(&id)?;
    caller.require_on(Right::ReadAgents, &agent.agent.policy_id)?;
    let details = management.fleet.agents.details(&id).await?;
    let status = management.fleet.status_of(&agent);
    Ok(Json(json!({"item": shown(&agent, status, details.as_ref())})))
}

pub(super) async fn update(
    State(management): State<Management>,
    Path(id): Path<String>,
    Input(Update { tags }): Input<Update>,
) -> Answer {
    let tags = tags.ok_or_else(|| ApiError::BadRequest("[request body.tags]: tags are needed".to_owned()))?;
    if tags.len() > MOST_TAGS {
        return Err(ApiError::BadRequest(format!("[request body.tags]: at most {MOST_TAGS} tags")));
    }
    let tags: Vec<std::sync::Arc<str>> = tags.iter().map(|tag| tag.as_str().into()).collect();
    let changed = management.fleet.agents.change(&id, |agent| {
        let differs = agent.tags != tags;
        agent.tags.clone_from(&tags);
        differs
    });
    let agent = changed.await?.ok_or_else(|| ApiError::not_found("Agent", &id))?;
    let status = management.fleet.status_of(&agent);
    Ok(Json(json!({"item": shown(&agent, status, None)})))
}

pub(super) async fn delete(State(management): State<Management>, Path(id): Path<String>) -> Answer {
    let agent = management.find_agent(&id)?;
    management.fleet.agents.delete(&agent).await?;
    Ok(Json(json!({"action": "deleted"})))
}

/// How many agents are how.
pub(super) async fn status(
    State(management): State<Management>,
    Params(query): Params<StatusQuery>,
) -> Answer {
    let mut counts: BTreeMap<&str, u64> = Status::ALL.iter().map(|status| (status.as_str(), 0)).collect();
    let (mut active, mut all) = (0_u64, 0_u64);
    for (_, status) in management
        .select(&AgentQuery::all(), true)
        .iter()
        .filter(|(agent, _)| query.policy_id.as_ref().is_none_or(|id| *agent.agent.policy_id == **id))
    {
        *counts.entry(status.as_str()).or_default() += 1;
        all += 1;
        active += u64::from(is_shown(*status));
    }
    let count = |status: Status| counts.get(status.as_str()).copied().unwrap_or(0);
    let updating = count(Status::Updating) + count(Status::Enrolling) + count(Status::Unenrolling);
    Ok(Json(json!({"results": {
        "online": count(Status::Online),
        "error": count(Status::Error) + count(Status::Degraded),
        "offline": count(Status::Offline),
        "inactive": count(Status::Inactive),
        "updating": updating,
        "other": updating,
        "unenrolled": count(Status::Unenrolled),
        "orphaned": count(Status::Orphaned),
        "uninstalled": count(Status::Uninstalled),
        "active": active,
        "all": all,
        "events": 0,
    }})))
}
