//! What agents are asked to do: one, those with some ids, or those that a query is about.

mod reassign;
mod unenroll;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::documents::{Action, Agent};
use fleet_policy::query::Query;
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::agent::{ActionType, Signed};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tracing::warn;

use super::caller::Caller;
use super::error::ApiError;
use super::input::Input;
use super::routes::{Routes, get, post};
use super::{Answer, Management};
use fleet_access::rights::Right;

pub(super) use reassign::{bulk_reassign, reassign};
pub(super) use unenroll::{bulk_unenroll, unenroll};
pub(super) use upgrade::{bulk_upgrade, upgrade};

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ControlAgents, ReadAgents};
    routes
        .add(get("/api/fleet/agents/action_status", ReadAgents, "How far actions are"), status)
        .add(post("/api/fleet/agents/actions/{id}/cancel", ControlAgents, "Cancels an action"), cancel)
        .add(post("/api/fleet/agents/bulk_unenroll", ControlAgents, "Unenrols agents"), bulk_unenroll)
        .add(
            post("/api/fleet/agents/bulk_reassign", ControlAgents, "Gives agents another policy"),
            bulk_reassign,
        )
        .add(post("/api/fleet/agents/bulk_upgrade", ControlAgents, "Upgrades agents"), bulk_upgrade)
        .add(
            post("/api/fleet/agents/bulk_request_diagnostics", ControlAgents, "Asks agents for diagnostics"),
            bulk_request_diagnostics,
        )
        .add(post("/api/fleet/agents/{id}/actions", ControlAgents, "Asks an agent for anything"), create)
        .add(post("/api/fleet/agents/{id}/unenroll", ControlAgents, "Unenrols an agent"), unenroll)
        .add(
            post("/api/fleet/agents/{id}/reassign", ControlAgents, "Gives an agent another policy"),
            reassign,
        )
        .add(post("/api/fleet/agents/{id}/upgrade", ControlAgents, "Upgrades an agent"), upgrade)
        .add(
            post(
                "/api/fleet/agents/{id}/request_diagnostics",
                ControlAgents,
                "Asks an agent for diagnostics",
            ),
            request_diagnostics,
        )
}

/// An action is forgotten after this long, unless it says otherwise: 30 days.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest time that each agent of a rolling upgrade has.
const LEAST_EXECUTION: u64 = 7200;

/// Which agents: their ids, or a query.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Chosen {
    Ids(Vec<String>),
    Query(String),
}

/// What agents are asked for.
struct Asked {
    kind: ActionType,
    data: Option<Value>,
    start_time: Option<Timestamp>,
    expiration: Option<Timestamp>,
    rollout_duration_seconds: Option<u64>,
    minimum_execution_duration: Option<u64>,
    input_type: String,
    timeout: Option<i64>,
    signed: Option<Signed>,
}

impl Asked {
    fn new(kind: ActionType, data: Option<Value>) -> Asked {
        Asked {
            kind,
            data,
            start_time: None,
            expiration: None,
            rollout_duration_seconds: None,
            minimum_execution_duration: None,
            input_type: String::new(),
            timeout: None,
            signed: None,
        }
    }
}

impl Management {
    /// The ids of those that are chosen, in a fixed order.
    fn chosen(&self, chosen: &Chosen, with_inactive: bool) -> Result<Vec<String>, ApiError> {
        match chosen {
            Chosen::Ids(ids) => {
                let mut known: Vec<String> = Vec::with_capacity(ids.len());
                for id in ids {
                    self.find_agent(id)?;
                    known.push(id.clone());
                }
                known.sort_unstable();
                known.dedup();
                Ok(known)
            }
            Chosen::Query(text) => {
                let query = Query::parse(text)
                    .map_err(|error| ApiError::BadRequest(format!("[request body.agents]: {error}")))?;
                let found = self.select(&query, with_inactive);
                Ok(found.into_iter().map(|(agent, _)| agent.id.to_string()).collect())
            }
        }
    }

