//! What clients ask before anything else: which version this is, and whether it is set up.

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right;
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Management;
use super::caller::Caller;
use super::catalogue::Item;
use super::error::ApiError;
use super::input::Input;
use super::routes::{Routes, get, open, post, put};

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadPolicies, ReadSettings, SignedIn, WriteSettings};
    let summary = "Does nothing: there is nothing to set up";
    routes
        .add(open(Method::GET, "/api/status", "The version of the server, and whether it is well"), status)
        .add(post("/api/fleet/setup", ReadPolicies, summary).answers::<IsSetUp>().reads(), set_up)
        .add(post("/api/fleet/agents/setup", ReadPolicies, summary).answers::<IsSetUp>().reads(), set_up)
        .add(
            get("/api/fleet/agents/setup", ReadPolicies, "Whether agents can enrol").answers::<Enrolment>(),
            enrolment,
        )
        .add(
            get("/api/fleet/check-permissions", SignedIn, "Whether the caller may use this at all")
                .answers::<Permissions>(),
            permissions,
        )
        .add(
            post("/api/fleet/health_check", ReadSettings, "Whether the server at a host answers")
                .body::<HealthCheck>()
                .answers::<Healthy>()
                .reads(),
            health,
        )
        .add(
            get("/api/fleet/space_settings", ReadSettings, "Settings of a space")
                .answers::<Item<SpaceSettings>>(),
            space,
        )
        .add(
            put("/api/fleet/space_settings", WriteSettings, "Changes settings of a space")
                .body::<SpaceSettings>()
                .answers::<Item<SpaceSettings>>(),
            put_space,
        )
}

/// `GET /api/status`
async fn status(State(management): State<Management>) -> Json<Value> {
    let is_ready = management.fleet.is_ready();
    let (level, summary) =
        if is_ready { ("available", "All is well") } else { ("degraded", "The store has not been read yet") };
    Json(json!({
        "name": "fleet",
        "version": {
            "number": &*management.version,
            "build_hash": "",
            "build_number": 0,
            "build_snapshot": false,
            "build_flavor": "traditional",
        },
        "status": {"overall": {"level": level, "summary": summary}},
    }))
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct IsSetUp {
    is_initialized: bool,
    non_fatal_errors: Vec<Value>,
}

async fn set_up() -> Json<IsSetUp> {
    Json(IsSetUp { is_initialized: true, non_fatal_errors: Vec::new() })
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Enrolment {
    #[serde(rename = "isReady")]
    is_ready: bool,
    is_secrets_storage_enabled: bool,
    is_space_awareness_enabled: bool,
    #[serde(rename = "missing_requirements")]
    missing_requirements: Vec<String>,
    #[serde(rename = "missing_optional_features")]
    missing_optional_features: Vec<String>,
}

async fn enrolment(State(management): State<Management>) -> Json<Enrolment> {
    Json(Enrolment {
        is_ready: management.fleet.is_ready(),
        is_secrets_storage_enabled: true,
        is_space_awareness_enabled: false,
        missing_requirements: Vec::new(),
        missing_optional_features: Vec::new(),
    })
}

#[derive(Debug, Serialize, JsonSchema)]
struct Permissions {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// As in the original: who may not manage agents is told so with a 200.
async fn permissions(caller: Caller) -> Json<Permissions> {
    let success = caller.principal.allows_somewhere(Right::ReadAgents);
    Json(Permissions { success, error: (!success).then_some("MISSING_PRIVILEGES") })
}

#[derive(Debug, Deserialize, JsonSchema)]
struct HealthCheck {
    /// The id of a Fleet Server host.
    id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Healthy {
    name: String,
    status: &'static str,
    host_id: String,
}

/// Servers are all equal: what answers here answers there, if the host is one of ours.
async fn health(
    State(management): State<Management>,
    Input(HealthCheck { id }): Input<HealthCheck>,
) -> Result<Json<Healthy>, ApiError> {
    let host = management.fleet.settings.hosts.read(&id).await?;
    let host = host.ok_or_else(|| ApiError::not_found("Fleet Server host", &id))?;
    let status = if management.fleet.is_ready() { "HEALTHY" } else { "STARTING" };
    Ok(Json(Healthy { name: host.value.name.clone(), status, host_id: id }))
}

/// What is allowed in a space. Spaces are all served alike: nothing is.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct SpaceSettings {
    /// What namespaces of policies must begin with.
    allowed_namespace_prefixes: Vec<String>,
}

async fn space() -> Json<Item<SpaceSettings>> {
    Json(Item { item: SpaceSettings::default() })
}

async fn put_space(Input(asked): Input<SpaceSettings>) -> Result<Json<Item<SpaceSettings>>, ApiError> {
    if !asked.allowed_namespace_prefixes.is_empty() {
        return Err(ApiError::BadRequest(
            "[request body.allowed_namespace_prefixes]: spaces are all served alike here, so that a prefix cannot be \
             asked for: leave it empty"
                .to_owned(),
        ));
    }
    Ok(Json(Item { item: asked }))
}
