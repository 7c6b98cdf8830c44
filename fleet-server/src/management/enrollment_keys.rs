//! `/api/fleet/enrollment_api_keys`

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::documents::EnrollmentKey;
use fleet_access::key::ApiKey;
use fleet_access::rights::Right;
use fleet_policy::query::DocumentQuery;
use fleet_policy::timestamp::Timestamp;
use fleet_service::config::value::duration;
use fleet_store::{Expect, Versioned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Management;
use super::caller::Caller;
use super::catalogue::Item;
use super::error::ApiError;
use super::fields::check_text;
use super::input::{AtLeast, Input, Params};
use super::routes::{Routes, delete, get, post};

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadEnrollmentKeys, WriteEnrollmentKeys};
    let path = "/api/fleet/enrollment_api_keys";
    let one = "/api/fleet/enrollment_api_keys/{id}";
    routes
        .add(
            get(path, ReadEnrollmentKeys, "Lists enrolment keys, newest first")
                .query::<ListQuery>()
                .answers::<Keys>()
                .scoped(),
            list,
        )
        .add(
            post(path, WriteEnrollmentKeys, "Makes an enrolment key")
                .body::<Create>()
                .answers::<Created>()
                .scoped(),
            create,
        )
        .add(get(one, ReadEnrollmentKeys, "Shows an enrolment key").answers::<Item<Key>>().scoped(), show)
        .add(
            delete(one, WriteEnrollmentKeys, "Revokes or removes an enrolment key")
                .query::<DeleteQuery>()
                .answers::<Deleted>()
                .scoped(),
            remove,
        )
}

/// A key lives for ten years at most.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What the audit trail calls a key.
pub(crate) const KIND: &str = "enrollment-key";
/// The most keys of a page.
const LARGEST_PAGE: usize = 10_000;

/// Which keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct ListQuery {
    /// Counts from 1.
    page: Option<AtLeast<1>>,
    /// 20 unless something else is asked for.
    per_page: Option<AtLeast<1>>,
    /// A query such as `policy_id:"web"`.
    kuery: Option<String>,
}

/// Whether nothing is to be left of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct DeleteQuery {
    /// Removes the key, instead of revoking it and showing it on as revoked.
    force_delete: Option<bool>,
}

/// A key as it is shown: with its secret, which people need again.
#[derive(Debug, Serialize, JsonSchema)]
struct Key {
    #[serde(flatten)]
    key: Plain,
    /// What agents send; absent: it was sealed with a key that is not there any more.
    api_key: Option<String>,
}

/// A key without its secret.
#[derive(Debug, Serialize, JsonSchema)]
struct Plain {
    id: String,
    active: bool,
    api_key_id: String,
    name: String,
    policy_id: String,
    #[schemars(with = "String")]
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    expire_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_uses: Option<u64>,
    /// How often it was used, if that is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
}

/// A page of keys.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Keys {
    items: Vec<Value>,
    /// The same, as old scripts know it.
    list: Vec<Value>,
    total: usize,
    page: usize,
    per_page: usize,
}

/// A new key.
#[derive(Debug, Serialize, JsonSchema)]
struct Created {
    action: &'static str,
    item: Key,
}

/// What was done.
#[derive(Debug, Serialize, JsonSchema)]
struct Deleted {
    action: &'static str,
}

/// What is needed for a key.
#[derive(Debug, Deserialize, JsonSchema)]
struct Create {
    policy_id: String,
    name: Option<String>,
    /// How long it lives: a duration such as `24h`. Absent: until it is revoked.
    expiration: Option<String>,
    /// How many agents may enrol with it. Absent: any number.
    max_uses: Option<u64>,
}

/// What agents send. `None`: it was sealed with a key that is not there any more.
pub(super) fn text(management: &Management, key: &EnrollmentKey) -> Option<String> {
    let context = EnrollmentKey::api_key_context(&key.id);
    let text = management.fleet.keyring.unseal_text(context, &key.api_key);
    text.map(|text| text.reveal().to_owned()).ok()
}

fn plain(key: &EnrollmentKey) -> Plain {
    Plain {
        id: key.id.clone(),
        active: key.active,
        api_key_id: key.id.clone(),
        name: key.name.clone(),
        policy_id: key.policy_id.clone(),
        created_at: key.created_at,
        expire_at: key.expire_at,
        max_uses: key.max_uses,
        used: key.max_uses.map(|_| key.used),
    }
}

/// A key as the audit trail has it.
pub(crate) fn told(key: &EnrollmentKey) -> Value {
    json!(plain(key))
}

fn shown(management: &Management, key: &EnrollmentKey) -> Key {
    Key { key: plain(key), api_key: text(management, key) }
}