    /// Asks `agents`. Returns the action's id.
    async fn ask(&self, asked: Asked, agents: Vec<String>, caller: &Caller) -> Result<String, ApiError> {
        let now = self.fleet.clock.now();
        let action_id = uuid::Uuid::new_v4().to_string();
        let signed = match asked.signed {
            Some(signed) => Some(signed),
            None => self.sign(&asked, &action_id)?,
        };
        let action = Action {
            action_id: action_id.clone(),
            timestamp: now,
            kind: asked.kind.to_string(),
            input_type: asked.input_type,
            expiration: asked.expiration.or(Some(now + LIFE)),
            start_time: asked.start_time,
            rollout_duration_seconds: asked.rollout_duration_seconds,
            minimum_execution_duration: asked.minimum_execution_duration,
            timeout: asked.timeout,
            agents: Vec::new(),
            target_documents: None,
            total: 0,
            data: asked.data.as_ref().map(raw).transpose()?,
            signed,
            user_id: Some(caller.name().to_owned()),
            traceparent: None,
            namespaces: Vec::new(),
        };
        self.fleet.actions.create(&action_id, action, agents).await?;
        Ok(action_id)
    }

    /// Agents check that some actions come from whoever made their policy.
    fn sign(&self, asked: &Asked, action_id: &str) -> Result<Option<Signed>, ApiError> {
        if !matches!(asked.kind, ActionType::Unenroll | ActionType::Upgrade | ActionType::Migrate) {
            return Ok(None);
        }
        let text = json!({"action_id": action_id, "type": asked.kind, "data": asked.data}).to_string();
        let signature = self.fleet.signer.sign(text.as_bytes());
        let signature = signature.map_err(|error| ApiError::Internal(Box::new(error)))?;
        Ok(Some(Signed {
            data: base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text),
            signature,
        }))
    }
}

impl Management {
    /// Marks agents that were asked for something. The asking is done: people need not wait for this.
    fn mark(&self, agents: Vec<String>, mark: impl FnMut(&mut Agent) -> bool + Send + 'static) {
        let fleet = Arc::clone(&self.fleet);
        tokio::spawn(async move {
            if let Err(error) = fleet.agents.change_many(&agents, mark, None).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "agents were asked, but are not all marked as such"
                );
            }
        });
    }
}

fn raw(value: &Value) -> Result<Box<RawValue>, ApiError> {
    to_raw_value(value).map_err(|error| ApiError::Internal(Box::new(error)))
}

#[derive(Debug, Deserialize)]
pub(super) struct Create {
    action: CreateAction,
}

#[derive(Debug, Deserialize)]
struct CreateAction {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    input_type: String,
    #[serde(default)]
    timeout: Option<i64>,
    #[serde(default)]
    start_time: Option<Timestamp>,
    #[serde(default)]
    expiration: Option<Timestamp>,
    #[serde(default)]
    signed: Option<Signed>,
}

