//! What machines ask about the server itself: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fleet_service::metrics::CONTENT_TYPE;
use http::StatusCode;
use http::header::CONTENT_TYPE as CONTENT_TYPE_HEADER;
use tokio_util::sync::CancellationToken;

use fleet_access::rights::Right;

use super::Management;
use super::routes::{self, Routes};
use crate::exporter::Exporter;
use crate::fleet::Fleet;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let operation = routes::get("/metrics", Right::ReadServer, "The metrics of this server");
    routes.add(operation.media(CONTENT_TYPE), async |State(management): State<Management>| {
        metrics(State(management.health)).await
    })
}

/// What is told about the server.
#[derive(Clone, Debug)]
pub struct Health {
    /// What it knows.
    pub fleet: Arc<Fleet>,
    /// What it measures.
    pub exporter: Arc<Exporter>,
    /// Cancelled when it stops: it is not ready then.
    pub drain: CancellationToken,
}

impl Health {
    /// The routes that anybody may ask.
    pub fn probes(self) -> Router {
        Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(self)
    }

    /// The statistics endpoint: the same, and the metrics.
    pub fn statistics(self) -> Router {
        let metrics = Router::new().route("/metrics", get(metrics)).with_state(self.clone());
        self.probes().merge(metrics)
    }
}

/// It runs.
async fn live() -> &'static str {
    "ok\n"
}

/// It serves agents: it has read the store, and is not about to stop.
async fn ready(State(health): State<Health>) -> Response {
    let reason = if health.drain.is_cancelled() {
        "stopping\n"
    } else if !health.fleet.is_ready() {
        "the store has not been read yet\n"
    } else {
        return "ok\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
}

pub(super) async fn metrics(State(health): State<Health>) -> Response {
    match health.exporter.text(&health.fleet) {
        Some(text) => ([(CONTENT_TYPE_HEADER, CONTENT_TYPE)], text).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
