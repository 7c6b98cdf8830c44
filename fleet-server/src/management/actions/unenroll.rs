//! Letting agents go, or making them.

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

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::management) struct Unenroll {
    force: bool,
    revoke: bool,
}

/// `POST /agents/{id}/unenroll`
pub(in crate::management) async fn unenroll(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<Unenroll>,
) -> Answer {
    management.find_agent(&id)?;
    management.unenroll(vec![id], asked.revoke || asked.force, &caller).await?;
    Ok(Json(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkUnenroll {
    agents: Chosen,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    revoke: bool,
    #[serde(default)]
    include_inactive: bool,
}

/// `POST /agents/bulk_unenroll`
pub(in crate::management) async fn bulk_unenroll(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkUnenroll>,
) -> Answer {
    let agents = management.chosen(&asked.agents, asked.include_inactive)?;
    let id = management.unenroll(agents, asked.force || asked.revoke, &caller).await?;
    Ok(Json(json!({"actionId": id})))
}

impl Management {
    /// Asks agents to leave, or (`revoke`) makes them: their keys are good no more from now on.
    async fn unenroll(&self, agents: Vec<String>, revoke: bool, caller: &Caller) -> Result<String, ApiError> {
        let now = self.fleet.clock.now();
        let kind = if revoke { ActionType::ForceUnenroll } else { ActionType::Unenroll };
        let id = self.ask(Asked::new(kind, None), agents.clone(), caller).await?;
        let mark = move |agent: &mut Agent| {
            if !agent.active {
                return false;
            }
            if revoke {
                agent.active = false;
                agent.unenrolled_at = Some(now);
                agent.unenrolled_reason = Some(Arc::from("manual"));
            } else {
                agent.unenrollment_started_at = Some(now);
            }
            true
        };
        if revoke {
            self.fleet.agents.change_many(&agents, mark, None).await?;
        } else {
            self.mark(agents, mark);
        }
        Ok(id)
    }
}
