//! `GET /api/status`

use http::StatusCode;
use http::header::AUTHORIZATION;
use serde::Serialize;

use super::error::ApiError;
use super::{AgentsApi, auth};
use crate::http::{Request, Response};

#[derive(Serialize)]
struct Status<'a> {
    name: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version<'a>>,
}

/// Told only to those who have a key.
#[derive(Serialize)]
struct Version<'a> {
    number: &'a str,
    build_hash: &'static str,
    build_time: &'static str,
}

impl AgentsApi {
    pub(super) async fn status(&self, request: &Request) -> Result<Response, ApiError> {
        let is_well = self.fleet.is_ready() && !self.drain.is_cancelled();
        let version = self.has_key(request).await.then(|| Version {
            number: &self.settings.version,
            build_hash: "",
            build_time: "",
        });
        let status =
            Status { name: "fleet-server", status: if is_well { "HEALTHY" } else { "STARTING" }, version };
        let code = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Ok(Response::json(code, serde_json::to_vec(&status).unwrap_or_default()))
    }

    /// Whether the request has any key of ours. One that is not is no error here.
    async fn has_key(&self, request: &Request) -> bool {
        if !request.headers.contains_key(AUTHORIZATION) {
            return false;
        }
        let Ok(key) = auth::key(request) else { return false };
        if let Some(agent) = self.fleet.agents.by_key(key.id()) {
            return agent.agent.active && auth::is_key_of(&key, &agent);
        }
        let found = self.fleet.enrollment.find(key.id()).await;
        found.is_ok_and(|found| found.is_some_and(|found| key.matches(&found.value.digest)))
    }
}