/// The key with this id, if the caller has the right on its policy.
async fn find(
    management: &Management,
    id: &str,
    caller: &Caller,
    right: Right,
) -> Result<Arc<Versioned<EnrollmentKey>>, ApiError> {
    let found = management.fleet.enrollment.find(id).await?;
    let found = found.filter(|key| caller.may_on(Right::ReadEnrollmentKeys, &key.value.policy_id));
    let key = found.ok_or_else(|| ApiError::not_found("Enrollment API key", id))?;
    caller.require_on(right, &key.value.policy_id)?;
    Ok(key)
}

/// The list, newest first.
async fn list(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<ListQuery>,
) -> Result<Json<Keys>, ApiError> {
    let kuery = asked.kuery.as_deref().unwrap_or_default();
    let query = DocumentQuery::parse(kuery, management.fleet.clock.now())
        .map_err(|error| ApiError::BadRequest(format!("[request query.kuery]: {error}")))?;
    let mut keys = management.fleet.enrollment.all();
    keys.retain(|key| {
        caller.may_on(Right::ReadEnrollmentKeys, &key.value.policy_id)
            && query.matches(&json!(plain(&key.value)))
    });
    keys.sort_by(|a, b| (b.value.created_at, &b.id).cmp(&(a.value.created_at, &a.id)));
    let (page, per_page) =
        (asked.page.map_or(1, AtLeast::get), asked.per_page.map_or(20, AtLeast::get).min(LARGEST_PAGE));
    let total = keys.len();
    let keys = keys.iter().skip((page - 1).saturating_mul(per_page)).take(per_page);
    let items: Vec<Value> = keys.map(|key| json!(shown(&management, &key.value))).collect();
    Ok(Json(Keys { list: items.clone(), items, total, page, per_page }))
}

async fn show(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Item<Key>>, ApiError> {
    let key = find(&management, &id, &caller, Right::ReadEnrollmentKeys).await?;
    Ok(Json(Item { item: shown(&management, &key.value) }))
}

async fn create(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<Create>,
) -> Result<Json<Created>, ApiError> {
    caller.require_on(Right::WriteEnrollmentKeys, &asked.policy_id)?;
    if management.deployer.policies().read(&asked.policy_id).await?.is_none() {
        let text = format!("[request body.policy_id]: Agent policy {:?} not found", asked.policy_id);
        return Err(ApiError::BadRequest(text));
    }
    let life = asked.expiration.as_deref().map(life).transpose()?;
    if asked.max_uses == Some(0) {
        return Err(ApiError::BadRequest("[request body.max_uses]: at least 1 is needed".to_owned()));
    }
    let name = asked.name.unwrap_or_default();
    check_text("name", &name)?;
    let key = make(&management, &asked.policy_id, &name, life, asked.max_uses).await?;
    caller.changed(KIND, &key.id, None, Some(json!(plain(&key))));
    Ok(Json(Created { action: "created", item: shown(&management, &key) }))
}

fn life(text: &str) -> Result<Duration, ApiError> {
    duration(Duration::from_secs(1)..=LONGEST_LIFE)(text).map_err(|_| {
        ApiError::BadRequest("[request body.expiration]: a duration such as 24h is needed".to_owned())
    })
}

/// Makes a key for a policy.
pub(super) async fn make(
    management: &Management,
    policy_id: &str,
    name: &str,
    life: Option<Duration>,
    max_uses: Option<u64>,
) -> Result<EnrollmentKey, ApiError> {
    let internal = |error: Box<dyn std::error::Error + Send + Sync>| ApiError::Internal(error);
    let key = ApiKey::generate().map_err(|error| internal(Box::new(error)))?;
    let context = EnrollmentKey::api_key_context(key.id());
    let sealed = management.fleet.keyring.seal(context, key.encode().reveal().as_bytes());
    let now = management.fleet.clock.now();
    let document = EnrollmentKey {
        id: key.id().to_owned(),
        // As in the original: names may repeat, so that each gets something of its own.
        name: format!("{name} ({})", uuid::Uuid::new_v4()).trim().to_owned(),
        policy_id: policy_id.to_owned(),
        digest: key.digest(),
        api_key: sealed.map_err(|error| internal(Box::new(error)))?,
        active: true,
        created_at: now,
        expire_at: life.map(|life| now + life),
        max_uses,
        used: 0,
    };
    management.fleet.enrollment.put(document.clone(), Expect::Absent).await?;
    Ok(document)
}

/// Nobody enrols with it any more; agents that have stay.
async fn remove(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Params(asked): Params<DeleteQuery>,
) -> Result<Json<Deleted>, ApiError> {
    let key = find(&management, &id, &caller, Right::WriteEnrollmentKeys).await?;
    let before = json!(plain(&key.value));
    if asked.force_delete.unwrap_or(false) {
        management.fleet.enrollment.delete(&id, key.revision).await?;
        caller.changed(KIND, &id, Some(before), None);
    } else {
        let document = EnrollmentKey { active: false, ..key.value.clone() };
        let after = json!(plain(&document));
        management.fleet.enrollment.put(document, Expect::Revision(key.revision)).await?;
        caller.changed(KIND, &id, Some(before), Some(after));
    }
    Ok(Json(Deleted { action: "deleted" }))
}
