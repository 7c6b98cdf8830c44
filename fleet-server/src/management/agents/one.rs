//! One agent.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::agents::Snapshot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::{ShownAgent, check_tags};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// The largest metadata that a person may give, in bytes of JSON.
const LARGEST_METADATA: usize = 64 * 1024;

/// An agent.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct AgentAnswer {
    item: ShownAgent,
}

/// What is to change of an agent. What is not given stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct Update {
    /// What people call it by.
    tags: Option<Vec<String>>,
    /// What people say of it.
    user_provided_metadata: Option<Map<String, Value>>,
}

/// What was done.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Deleted {
    action: &'static str,
}

impl Management {
    /// An agent with all that it reports.
    async fn whole(&self, agent: &Snapshot) -> Result<ShownAgent, ApiError> {
        let shown = ShownAgent::new(agent, self.fleet.status_of(agent));
        let details = self.fleet.agents.details(&agent.id).await?;
        Ok(match details {
            Some(details) => shown.with(&details),
            None => shown,
        })
    }
}

/// `GET /agents/{id}`
pub(super) async fn show(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AgentAnswer>, ApiError> {
    let agent = management.find_agent(&id, &caller, Right::ReadAgents).await?;
    Ok(Json(AgentAnswer { item: management.whole(&agent).await? }))
}

/// `PUT /agents/{id}`
pub(super) async fn update(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(Update { tags, user_provided_metadata }): Input<Update>,
) -> Result<Json<AgentAnswer>, ApiError> {
    let mut agent = management.find_agent(&id, &caller, Right::ControlAgents).await?;
    if tags.is_none() && user_provided_metadata.is_none() {
        let text = "[request body.tags]: tags or user_provided_metadata are needed";
        return Err(ApiError::BadRequest(text.to_owned()));
    }
    let agents = &management.fleet.agents;
    let before = json!({"tags": agent.agent.tags});
    if let Some(tags) = tags {
        check_tags("request body.tags", &tags)?;
        let tags: Vec<Arc<str>> = tags.iter().map(|tag| tag.as_str().into()).collect();
        let changed = agents.change(&id, |agent| {
            let differs = agent.tags != tags;
            agent.tags.clone_from(&tags);
            differs
        });
        agent = changed.await?.ok_or_else(|| ApiError::not_found("Agent", &id))?;
    }
    if let Some(metadata) = user_provided_metadata {
        let text = to_raw_value(&metadata).map_err(|error| ApiError::Internal(Box::new(error)))?;
        if text.get().len() > LARGEST_METADATA {
            let text =
                format!("[request body.user_provided_metadata]: at most {LARGEST_METADATA} bytes of JSON");
            return Err(ApiError::BadRequest(text));
        }
        agents.change_details(&id, |details| details.user_provided_metadata = Some(text.clone())).await?;
    }
    caller.changed("agent", &id, Some(before), Some(json!({"tags": agent.agent.tags})));
    Ok(Json(AgentAnswer { item: management.whole(&agent).await? }))
}

/// `DELETE /agents/{id}`
pub(super) async fn delete(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, ApiError> {
    let agent = management.find_agent(&id, &caller, Right::ControlAgents).await?;
    management.fleet.agents.delete(&agent).await?;
    let before = json!({"policy_id": &*agent.agent.policy_id, "hostname": &*agent.agent.host.hostname});
    caller.changed("agent", &id, Some(before), None);
    Ok(Json(Deleted { action: "deleted" }))
}
