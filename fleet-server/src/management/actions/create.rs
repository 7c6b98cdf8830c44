//! Any action, for one agent.

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::agent::{ActionType, Signed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Asked;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// What an agent is to do.
#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::management) struct Create {
    action: CreateAction,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct CreateAction {
    /// `SETTINGS`, `REQUEST_DIAGNOSTICS`, `INPUT_ACTION` …
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    input_type: String,
    /// Seconds.
    #[serde(default)]
    timeout: Option<i64>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    start_time: Option<Timestamp>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    expiration: Option<Timestamp>,
    #[serde(default)]
    #[schemars(with = "Option<Value>")]
    signed: Option<Signed>,
}

/// What was asked.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct CreateAnswer {
    pub(super) item: CreatedAction,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CreatedAction {
    pub(super) id: String,
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub(super) kind: ActionType,
    pub(super) data: Option<Value>,
    #[schemars(with = "String")]
    pub(super) created_at: Timestamp,
    /// For whom.
    pub(super) agents: Vec<String>,
}

/// `POST /agents/{id}/actions`
pub(in crate::management) async fn create(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(Create { action }): Input<Create>,
) -> Result<Json<CreateAnswer>, ApiError> {
    let wrong = |what: String| ApiError::BadRequest(format!("[request body.action.type]: {what}"));
    let kind: ActionType = action.kind.parse().map_err(|error| wrong(format!("{error}")))?;
    if !kind.is_delivered() || kind == ActionType::PolicyChange {
        return Err(wrong(format!("{kind} is not sent to agents")));
    }
    let picked = management.pick_one(&id, &caller, |_| Ok(())).await?;
    match kind {
        // What is secret in these is kept apart, and agents that cannot do them are told of: by their own routes.
        ActionType::Migrate => return Err(wrong("use POST /api/fleet/agents/{id}/migrate".to_owned())),
        ActionType::PrivilegeLevelChange => {
            return Err(wrong("use POST /api/fleet/agents/{id}/privilege_level_change".to_owned()));
        }
        ActionType::Unenroll | ActionType::Upgrade | ActionType::PolicyReassign => {
            require_unmanaged(&management, &id, kind).await?;
        }
        _ => {}
    }
    let asked = Asked {
        start_time: action.start_time,
        expiration: action.expiration,
        input_type: action.input_type,
        timeout: action.timeout,
        signed: action.signed,
        ..Asked::new(kind, action.data.clone(), picked.refused)
    };
    let created_at = management.now();
    let action_id = management.ask(asked, vec![id.clone()], &caller).await?;
    let item = CreatedAction { id: action_id, kind, data: action.data, created_at, agents: vec![id] };
    Ok(Json(CreateAnswer { item }))
}

/// Agents of a managed policy leave it, and change their version, only by a route that can be forced.
async fn require_unmanaged(management: &Management, agent: &str, kind: ActionType) -> Result<(), ApiError> {
    let Some(agent) = management.fleet.agents.get(agent) else { return Ok(()) };
    let policy = management.deployer.policies().read(&agent.agent.policy_id).await?;
    if policy.is_some_and(|policy| policy.value.is_managed) {
        return Err(ApiError::BadRequest(format!(
            "[request body.action.type]: agent policy {} is managed: ask for {kind} by its own route, with force",
            agent.agent.policy_id
        )));
    }
    Ok(())
}
