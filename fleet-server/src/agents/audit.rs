//! `POST /api/fleet/agents/{id}/audit/unenroll`

use fleet_policy::documents::AuditReason;
use fleet_policy::timestamp::Timestamp;
use http::StatusCode;
use serde::Deserialize;

use super::error::ApiError;
use super::{AgentsApi, auth, object};
use crate::http::{Body, Request, Response};

/// Why an agent says that it is gone, and since when.
#[derive(Deserialize)]
struct Farewell {
    reason: AuditReason,
    timestamp: Timestamp,
}

impl AgentsApi {
    pub(super) async fn audit_unenroll(
        &self,
        id: &str,
        request: &Request,
        body: &mut Body<'_>,
    ) -> Result<Response, ApiError> {
        let agent = auth::agent(&self.fleet, id, request).await?;
        let body = self.read_body(&self.limits.audit_unenroll, request, body).await?;
        let farewell: Farewell = object(&body)?;
        if agent.agent.audit_unenrolled_reason == Some(AuditReason::Orphaned) {
            return Err(ApiError::AuditConflict);
        }
        let changed = self.fleet.agents.change(&agent.id, |agent| {
            agent.audit_unenrolled_reason = Some(farewell.reason);
            agent.audit_unenrolled_time = Some(farewell.timestamp);
            true
        });
        changed.await?.ok_or(ApiError::AgentNotFound)?;
        Ok(Response::empty(StatusCode::OK))
    }
}
