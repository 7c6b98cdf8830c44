//! `/api/fleet/enrollment_api_keys`

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::documents::EnrollmentKey;
use fleet_access::key::ApiKey;
use fleet_policy::documents::{AGENT_POLICIES, AgentPolicy};
use fleet_service::config::value::duration;
use fleet_store::{Expect, Typed, Versioned};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::input::{Input, Params};
use super::list::Page;
use super::routes::{Routes, delete, get, post};
use super::{Answer, Management};
use fleet_access::rights::Right;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadEnrollmentKeys, WriteEnrollmentKeys};
    let path = "/api/fleet/enrollment_api_keys";
    let one = "/api/fleet/enrollment_api_keys/{id}";
    routes
        .add(get(path, ReadEnrollmentKeys, "Lists enrolment keys, newest first").query::<Page>(), list)
        .add(post(path, WriteEnrollmentKeys, "Makes an enrolment key").body::<Create>(), create)
        .add(get(one, ReadEnrollmentKeys, "Shows an enrolment key"), show)
        .add(delete(one, WriteEnrollmentKeys, "Revokes an enrolment key"), revoke)
}

/// A key lives for ten years at most.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Create {
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

/// A key as it is shown: with its secret, which people need again.
fn shown(management: &Management, key: &EnrollmentKey) -> Value {
    let api_key = text(management, key);
    let mut value = json!({
        "id": key.id,
        "active": key.active,
        "api_key_id": key.id,
        "api_key": api_key,
        "name": key.name,
        "policy_id": key.policy_id,
        "created_at": key.created_at,
    });
    if let Some(expire_at) = key.expire_at {
        value["expire_at"] = json!(expire_at);
    }
    if let Some(max_uses) = key.max_uses {
        value["max_uses"] = max_uses.into();
        value["used"] = key.used.into();
    }
    value
}

async fn find(
    management: &Management,
    id: &str,
) -> Result<std::sync::Arc<Versioned<EnrollmentKey>>, ApiError> {
    let found = management.fleet.enrollment.find(id).await?;
    found.ok_or_else(|| ApiError::not_found("Enrollment API key", id))
}

/// The list, newest first. `kuery` may be `policy_id:<id>`.
pub(super) async fn list(State(management): State<Management>, Params(page): Params<Page>) -> Answer {
    let policy_id = page.kuery.as_deref().map(policy_of_query).transpose()?;
    let mut keys = management.fleet.enrollment.all();
    keys.retain(|key| policy_id.as_ref().is_none_or(|policy_id| key.value.policy_id == *policy_id));
    keys.sort_by(|a, b| (b.value.created_at, &b.id).cmp(&(a.value.created_at, &a.id)));
    let total = keys.len();
    let items: Vec<Value> = page.of(keys).iter().map(|key| shown(&management, &key.value)).collect();
    let mut answer = page.answer(&items, total);
    answer["list"] = answer["items"].clone();
    Ok(Json(answer))
}

fn policy_of_query(kuery: &str) -> Result<String, ApiError> {
    let (field, value) = kuery.split_once(':').unwrap_or_default();
    let field = field.trim().rsplit('.').next().unwrap_or_default();
    let value = value.trim().trim_matches('"');
    if field == "policy_id" && !value.is_empty() && !value.contains(char::is_whitespace) {
        return Ok(value.to_owned());
    }
    Err(ApiError::BadRequest(format!("[request query.kuery]: {kuery:?} is not policy_id:<id>")))
}

pub(super) async fn show(State(management): State<Management>, Path(id): Path<String>) -> Answer {
    let key = find(&management, &id).await?;
    Ok(Json(json!({"item": shown(&management, &key.value)})))
}

pub(super) async fn create(State(management): State<Management>, Input(asked): Input<Create>) -> Answer {
    let policies = Typed::<AgentPolicy>::new(std::sync::Arc::clone(&management.fleet.store), &AGENT_POLICIES);
    if policies.get(&asked.policy_id).await?.is_none() {
        return Err(ApiError::BadRequest(format!("Agent policy {:?} not found", asked.policy_id)));
    }
    let life = asked.expiration.as_deref().map(life).transpose()?;
    if asked.max_uses == Some(0) {
        return Err(ApiError::BadRequest("[request body.max_uses]: at least 1 is needed".to_owned()));
    }
    let name = asked.name.unwrap_or_default();
    let key = make(&management, &asked.policy_id, &name, life, asked.max_uses).await?;
    Ok(Json(json!({"action": "created", "item": shown(&management, &key)})))
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
pub(super) async fn revoke(State(management): State<Management>, Path(id): Path<String>) -> Answer {
    let key = find(&management, &id).await?;
    let document = EnrollmentKey { active: false, ..key.value.clone() };
    management.fleet.enrollment.put(document, Expect::Revision(key.revision)).await?;
    Ok(Json(json!({"action": "deleted"})))
}

/// Revokes every key of a policy.
pub(super) async fn revoke_all_of(management: &Management, policy_id: &str) -> Result<(), ApiError> {
    for key in management.fleet.enrollment.all() {
        if key.value.active && key.value.policy_id == policy_id {
            let document = EnrollmentKey { active: false, ..key.value.clone() };
            management.fleet.enrollment.put(document, Expect::Revision(key.revision)).await?;
        }
    }
    Ok(())
}
