//! `/api/fleet/artifacts`: what policies name for agents to fetch.

use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use fleet_policy::artifacts::{ArtifactError, Make, checked_id};
use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::input::Params;
use super::routes::{self, Routes, post};
use super::{Answer, Management};
use fleet_access::rights::Right;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let one = "/api/fleet/artifacts/{identifier}/{sha256}";
    routes
        .add(
            post("/api/fleet/artifacts/{identifier}", Right::WritePolicies, "Keeps an artifact")
                .takes_bytes(),
            create,
        )
        .add(routes::delete(one, Right::WritePolicies, "Removes an artifact"), delete)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Create {
    #[serde(rename = "type")]
    kind: String,
    package_name: String,
}

/// Makes an artifact of the body. The answer is what an input's `artifact_manifest` says of it.
pub(super) async fn create(
    State(management): State<Management>,
    Path(identifier): Path<String>,
    Params(Create { kind, package_name }): Params<Create>,
    decoded: Bytes,
) -> Answer {
    let make = Make { identifier, kind, package_name, decoded };
    let artifact = management.fleet.artifacts.make(make, management.fleet.clock.now()).await?;
    Ok(Json(json!({"item": {
        "identifier": artifact.identifier,
        "type": artifact.kind,
        "package_name": artifact.package_name,
        "compression_algorithm": artifact.compression_algorithm,
        "encryption_algorithm": artifact.encryption_algorithm,
        "encoded_sha256": artifact.encoded_sha256,
        "encoded_size": artifact.encoded_size,
        "decoded_sha256": artifact.decoded_sha256,
        "decoded_size": artifact.decoded_size,
        "relative_url": artifact.relative_url,
        "created": artifact.created,
    }})))
}

/// Removes an artifact.
pub(super) async fn delete(
    State(management): State<Management>,
    Path((identifier, sha256)): Path<(String, String)>,
) -> Answer {
    let id = checked_id(&identifier, &sha256)?;
    if !management.fleet.artifacts.remove(&id).await? {
        return Err(ApiError::not_found("Artifact", &id));
    }
    Ok(Json(json!({"deleted": true})))
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> ApiError {
        match error {
            ArtifactError::Invalid(text) => ApiError::BadRequest(text),
            ArtifactError::Busy => ApiError::Busy,
            ArtifactError::Store(error) => error.into(),
            error => ApiError::Internal(Box::new(error)),
        }
    }
}
