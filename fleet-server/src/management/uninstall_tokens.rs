//! `/api/fleet/uninstall_tokens`: what lifts the protection of a policy's agents.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::random;
use fleet_access::rights::Right;
use fleet_policy::documents::UninstallToken;
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Error, ErrorKind, Expect, Versioned, WriteError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Management;
use super::catalogue::{Item, Items};
use super::error::ApiError;
use super::input::{AtLeast, Params};
use super::routes::{Routes, get};
use crate::fleet::Fleet;

/// The most items of a page.
const LARGEST_PAGE: usize = 10_000;
/// Random bytes of a token: more than anybody can try.
const TOKEN_BYTES: usize = 16;
/// When others make the same token at the same moment, it is looked so often what they made.
const MOST_ATTEMPTS: usize = 5;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let right = Right::ReadUninstallTokens;
    routes
        .add(
            get("/api/fleet/uninstall_tokens", right, "Lists uninstall tokens, without what they are")
                .query::<ListQuery>()
                .answers::<Items<Listed>>(),
            list,
        )
        .add(
            get("/api/fleet/uninstall_tokens/{id}", right, "Shows an uninstall token")
                .answers::<Item<Shown>>(),
            show,
        )
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct ListQuery {
    /// A part of the policy's id.
    policy_id: Option<String>,
    /// A part of the policy's name or id, or of the token.
    search: Option<String>,
    /// Counts from 1.
    page: Option<AtLeast<1>>,
    per_page: Option<AtLeast<1>>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Listed {
    id: String,
    policy_id: String,
    /// `null`: there is no such policy any more.
    policy_name: Option<String>,
    #[schemars(with = "String")]
    created_at: Timestamp,
    namespaces: Vec<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Shown {
    #[serde(flatten)]
    listed: Listed,
    token: String,
}

impl Listed {
    fn of(token: &UninstallToken, policy_name: Option<String>) -> Listed {
        Listed {
            id: token.id.clone(),
            policy_id: token.policy_id.clone(),
            policy_name,
            created_at: token.created_at,
            namespaces: token.namespaces.clone(),
        }
    }
}

type Answer<T> = Result<Json<T>, ApiError>;

async fn list(
    State(management): State<Management>,
    Params(query): Params<ListQuery>,
) -> Answer<Items<Listed>> {
    let fleet = &management.fleet;
    let policies = management.deployer.policies().all();
    let name_of = |policy_id: &str| policies.get(policy_id).map(|policy| policy.value.name.clone());
    let known = fleet.settings.uninstall_tokens.refresh().await?;
    let search = query.search.as_deref().map(str::to_lowercase).unwrap_or_default();
    let is_found = |token: &UninstallToken| {
        let name = name_of(&token.policy_id).unwrap_or_default().to_lowercase();
        query.policy_id.as_ref().is_none_or(|part| token.policy_id.contains(part.as_str()))
            && (search.is_empty()
                || name.contains(&search)
                || token.policy_id.to_lowercase().contains(&search)
                || text(fleet, token).is_ok_and(|text| text.contains(&search)))
    };
    let mut found: Vec<&UninstallToken> =
        known.values().map(|one| &one.value).filter(|token| is_found(token)).collect();
    // Newest first.
    found.sort_by(|a, b| (b.created_at, &b.policy_id).cmp(&(a.created_at, &a.policy_id)));
    let total = found.len();
    let page = query.page.map_or(1, AtLeast::get);
    let per_page = query.per_page.map_or(20, AtLeast::get).min(LARGEST_PAGE);
    let shown = found.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page);
    let items = shown.map(|token| Listed::of(token, name_of(&token.policy_id))).collect();
    Ok(Json(Items { items, total, page, per_page }))
}

async fn show(State(management): State<Management>, Path(id): Path<String>) -> Answer<Item<Shown>> {
    let fleet = &management.fleet;
    let known = fleet.settings.uninstall_tokens.refresh().await?;
    let found = known.values().find(|token| token.value.id == id);
    let token = &found.ok_or_else(|| ApiError::not_found("Uninstall token", &id))?.value;
    let policy = management.deployer.policies().get(&token.policy_id);
    let text = text(fleet, token).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let listed = Listed::of(token, policy.map(|policy| policy.value.name.clone()));
    Ok(Json(Item { item: Shown { listed, token: text } }))
}

fn text(fleet: &Fleet, token: &UninstallToken) -> Result<String, fleet_access::seal::OpenError> {
    let context = UninstallToken::context(&token.policy_id);
    Ok(fleet.keyring.unseal_text(context, &token.token)?.reveal().to_owned())
}

/// The hash of a policy's token, for `agent.protection.uninstall_token_hash`. The token is made if there is none.
///
/// # Errors
/// The store does not answer, or there is nothing to make a token of.
pub(crate) async fn ensure(fleet: &Fleet, policy_id: &str) -> Result<String, Error> {
    let tokens = &fleet.settings.uninstall_tokens;
    if let Some(known) = tokens.get(policy_id) {
        return Ok(known.value.hash.clone());
    }
    let mut last = None;
    for _ in 0..MOST_ATTEMPTS {
        if let Some(found) = tokens.read(policy_id).await? {
            return Ok(found.value.hash.clone());
        }
        match make(fleet, policy_id).await {
            Ok(made) => return Ok(made.value.hash.clone()),
            Err(WriteError::NotDone(error)) => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    let text = format!("make an uninstall token for agent policy {policy_id}");
    Err(last.map_or_else(
        || Error::new(ErrorKind::Unavailable, text.clone()),
        |error| Error::caused_by(ErrorKind::Unavailable, text.clone(), error),
    ))
}

async fn make(fleet: &Fleet, policy_id: &str) -> Result<Arc<Versioned<UninstallToken>>, WriteError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        WriteError::NotDone(Error::caused_by(ErrorKind::Invalid, "make an uninstall token", error))
    };
    let bytes = random::bytes::<TOKEN_BYTES>().map_err(|error| failed(error.into()))?;
    let text = hex::encode(bytes);
    let sealed = fleet.keyring.seal(UninstallToken::context(policy_id), text.as_bytes());
    let token = UninstallToken {
        id: uuid::Uuid::new_v4().to_string(),
        policy_id: policy_id.to_owned(),
        token: sealed.map_err(|error| failed(error.into()))?,
        hash: UninstallToken::hash_of(&text),
        created_at: fleet.clock.now(),
        namespaces: Vec::new(),
    };
    fleet.settings.uninstall_tokens.put(policy_id, token, Expect::Absent).await
}
