//! `/api/fleet/api_keys`

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::api_keys::{ApiKeyError, NewApiKey};
use fleet_access::documents::ApiKeyDocument;
use fleet_access::rights::{Grant, Right, Role};
use fleet_access::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::users::{GrantBody, RoleName};
use crate::management::caller::Caller;
use crate::management::catalogue::{DocumentPage, Items};
use crate::management::error::ApiError;
use crate::management::input::{Input, Params};
use crate::management::routes::{Routes, delete, get, post};
use crate::management::{Answer, Management};

/// The routes of this group.
pub(in super::super) fn routes(routes: Routes) -> Routes {
    use Right::SignedIn;
    let path = "/api/fleet/api_keys";
    routes
        .add(
            get(path, SignedIn, "Lists your API keys; everybody's for who manages access")
                .query::<DocumentPage>()
                .answers::<Items<Value>>(),
            list,
        )
        .add(
            post(path, SignedIn, "Makes an API key, which is shown once and does what you may, or less")
                .body::<Create>(),
            create,
        )
        .add(delete("/api/fleet/api_keys/{id}", SignedIn, "Revokes an API key"), revoke)
}

#[derive(Deserialize, JsonSchema)]
pub(in super::super) struct Create {
    name: String,
    /// What it may do everywhere. If neither this nor `grants` is there: all that you may.
    #[schemars(with = "Option<BTreeSet<RoleName>>")]
    roles: Option<BTreeSet<Role>>,
    /// What it may do on single policies.
    #[schemars(with = "Option<Vec<GrantBody>>")]
    grants: Option<BTreeSet<Grant>>,
    /// RFC 3339. Absent: until it is revoked.
    #[schemars(with = "Option<String>")]
    expires_at: Option<Timestamp>,
}

fn shown(id: &str, key: &ApiKeyDocument) -> Value {
    json!({
        "id": id,
        "name": key.name,
        "username": key.owner,
        "roles": key.roles,
        "grants": key.grants,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
    })
}

async fn list(
    State(management): State<Management>,
    caller: Caller,
    Params(page): Params<DocumentPage>,
) -> Result<Json<Items<Value>>, ApiError> {
    let owner = (!caller.principal.allows(Right::ManageAccess)).then(|| caller.name());
    let keys = management.people.keys.list(owner).await?;
    let items = keys.iter().map(|key| shown(&key.id, &key.value)).collect();
    Ok(Json(page.select(items)?))
}

async fn create(State(management): State<Management>, caller: Caller, Input(asked): Input<Create>) -> Answer {
    let principal = &caller.principal;
    let (roles, grants) = match (asked.roles, asked.grants) {
        (None, None) => (principal.roles.clone(), principal.grants.clone()),
        (roles, grants) => (roles.unwrap_or_default(), grants.unwrap_or_default()),
    };
    let new = NewApiKey { name: asked.name, roles, grants, expires_at: asked.expires_at };
    let made = management.people.keys.create(principal, new, management.fleet.clock.now()).await;
    let (key, document) = made.map_err(refused)?;
    let item = shown(key.id(), &document);
    caller.changed("api-key", key.id(), None, Some(item.clone()));
    Ok(Json(json!({"item": item, "api_key": key.encode().reveal()})))
}

async fn revoke(State(management): State<Management>, caller: Caller, Path(id): Path<String>) -> Answer {
    let keys = &management.people.keys;
    let found = keys.get(&id).await?;
    // Whether there is somebody else's key is nobody's business.
    let may = |owner: &str| owner == caller.name() || caller.principal.allows(Right::ManageAccess);
    let found = found.filter(|found| may(&found.value.owner));
    let found = found.ok_or_else(|| ApiError::not_found("API key", &id))?;
    keys.revoke(&id, found.revision).await?;
    caller.changed("api-key", id.clone(), Some(shown(&id, &found.value)), None);
    Ok(Json(json!({"action": "deleted", "id": id})))
}

fn refused(error: ApiKeyError) -> ApiError {
    let text = error.to_string();
    match error {
        ApiKeyError::Name => ApiError::BadRequest(format!("[request body.name]: {text}")),
        ApiKeyError::Grants(_) => ApiError::BadRequest(format!("[request body.grants]: {text}")),
        ApiKeyError::Past | ApiKeyError::Unwatched => {
            ApiError::BadRequest(format!("[request body.expires_at]: {text}"))
        }
        ApiKeyError::Exceeds(_) | ApiKeyError::ByKey => ApiError::Forbidden(text),
        ApiKeyError::TooMany(_) => ApiError::Conflict(text),
        ApiKeyError::Read(error) => error.into(),
        ApiKeyError::Write(error) => error.into(),
        error @ ApiKeyError::Random(_) => ApiError::Internal(Box::new(error)),
    }
}

impl From<ApiKeyError> for ApiError {
    fn from(error: ApiKeyError) -> ApiError {
        refused(error)
    }
}
