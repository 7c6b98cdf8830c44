//! The API of people and scripts, under `/api/fleet`.
//!
//! Paths and shapes are those that scripts and the Terraform provider for Fleet know. Whoever asks proves who
//! they are by name and password.
//!
//! | module | what |
//! |---|---|
//! | `auth` | who asks |
//! | `error` | what they are told when something cannot be done |
//! | `agent_policies`, `enrollment_keys`, `service_tokens`, `agents`, `actions`, `files`, `artifacts` | the routes |

mod actions;
mod agent_policies;
mod agents;
mod artifacts;
mod auth;
mod enrollment_keys;
mod error;
mod files;
mod health;
mod input;
mod list;
mod serve;
mod service_tokens;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};
use fleet_access::password::Passwords;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use error::ApiError;

pub use auth::{ADMIN, AdminError, Users};
pub use health::Health;
pub use serve::{Port, serve};

/// The largest body of a request in bytes.
const LARGEST_BODY: usize = 10 * 1024 * 1024;

/// What the routes share.
#[derive(Clone, Debug)]
pub struct Management {
    /// What is known of the store.
    pub fleet: Arc<Fleet>,
    /// Who may ask.
    pub users: Arc<Users>,
    /// Checks their passwords.
    pub passwords: Passwords,
    /// The version that the server says it is.
    pub version: Arc<str>,
    /// What is told about the server itself.
    pub health: Health,
}

type Answer = Result<Json<Value>, ApiError>;

impl Management {
    /// Makes a first policy if there is none, and returns its enrolment key.
    pub(crate) async fn ensure_policy(&self) -> Result<Option<String>, String> {
        agent_policies::ensure_first(self).await.map_err(|error| error.to_string())
    }

    /// The routes.
    pub fn router(self) -> Router {
        let routes = Router::new()
            .route("/api/fleet/setup", post(setup))
            .route("/api/fleet/agents/setup", get(setup).post(setup))
            .route("/api/fleet/agent_policies", get(agent_policies::list).post(agent_policies::create))
            .route("/api/fleet/agent_policies/delete", post(agent_policies::delete))
            .route("/api/fleet/agent_policies/{id}", get(agent_policies::get).put(agent_policies::update))
            .route("/api/fleet/agent_policies/{id}/full", get(agent_policies::full))
            .route("/api/fleet/enrollment_api_keys", get(enrollment_keys::list).post(enrollment_keys::create))
            .route(
                "/api/fleet/enrollment_api_keys/{id}",
                get(enrollment_keys::get).delete(enrollment_keys::revoke),
            )
            .route("/api/fleet/service_tokens", get(service_tokens::list).post(service_tokens::create))
            .route("/api/fleet/service_tokens/{id}", delete(service_tokens::revoke))
            .route("/api/fleet/agent_status", get(agents::status))
            .route("/api/fleet/agents", get(agents::list))
            .route("/api/fleet/agents/action_status", get(actions::status))
            .route("/api/fleet/agents/actions/{id}/cancel", post(actions::cancel))
            .route("/api/fleet/agents/bulk_unenroll", post(actions::bulk_unenroll))
            .route("/api/fleet/agents/bulk_reassign", post(actions::bulk_reassign))
            .route("/api/fleet/agents/bulk_upgrade", post(actions::bulk_upgrade))
            .route("/api/fleet/agents/bulk_request_diagnostics", post(actions::bulk_request_diagnostics))
            .route("/api/fleet/agents/{id}", get(agents::get).put(agents::update).delete(agents::delete))
            .route("/api/fleet/agents/{id}/actions", post(actions::create))
            .route("/api/fleet/agents/{id}/unenroll", post(actions::unenroll))
            .route("/api/fleet/agents/{id}/reassign", post(actions::reassign))
            .route("/api/fleet/agents/{id}/upgrade", post(actions::upgrade))
            .route("/api/fleet/agents/{id}/request_diagnostics", post(actions::request_diagnostics))
            .route("/metrics", get(health::metrics).with_state(self.health.clone()))
            .route("/api/fleet/artifacts/{identifier}", post(artifacts::create))
            .route("/api/fleet/artifacts/{identifier}/{sha256}", delete(artifacts::delete))
            .route("/api/fleet/agents/{id}/uploads", get(files::uploads))
            .route(
                "/api/fleet/agents/files",
                // The body is not read into memory: what files take has a bound of its own.
                post(files::put).layer(DefaultBodyLimit::disable()),
            )
            .route("/api/fleet/agents/files/{file_id}", get(files::get).delete(files::delete))
            .route("/api/fleet/agents/files/{file_id}/{name}", get(files::get).delete(files::delete))
            .route_layer(middleware::from_fn_with_state(self.clone(), auth::require_user));
        let probes = self.health.clone().probes();
        Router::new()
            .route("/api/status", get(status))
            .merge(routes)
            .fallback(async || ApiError::NoRoute)
            .method_not_allowed_fallback(async || ApiError::Method)
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
            .with_state(self)
            .merge(probes)
    }
}

/// `GET /api/status`: what clients ask first, to learn the version.
async fn status(axum::extract::State(management): axum::extract::State<Management>) -> Json<Value> {
    let level = if management.fleet.is_ready() { "available" } else { "degraded" };
    Json(json!({
        "name": "fleet",
        "version": {"number": &*management.version, "build_number": 0, "build_hash": "", "build_snapshot": false},
        "status": {"overall": {"level": level, "summary": ""}},
    }))
}

/// There is nothing to set up.
async fn setup() -> Json<Value> {
    Json(json!({"isInitialized": true, "isReady": true, "nonFatalErrors": []}))
}
