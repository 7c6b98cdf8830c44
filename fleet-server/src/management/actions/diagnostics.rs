//! Asking agents for what helps to find out what is wrong with them.

use axum::Json;
use axum::extract::{Path, State};
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ActionAnswer, Asked, Chosen};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// More that is asked for.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Metric {
    Cpu,
    Conn,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct Diagnostics {
    additional_metrics: Option<Vec<Metric>>,
    exclude_events_log: Option<bool>,
}

/// What which agents are asked for.
#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::management) struct BulkDiagnostics {
    agents: Chosen,
    #[serde(default)]
    additional_metrics: Option<Vec<Metric>>,
    #[serde(default)]
    exclude_events_log: Option<bool>,
}

impl Diagnostics {
    fn data(&self) -> Value {
        let metrics = self.additional_metrics.iter().flatten().map(|metric| match metric {
            Metric::Cpu => "CPU",
            Metric::Conn => "CONN",
        });
        let mut data = json!({"additional_metrics": metrics.collect::<Vec<_>>()});
        if let Some(exclude) = self.exclude_events_log {
            data["exclude_events_log"] = exclude.into();
        }
        data
    }
}

/// `POST /agents/{id}/request_diagnostics`
pub(in crate::management) async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<Diagnostics>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let picked = management.pick_one(&id, &caller, |_| Ok(())).await?;
    let asked = Asked::new(ActionType::RequestDiagnostics, Some(asked.data()), picked.refused);
    Ok(Json(ActionAnswer { action_id: management.ask(asked, vec![id], &caller).await? }))
}

/// `POST /agents/bulk_request_diagnostics`
pub(in crate::management) async fn many(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkDiagnostics>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let picked = management.pick(&asked.agents, false, &caller, |_| Ok(())).await?;
    let BulkDiagnostics { additional_metrics, exclude_events_log, .. } = asked;
    let data = Diagnostics { additional_metrics, exclude_events_log }.data();
    let agents = picked.ids();
    let asked = Asked::new(ActionType::RequestDiagnostics, Some(data), picked.refused);
    Ok(Json(ActionAnswer { action_id: management.ask(asked, agents, &caller).await? }))
}
