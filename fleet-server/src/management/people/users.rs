//! `/api/fleet/users`

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::documents::User;
use fleet_access::rights::{Grant, Proof, Right, Role};
use fleet_access::users::{NewUser, UserChange};
use fleet_service::config::value::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use crate::management::caller::Caller;
use crate::management::catalogue::{DocumentPage, Items};
use crate::management::error::ApiError;
use crate::management::fields::check_text;
use crate::management::input::{Input, Params};
use crate::management::routes::{Routes, delete, get, post, put};
use crate::management::{Answer, Management, auth};

/// What is shown of a user and is not theirs to say: what `GET` gives, `PUT` takes.
const READ_ONLY: &[&str] = &["username", "created_at", "updated_at"];

/// The routes of this group.
pub(in super::super) fn routes(routes: Routes) -> Routes {
    use Right::{ManageAccess, SignedIn};
    let (all, one) = ("/api/fleet/users", "/api/fleet/users/{username}");
    routes
        .add(get(all, ManageAccess, "Lists users").query::<DocumentPage>().answers::<Items<Value>>(), list)
        .add(post(all, ManageAccess, "Makes a user").body::<Create>(), create)
        // Everybody sees and changes themselves: the handlers ask for the right where it is somebody else.
        .add(get(one, SignedIn, "Gets a user; everybody may get themselves"), show)
        .add(
            put(one, SignedIn, "Changes a user; everybody may change their own password")
                .body::<Update>()
                .ignores(READ_ONLY),
            update,
        )
        .add(delete(one, ManageAccess, "Deletes a user, their sessions and API keys"), remove)
}

#[derive(Deserialize, JsonSchema)]
pub(in super::super) struct Create {
    /// Without a colon or a slash, at most 256 bytes.
    username: String,
    /// From 8 characters to 1024 bytes.
    password: String,
    #[serde(default)]
    full_name: String,
    #[serde(default)]
    #[schemars(with = "BTreeSet<RoleName>")]
    roles: BTreeSet<Role>,
    #[serde(default)]
    #[schemars(with = "Vec<GrantBody>")]
    grants: BTreeSet<Grant>,
}

#[derive(Deserialize, JsonSchema)]
pub(in super::super) struct Update {
    full_name: Option<String>,
    password: Option<String>,
    /// Needed of who changes their own password without the right to manage access.
    current_password: Option<String>,
    #[schemars(with = "Option<BTreeSet<RoleName>>")]
    roles: Option<BTreeSet<Role>>,
    #[schemars(with = "Option<Vec<GrantBody>>")]
    grants: Option<BTreeSet<Grant>>,
    enabled: Option<bool>,
}

/// [`Role`], as it is described: its crate knows no schemas.
#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[schemars(rename = "Role", rename_all = "lowercase")]
#[expect(dead_code, reason = "describes another type")]
pub(in super::super) enum RoleName {
    Admin,
    Editor,
    Viewer,
}

/// [`Grant`], as it is described.
#[derive(JsonSchema)]
#[schemars(rename = "Grant")]
#[expect(dead_code, reason = "describes another type")]
pub(in super::super) struct GrantBody {
    policy_id: String,
    role: RoleName,
}

/// A user as they are shown.
pub(in super::super) fn shown(user: &User) -> Value {
    json!({
        "username": user.name,
        "full_name": user.full_name,
        "enabled": user.enabled,
        "roles": user.roles,
        "grants": user.grants,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    })
}

async fn list(
    State(management): State<Management>,
    Params(page): Params<DocumentPage>,
) -> Result<Json<Items<Value>>, ApiError> {
    let users = management.people.users.list().await?;
    let items = users.iter().map(|user| shown(&user.value)).collect();
    Ok(Json(page.select(items)?))
}

