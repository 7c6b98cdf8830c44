//! Making agents another version, at once or spread over a while.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::agent::ActionType;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, Chosen, LEAST_EXECUTION, LIFE};
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;
use crate::management::{Answer, Management};

#[derive(Debug, Deserialize)]
pub(in crate::management) struct Upgrade {
    version: String,
    #[serde(default)]
    source_uri: Option<String>,
}

/// `POST /agents/{id}/upgrade`
pub(in crate::management) async fn upgrade(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(Upgrade { version, source_uri }): Input<Upgrade>,
) -> Answer {
    management.find_agent(&id)?;
    let asked = Asked::new(ActionType::Upgrade, Some(upgrade_data(&version, source_uri.as_deref())));
    management.upgrade(asked, vec![id], &caller).await?;
    Ok(Json(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkUpgrade {
    agents: Chosen,
    version: String,
    #[serde(default, rename = "source_uri")]
    source_uri: Option<String>,
    #[serde(default, rename = "start_time")]
    start_time: Option<Timestamp>,
    #[serde(default, rename = "rollout_duration_seconds")]
    rollout_duration_seconds: Option<u64>,
    #[serde(default)]
    include_inactive: bool,
}

/// `POST /agents/bulk_upgrade`: at once, at a time, or spread over a while.
pub(in crate::management) async fn bulk_upgrade(
    State(management): State<Management>,
    caller: Caller,
    Input(request): Input<BulkUpgrade>,
) -> Answer {
    let agents = management.chosen(&request.agents, request.include_inactive)?;
    let data = upgrade_data(&request.version, request.source_uri.as_deref());
    let mut asked = Asked::new(ActionType::Upgrade, Some(data));
    asked.start_time = request.start_time;
    if let Some(duration) = request.rollout_duration_seconds {
        let start = request.start_time.unwrap_or_else(|| management.fleet.clock.now());
        let execution = duration.min(LEAST_EXECUTION);
        let window = if duration <= LEAST_EXECUTION { 2 * execution } else { duration };
        asked.start_time = Some(start);
        asked.rollout_duration_seconds = Some(duration);
        asked.minimum_execution_duration = Some(execution);
        asked.expiration = Some(start + Duration::from_secs(window));
    } else if let Some(start) = request.start_time {
        asked.expiration = Some(start + LIFE);
    }
    let id = management.upgrade(asked, agents, &caller).await?;
    Ok(Json(json!({"actionId": id})))
}

impl Management {
    async fn upgrade(&self, asked: Asked, agents: Vec<String>, caller: &Caller) -> Result<String, ApiError> {
        let now = self.fleet.clock.now();
        let id = self.ask(asked, agents.clone(), caller).await?;
        self.mark(agents, move |agent| {
            agent.upgrade_started_at = Some(now);
            true
        });
        Ok(id)
    }
}

fn upgrade_data(version: &str, source_uri: Option<&str>) -> Value {
    let mut data = json!({"version": version});
    if let Some(source_uri) = source_uri {
        data["source_uri"] = source_uri.into();
    }
    data
}
