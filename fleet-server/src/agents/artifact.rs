//! `GET /api/fleet/artifacts/{identifier}/{decoded_sha256}`

use bytes::Bytes;
use fleet_policy::artifacts::{ArtifactError, checked_id};
use fleet_policy::policies::Head;
use fleet_store::WriteError;
use http::StatusCode;

use super::error::ApiError;
use super::{AgentsApi, auth};
use crate::http::{Request, Response};

/// Bytes of a body that are handed on at a time: a slow client holds no copy of all of it.
const PIECE: usize = 64 * 1024;

impl AgentsApi {
    /// As it is stored, compressed: the agent's policy says how, and both hashes.
    pub(super) async fn artifact(
        &self,
        identifier: &str,
        decoded_sha256: &str,
        request: &Request,
    ) -> Result<Response, ApiError> {
        let agent = auth::owner(&self.fleet, &auth::key(request)?).await?;
        let id = checked_id(identifier, decoded_sha256)?;
        let names = |head: Option<Head>| head.is_some_and(|head| head.artifacts.contains(id.as_str()));
        if !names(self.fleet.policies.head(&agent.agent.policy_id)) {
            // Another server may have handed the agent a revision, or a policy, of which this one has not heard.
            let agent = self.fleet.agents.refresh(&agent.id).await?.ok_or(ApiError::Unauthorized)?;
            let head = self.fleet.policies.refresh(&agent.agent.policy_id).await;
            if !names(head.map_err(WriteError::NotDone)?) {
                return Err(ApiError::ArtifactForbidden);
            }
        }
        let mut bytes = self.fleet.artifacts.get(&id).await?.ok_or(ApiError::NoArtifact)?;
        let mut pieces: Vec<Bytes> = Vec::with_capacity(bytes.len().div_ceil(PIECE));
        while !bytes.is_empty() {
            pieces.push(bytes.split_to(bytes.len().min(PIECE)));
        }
        Ok(Response::empty(StatusCode::OK).with_type("application/octet-stream").with_pieces(pieces))
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> ApiError {
        match error {
            ArtifactError::Invalid(text) => ApiError::BadRequest(text),
            ArtifactError::Busy => ApiError::TooMany,
            ArtifactError::Store(error) => ApiError::Store(error),
            error => ApiError::Internal(Box::new(error)),
        }
    }
}