async fn create(State(management): State<Management>, caller: Caller, Input(asked): Input<Create>) -> Answer {
    check_text("username", &asked.username)?;
    check_text("full_name", &asked.full_name)?;
    let new = NewUser {
        name: asked.username,
        full_name: asked.full_name,
        password: Secret::new(asked.password),
        roles: asked.roles,
        grants: asked.grants,
    };
    let made = management.people.users.create(new, management.fleet.clock.now()).await?;
    let item = shown(&made.value);
    caller.changed("user", made.id, None, Some(item.clone()));
    Ok(Json(json!({"item": item})))
}

async fn show(State(management): State<Management>, caller: Caller, Path(name): Path<String>) -> Answer {
    require_self_or_manager(&caller, &name)?;
    let found = management.people.users.get(&name).await?;
    let found = found.ok_or_else(|| ApiError::not_found("User", &name))?;
    Ok(Json(json!({"item": shown(&found.value)})))
}

async fn update(
    State(management): State<Management>,
    caller: Caller,
    Path(name): Path<String>,
    Input(asked): Input<Update>,
) -> Answer {
    let people = &management.people;
    require_self_or_manager(&caller, &name)?;
    if !caller.principal.allows(Right::ManageAccess) {
        check_own(&management, &caller, &asked).await?;
    }
    let before = people.users.get(&name).await?.ok_or_else(|| ApiError::not_found("User", &name))?;
    let has_password = asked.password.is_some();
    let change = UserChange {
        full_name: asked.full_name,
        password: asked.password.map(Secret::new),
        roles: asked.roles,
        grants: asked.grants,
        enabled: asked.enabled,
    };
    let after =
        people.users.update(&name, change, Some(before.revision), management.fleet.clock.now()).await?;
    if after.value.stamp != before.value.stamp {
        // They are over by the stamp already; this only removes what is left of them.
        if let Err(error) = people.sessions.end_all_of(&name).await {
            warn!(
                user = name,
                error = &error as &dyn std::error::Error,
                "ended sessions are not removed yet"
            );
        }
    }
    let item = shown(&after.value);
    let (mut old, mut new) = (shown(&before.value), item.clone());
    if has_password {
        // That it is another one is kept, not which.
        old["password"] = "before".into();
        new["password"] = "after".into();
    }
    caller.changed("user", name, Some(old), Some(new));
    Ok(Json(json!({"item": item})))
}

fn require_self_or_manager(caller: &Caller, name: &str) -> Result<(), ApiError> {
    if caller.name() == name || caller.principal.allows(Right::ManageAccess) {
        return Ok(());
    }
    Err(ApiError::Forbidden(format!("the right {} is needed for other users", Right::ManageAccess)))
}

/// What people may change of themselves: the full name, and the password if they know it.
async fn check_own(management: &Management, caller: &Caller, asked: &Update) -> Result<(), ApiError> {
    if asked.roles.is_some() || asked.grants.is_some() || asked.enabled.is_some() {
        let text = format!("the right {} is needed to change roles, grants or enabled", Right::ManageAccess);
        return Err(ApiError::Forbidden(text));
    }
    if caller.principal.proof == Proof::ApiKey {
        return Err(ApiError::Forbidden("people change themselves by name and password".to_owned()));
    }
    if asked.password.is_none() {
        return Ok(());
    }
    let current = asked.current_password.as_deref().ok_or_else(|| {
        ApiError::BadRequest(
            "[request body.current_password]: your password as it is now is needed".to_owned(),
        )
    })?;
    let current = Secret::new(current);
    let user = auth::by_password(management, caller.name(), &current, caller.remote, true).await?;
    user.map(drop).ok_or_else(|| {
        ApiError::BadRequest("[request body.current_password]: that is not your password".to_owned())
    })
}

async fn remove(State(management): State<Management>, caller: Caller, Path(name): Path<String>) -> Answer {
    let people = &management.people;
    let gone = people.users.delete(&name, None).await?;
    caller.changed("user", name.clone(), Some(shown(&gone)), None);
    // Nobody can use them any more; a user who is given the name later must not find them either.
    people.keys.revoke_all_of(&name).await?;
    people.sessions.end_all_of(&name).await?;
    Ok(Json(json!({"action": "deleted", "username": name})))
}
