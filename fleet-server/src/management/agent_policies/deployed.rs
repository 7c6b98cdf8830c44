//! What agents get of a policy.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use fleet_access::rights::Right;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Item};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Params;
use crate::management::routes::{Routes, get};

/// What existing clients are told of YAML.
const YAML: &str = "text/x-yaml";

/// What an agent that knows no server needs not.
const SERVED: [&str; 4] = ["fleet", "signed", "secret_references", "namespaces"];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(
            get(
                "/api/fleet/agent_policies/{id}/full",
                Right::ReadPolicies,
                "What agents get of a policy, its secrets as references",
            )
            .query::<Which>()
            .answers::<Item<Value>>()
            .scoped(),
            full,
        )
        .add(
            get(
                "/api/fleet/agent_policies/{id}/download",
                Right::ReadPolicies,
                "What agents get of a policy, as a file for an agent without a server",
            )
            .query::<Which>()
            .media(YAML)
            .scoped(),
            download,
        )
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Which {
    /// For an agent that knows no server.
    standalone: Option<bool>,
}

impl Management {
    async fn full(&self, id: &str, standalone: bool) -> Result<Map<String, Value>, ApiError> {
        let found = self.deployer.deployed().get(id).await?;
        let policy = found.ok_or_else(|| ApiError::not_found("Agent policy", id))?;
        let mut data = policy.value.data;
        if standalone {
            data.retain(|key, _| !SERVED.contains(&key.as_str()));
        }
        Ok(data)
    }
}

async fn full(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Params(which): Params<Which>,
) -> Answer<Item<Value>> {
    caller.require_on(Right::ReadPolicies, &id)?;
    let data = management.full(&id, which.standalone == Some(true)).await?;
    Ok(Json(Item { item: Value::Object(data) }))
}

async fn download(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Params(which): Params<Which>,
) -> Result<Response, ApiError> {
    caller.require_on(Right::ReadPolicies, &id)?;
    let data = management.full(&id, which.standalone != Some(false)).await?;
    let text = serde_saphyr::to_string(&json!(data)).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let headers = [(CONTENT_TYPE, YAML), (CONTENT_DISPOSITION, "attachment; filename=\"elastic-agent.yml\"")];
    Ok((headers, text).into_response())
}
