//! Giving agents another policy.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::documents::Agent;
use fleet_protocol::agent::ActionType;
use serde::Deserialize;
use serde_json::json;

use super::{Asked, Chosen};
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;
use crate::management::{Answer, Management};

#[derive(Debug, Deserialize)]
pub(in crate::management) struct Reassign {
    policy_id: String,
}

/// `POST /agents/{id}/reassign`
pub(in crate::management) async fn reassign(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(Reassign { policy_id }): Input<Reassign>,
) -> Answer {
    management.find_agent(&id)?;
    management.reassign(vec![id], &policy_id, &caller).await?;
    Ok(Json(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkReassign {
    agents: Chosen,
    #[serde(rename = "policy_id")]
    policy_id: String,
    #[serde(default)]
    include_inactive: bool,
}

/// `POST /agents/bulk_reassign`
pub(in crate::management) async fn bulk_reassign(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkReassign>,
) -> Answer {
    let agents = management.chosen(&asked.agents, asked.include_inactive)?;
    let id = management.reassign(agents, &asked.policy_id, &caller).await?;
    Ok(Json(json!({"actionId": id})))
}

impl Management {
    /// Gives agents another policy, which they get as soon as they can.
    async fn reassign(
        &self,
        agents: Vec<String>,
        policy_id: &str,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        if self.fleet.policies.head(policy_id).is_none() {
            return Err(ApiError::not_found("Agent policy", policy_id));
        }
        let policy: Arc<str> = Arc::from(policy_id);
        let give = |agent: &mut Agent| {
            let differs = agent.policy_id != policy;
            agent.policy_id = Arc::clone(&policy);
            differs
        };
        self.fleet.agents.change_many(&agents, give, None).await?;
        let data = json!({"policy_id": policy_id});
        self.ask(Asked::new(ActionType::PolicyReassign, Some(data)), agents, caller).await
    }
}
