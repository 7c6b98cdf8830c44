//! `/api/fleet/service_tokens`: one for each server that works for this one.

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::documents::{SERVICE_TOKENS, ServiceToken};
use fleet_access::key::ApiKey;
use fleet_access::rights::Right;
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Expect, Scope, Typed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::fields::check_text;
use super::input::Input;
use super::routes::{Routes, delete, get, post};

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::ManageAccess;
    let path = "/api/fleet/service_tokens";
    routes
        .add(get(path, ManageAccess, "Lists service tokens").answers::<Tokens>(), list)
        .add(
            post(path, ManageAccess, "Makes a service token, which is shown once")
                .body::<Create>()
                .answers::<Created>(),
            create,
        )
        .add(
            delete("/api/fleet/service_tokens/{id}", ManageAccess, "Revokes a service token")
                .answers::<Revoked>(),
            revoke,
        )
}

/// What is needed for a token. Names may repeat.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Create {
    name: Option<String>,
    /// For a cluster that data is sent to from elsewhere. Every token of this server may be used so.
    remote: Option<bool>,
}

/// A token, once.
#[derive(Debug, Serialize, JsonSchema)]
struct Created {
    id: String,
    name: String,
    value: String,
}

/// The tokens.
#[derive(Debug, Serialize, JsonSchema)]
struct Tokens {
    items: Vec<Token>,
    total: usize,
}

/// A token, without what it is.
#[derive(Debug, Serialize, JsonSchema)]
struct Token {
    id: String,
    name: String,
    #[schemars(with = "String")]
    created_at: Timestamp,
    revoked: bool,
}

/// What was done.
#[derive(Debug, Serialize, JsonSchema)]
struct Revoked {
    action: &'static str,
}

fn tokens(management: &Management) -> Typed<ServiceToken> {
    Typed::new(std::sync::Arc::clone(&management.fleet.store), &SERVICE_TOKENS)
}

/// The tokens, without what they are.
async fn list(State(management): State<Management>) -> Result<Json<Tokens>, ApiError> {
    let listing = tokens(&management).list(Scope::All).await?;
    let items: Vec<Token> = listing
        .values
        .into_iter()
        .map(|token| Token {
            id: token.id,
            name: token.value.name,
            created_at: token.value.created_at,
            revoked: token.value.revoked,
        })
        .collect();
    Ok(Json(Tokens { total: items.len(), items }))
}

/// A new token. What it is, is told only here.
async fn create(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<Create>,
) -> Result<Json<Created>, ApiError> {
    let key = ApiKey::generate().map_err(|error| ApiError::Internal(Box::new(error)))?;
    let now = management.fleet.clock.now();
    let prefix = if asked.remote.unwrap_or(false) { "remote-" } else { "" };
    let name = asked.name.unwrap_or_else(|| format!("{prefix}token-{}", now.unix()));
    check_text("name", &name)?;
    let token = ServiceToken { name: name.clone(), digest: key.digest(), created_at: now, revoked: false };
    tokens(&management).put(key.id(), &token, Expect::Absent, None, None).await?;
    caller.changed("service-token", key.id(), None, Some(json!({"name": name})));
    Ok(Json(Created { id: key.id().to_owned(), name, value: key.encode().reveal().to_owned() }))
}

/// The token is good no more; others are.
async fn revoke(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Revoked>, ApiError> {
    let tokens = tokens(&management);
    let found = tokens.get(&id).await?.ok_or_else(|| ApiError::not_found("Service token", &id))?;
    let name = found.value.name.clone();
    let token = ServiceToken { revoked: true, ..found.value };
    tokens.put(&id, &token, Expect::Revision(found.revision), None, None).await?;
    caller.changed(
        "service-token",
        &id,
        Some(json!({"name": name, "revoked": false})),
        Some(json!({"name": name, "revoked": true})),
    );
    Ok(Json(Revoked { action: "deleted" }))
}
