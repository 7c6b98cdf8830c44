//! Taking an action back.

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::documents::Agent;
use fleet_protocol::agent::ActionType;
use serde_json::json;

use super::Asked;
use super::chosen::Refused;
use super::create::{CreateAnswer, CreatedAction};
use crate::jobs::bulk::Change;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;

/// `POST /agents/actions/{id}/cancel`: for every agent of the action.
pub(in crate::management) async fn cancel(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<CreateAnswer>, ApiError> {
    let mut parts = management.fleet.actions.all();
    parts.retain(|part| part.action.action_id == id);
    let agents: Vec<_> = parts.iter().flat_map(|part| &part.agents).cloned().collect();
    let is_seen = |agent: &Agent| caller.may_on(Right::ReadAgents, &agent.policy_id);
    let is_all = caller.principal.allows(Right::ControlAgents);
    let Some(kind) = parts.first().map(|part| part.kind) else {
        return Err(ApiError::not_found("Action", &id));
    };
    if !is_all {
        if !management.fleet.agents.any_of(&agents, is_seen) {
            return Err(ApiError::not_found("Action", &id));
        }
        let is_foreign = |agent: &Agent| !caller.may_on(Right::ControlAgents, &agent.policy_id);
        if management.fleet.agents.any_of(&agents, is_foreign) {
            let text = format!("action {id} is also for agents of policies that you may not control");
            return Err(ApiError::Forbidden(text));
        }
    }
    if kind == ActionType::Cancel || !kind.is_delivered() {
        return Err(ApiError::BadRequest(format!(
            "action {id} is of type {kind}, which cannot be cancelled"
        )));
    }
    let agents: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let data = json!({"target_id": id});
    let created_at = management.now();
    let asked = Asked::new(ActionType::Cancel, Some(data.clone()), Refused::default());
    let mark = match kind {
        ActionType::Upgrade => Some(Change::Upgrade(None)),
        ActionType::Unenroll => Some(Change::AskedToLeave(None)),
        _ => None,
    };
    let cancel_id = match mark {
        Some(mark) => management.ask_and_mark(asked, agents.clone(), mark, &caller).await?,
        None => management.ask(asked, agents.clone(), &caller).await?,
    };
    let item =
        CreatedAction { id: cancel_id, kind: ActionType::Cancel, data: Some(data), created_at, agents };
    Ok(Json(CreateAnswer { item }))
}
