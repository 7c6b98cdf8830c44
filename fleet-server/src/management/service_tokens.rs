//! `/api/fleet/service_tokens`: one for each server that works for this one.

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::documents::{SERVICE_TOKENS, ServiceToken};
use fleet_access::key::ApiKey;
use fleet_store::{Expect, Scope, Typed};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::input::Input;
use super::routes::{Routes, delete, get, post};
use super::{Answer, Management};
use fleet_access::rights::Right;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::ManageAccess;
    let path = "/api/fleet/service_tokens";
    routes
        .add(get(path, ManageAccess, "Lists service tokens"), list)
        .add(post(path, ManageAccess, "Makes a service token, which is shown once").body::<Create>(), create)
        .add(delete("/api/fleet/service_tokens/{id}", ManageAccess, "Revokes a service token"), revoke)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Create {
    name: Option<String>,
}

fn tokens(management: &Management) -> Typed<ServiceToken> {
    Typed::new(std::sync::Arc::clone(&management.fleet.store), &SERVICE_TOKENS)
}

/// The tokens, without what they are.
pub(super) async fn list(State(management): State<Management>) -> Answer {
    let listing = tokens(&management).list(Scope::All).await?;
    let items: Vec<_> = listing
        .values
        .iter()
        .map(|token| {
            json!({
                "id": token.id,
                "name": token.value.name,
                "created_at": token.value.created_at,
                "revoked": token.value.revoked,
            })
        })
        .collect();
    Ok(Json(json!({"total": items.len(), "items": items})))
}

/// A new token. What it is, is told only here.
pub(super) async fn create(State(management): State<Management>, Input(asked): Input<Create>) -> Answer {
    let key = ApiKey::generate().map_err(|error| ApiError::Internal(Box::new(error)))?;
    let name = asked.name.unwrap_or_else(|| format!("token-{}", management.fleet.clock.now().unix()));
    let token = ServiceToken {
        name: name.clone(),
        digest: key.digest(),
        created_at: management.fleet.clock.now(),
        revoked: false,
    };
    tokens(&management).put(key.id(), &token, Expect::Absent, None, None).await?;
    Ok(Json(json!({"id": key.id(), "name": name, "value": key.encode().reveal()})))
}

/// The token is good no more; others are.
pub(super) async fn revoke(State(management): State<Management>, Path(id): Path<String>) -> Answer {
    let tokens = tokens(&management);
    let found = tokens.get(&id).await?.ok_or_else(|| ApiError::not_found("Service token", &id))?;
    let token = ServiceToken { revoked: true, ..found.value };
    tokens.put(&id, &token, Expect::Revision(found.revision), None, None).await?;
    Ok(Json(json!({"action": "deleted"})))
}