/// `POST /agents/{id}/actions`: any action, for one agent.
pub(super) async fn create(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(Create { action }): Input<Create>,
) -> Answer {
    let kind: ActionType = action
        .kind
        .parse()
        .map_err(|error| ApiError::BadRequest(format!("[request body.action.type]: {error}")))?;
    if !kind.is_delivered() || kind == ActionType::PolicyChange {
        return Err(ApiError::BadRequest(format!(
            "[request body.action.type]: {kind} is not sent to agents"
        )));
    }
    management.find_agent(&id)?;
    let asked = Asked {
        start_time: action.start_time,
        expiration: action.expiration,
        input_type: action.input_type,
        timeout: action.timeout,
        signed: action.signed,
        ..Asked::new(kind, action.data.clone())
    };
    let action_id = management.ask(asked, vec![id.clone()], &caller).await?;
    Ok(Json(json!({"item": {
        "id": action_id,
        "type": kind,
        "data": action.data,
        "created_at": management.fleet.clock.now(),
        "agents": [id],
    }})))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Diagnostics {
    additional_metrics: Vec<String>,
    exclude_events_log: Option<bool>,
}

impl Diagnostics {
    fn data(&self) -> Value {
        let mut data = json!({"additional_metrics": self.additional_metrics});
        if let Some(exclude) = self.exclude_events_log {
            data["exclude_events_log"] = exclude.into();
        }
        data
    }
}

/// `POST /agents/{id}/request_diagnostics`
pub(super) async fn request_diagnostics(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<Diagnostics>,
) -> Answer {
    management.find_agent(&id)?;
    let asked = Asked::new(ActionType::RequestDiagnostics, Some(asked.data()));
    let action_id = management.ask(asked, vec![id], &caller).await?;
    Ok(Json(json!({"actionId": action_id})))
}

#[derive(Debug, Deserialize)]
pub(super) struct BulkDiagnostics {
    agents: Chosen,
    #[serde(flatten)]
    diagnostics: Diagnostics,
}

/// `POST /agents/bulk_request_diagnostics`
pub(super) async fn bulk_request_diagnostics(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkDiagnostics>,
) -> Answer {
    let agents = management.chosen(&asked.agents, false)?;
    let data = asked.diagnostics.data();
    let id = management.ask(Asked::new(ActionType::RequestDiagnostics, Some(data)), agents, &caller).await?;
    Ok(Json(json!({"actionId": id})))
}

/// `POST /agents/actions/{id}/cancel`: for every agent of the action.
pub(super) async fn cancel(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    let all = management.fleet.actions.all();
    let parts: Vec<_> = all.iter().filter(|action| action.action.action_id == id).collect();
    if parts.is_empty() {
        return Err(ApiError::not_found("Action", &id));
    }
    let agents: Vec<String> =
        parts.iter().flat_map(|action| &action.agents).map(ToString::to_string).collect();
    let is_upgrade = parts.iter().any(|action| action.kind == ActionType::Upgrade);
    let asked = Asked::new(ActionType::Cancel, Some(json!({"target_id": id})));
    let cancel_id = management.ask(asked, agents.clone(), &caller).await?;
    if is_upgrade {
        management.mark(agents.clone(), |agent| agent.upgrade_started_at.take().is_some());
    }
    Ok(Json(json!({"item": {
        "id": cancel_id,
        "type": ActionType::Cancel,
        "data": {"target_id": id},
        "created_at": management.fleet.clock.now(),
        "agents": agents,
    }})))
}

/// `GET /agents/action_status`: how far each action is, newest first.
pub(super) async fn status(State(management): State<Management>) -> Answer {
    let now = management.fleet.clock.now();
    let all = management.fleet.actions.all();
    let cancelled: Vec<&str> = all.iter().filter_map(|action| action.cancels.as_deref()).collect();
    let items: Vec<Value> = all
        .iter()
        .rev()
        .filter(|action| action.kind != ActionType::Cancel)
        .map(|action| {
            let progress = management.fleet.agents.progress(action.seq_no);
            let total = action.agents.len() as u64;
            let is_done = progress.acked + progress.failed >= total;
            let status = if cancelled.contains(&action.action.action_id.as_str()) {
                "CANCELLED"
            } else if is_done && progress.failed > 0 {
                "FAILED"
            } else if is_done || !action.kind.is_delivered() {
                "COMPLETE"
            } else if action.is_expired(now) {
                if action.kind == ActionType::Upgrade { "ROLLOUT_PASSED" } else { "EXPIRED" }
            } else {
                "IN_PROGRESS"
            };
            json!({
                "actionId": action.action.action_id,
                "type": action.kind,
                "status": status,
                "creationTime": action.action.timestamp,
                "startTime": action.action.start_time,
                "expiration": action.action.expiration,
                "nbAgentsActionCreated": total,
                "nbAgentsActioned": total,
                "nbAgentsAck": progress.acked,
                "nbAgentsFailed": progress.failed,
            })
        })
        .collect();
    Ok(Json(json!({"items": items})))
}
