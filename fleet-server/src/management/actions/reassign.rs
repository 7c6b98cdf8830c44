//! Giving agents another policy.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::status::Status;
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{ActionAnswer, Asked, Chosen, Done, Picked};
use crate::jobs::bulk::Change;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// Which policy.
#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::management) struct Reassign {
    policy_id: String,
}

/// Which policy for which agents.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkReassign {
    agents: Chosen,
    #[serde(rename = "policy_id")]
    policy_id: String,
    #[serde(default)]
    include_inactive: bool,
}

/// `POST /agents/{id}/reassign`
pub(in crate::management) async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(Reassign { policy_id }): Input<Reassign>,
) -> Result<Json<Done>, ApiError> {
    let mut picked = management.pick_one(&id, &caller, |seen| has_left(seen.status, seen.id)).await?;
    management.refuse_hosted(&mut picked, "to give it another policy").await?;
    management.reassign(picked.single()?, &policy_id, &caller).await?;
    Ok(Json(Done {}))
}

/// `POST /agents/bulk_reassign`
pub(in crate::management) async fn many(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkReassign>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let mut picked = management
        .pick(&asked.agents, asked.include_inactive, &caller, |seen| has_left(seen.status, seen.id))
        .await?;
    management.refuse_hosted(&mut picked, "to give it another policy").await?;
    Ok(Json(ActionAnswer { action_id: management.reassign(picked, &asked.policy_id, &caller).await? }))
}

/// Who has left gets no policy any more.
fn has_left(status: Status, id: &str) -> Result<(), String> {
    if status == Status::Unenrolled {
        return Err(format!("agent {id} is unenrolled: it gets no policy"));
    }
    Ok(())
}

impl Management {
    /// Gives agents another policy, which they get as soon as they can.
    async fn reassign(
        &self,
        picked: Picked<()>,
        policy_id: &str,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        caller.require_on(Right::ControlAgents, policy_id)?;
        let target = self.deployer.policies().read(policy_id).await?;
        let Some(target) = target.filter(|_| self.fleet.policies.head(policy_id).is_some()) else {
            return Err(ApiError::not_found("Agent policy", policy_id));
        };
        if target.value.is_managed {
            let text = format!(
                "[request body.policy_id]: agent policy {policy_id} is hosted (is_managed): it gets no agents from others"
            );
            return Err(ApiError::BadRequest(text));
        }
        let policy: Arc<str> = Arc::from(policy_id);
        let agents = picked.ids();
        let data = json!({"policy_id": policy_id});
        let asked = Asked::new(ActionType::PolicyReassign, Some(data), picked.refused);
        self.ask_and_change(asked, agents, Change::Policy(policy), caller).await
    }
}
