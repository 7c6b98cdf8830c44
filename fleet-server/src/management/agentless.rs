//! `/api/fleet/managed_integrations` and `/api/fleet/agentless_policies`: integrations that a vendor's cloud runs.
//!
//! There is no such cloud behind this server: an integration runs on a machine with an agent. Nothing is kept that
//! nobody would run; whoever asks for one is told what to do instead, and none is ever found.

use axum::Json;
use axum::extract::Path;
use fleet_access::rights::Right::{ReadPolicies, WritePolicies};
use serde_json::Value;

use super::catalogue::Items;
use super::error::ApiError;
use super::routes::{Routes, delete, get, post, put};

const MANAGED: &str = "Managed integration";
const AGENTLESS: &str = "Agentless policy";

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let (all, one) = ("/api/fleet/managed_integrations", "/api/fleet/managed_integrations/{id}");
    let make = "Refuses: integrations run on machines with an agent";
    routes
        .add(
            get(all, ReadPolicies, "Lists managed integrations: there are none").answers::<Items<Value>>(),
            list,
        )
        .add(post(all, WritePolicies, make).body::<Value>(), refuse)
        .add(get(one, ReadPolicies, "Shows a managed integration: there is none"), managed)
        .add(put(one, WritePolicies, "Changes a managed integration: there is none").body::<Value>(), managed)
        .add(delete(one, WritePolicies, "Removes a managed integration: there is none"), managed)
        .add(post("/api/fleet/agentless_policies", WritePolicies, make).body::<Value>(), refuse)
        .add(
            delete(
                "/api/fleet/agentless_policies/{id}",
                WritePolicies,
                "Removes an agentless policy: there is none",
            ),
            agentless,
        )
}

async fn list() -> Json<Items<Value>> {
    Json(Items { items: Vec::new(), total: 0, page: 1, per_page: 20 })
}

async fn refuse() -> ApiError {
    let text = "there is no cloud behind this server that runs integrations without an agent: add the integration to \
                an agent policy (POST /api/fleet/package_policies) and enrol an agent with it";
    ApiError::BadRequest(text.to_owned())
}

async fn managed(Path(id): Path<String>) -> ApiError {
    ApiError::not_found(MANAGED, &id)
}

async fn agentless(Path(id): Path<String>) -> ApiError {
    ApiError::not_found(AGENTLESS, &id)
}
