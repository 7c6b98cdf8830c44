//! `/api/fleet/webhooks`

mod body;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::events::EventId;
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Expect, Versioned};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::Management;
use super::caller::Caller;
use super::catalogue::{DocumentPage, Item, Items};
use super::error::ApiError;
use super::input::{Input, Params};
use super::routes::{Routes, delete, get, post, put};
use crate::events::post::{Message, Poster};
use crate::events::signature::SigningKey;
use crate::events::webhook::{Sensitive, SensitiveError, Webhook};
use body::{Delivery, Shown, WebhookBody};

/// So many webhooks there may be: the keeper sends for all of them.
const MOST: usize = 100;
/// What is asked of the audit trail.
const KIND: &str = "webhook";

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadSettings, WriteSettings};
    let (all, one) = ("/api/fleet/webhooks", "/api/fleet/webhooks/{id}");
    routes
        .add(
            get(all, ReadSettings, "Lists webhooks, and how their delivery stands")
                .query::<DocumentPage>()
                .answers::<Items<Shown>>(),
            list,
        )
        .add(
            post(all, WriteSettings, "Makes a webhook; its secret is shown this once")
                .body::<WebhookBody>()
                .answers::<Made>(),
            create,
        )
        .add(get(one, ReadSettings, "A webhook, and how its delivery stands").answers::<Item<Shown>>(), show)
        .add(
            put(one, WriteSettings, "Replaces a webhook; without a secret it keeps its own")
                .body::<WebhookBody>()
                .answers::<Item<Shown>>(),
            replace,
        )
        .add(delete(one, WriteSettings, "Removes a webhook").answers::<Removed>(), remove)
        .add(
            post("/api/fleet/webhooks/{id}/test", WriteSettings, "Sends an event to try a webhook")
                .answers::<Item<Tried>>(),
            test,
        )
}

#[derive(Debug, Serialize, JsonSchema)]
struct Made {
    item: Shown,
    /// What deliveries are signed with. It is not shown again.
    secret: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Removed {
    id: String,
}

/// What came of one attempt.
#[derive(Debug, Serialize, JsonSchema)]
struct Tried {
    /// Whether the receiver took it.
    delivered: bool,
    /// The status of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    duration_ms: u64,
}

impl From<SensitiveError> for ApiError {
    fn from(error: SensitiveError) -> ApiError {
        ApiError::Internal(Box::new(error))
    }
}

async fn find(management: &Management, id: &str) -> Result<Versioned<Webhook>, ApiError> {
    let found = management.fleet.happenings.webhooks.read(id).await?;
    found.map(|found| (*found).clone()).ok_or_else(|| ApiError::not_found("Webhook", id))
}

async fn shown(management: &Management, id: &str, webhook: &Webhook) -> Result<Shown, ApiError> {
    let state = management.fleet.happenings.states.get(id).await?;
    let state = state.map(|found| found.value).unwrap_or_default();
    let cursor = state.cursor.map_or(webhook.since, |cursor| cursor.max(webhook.since));
    let pending = body::pending(&management.fleet.happenings.log, cursor, &webhook.filter()).await?;
    Ok(Shown::new(id, webhook, Delivery::new(state, pending)))
}

async fn list(
    State(management): State<Management>,
    Params(page): Params<DocumentPage>,
) -> Result<Json<Items<Shown>>, ApiError> {
    let webhooks = management.fleet.happenings.webhooks.refresh().await?;
    let mut items = Vec::with_capacity(webhooks.len());
    for (id, found) in webhooks.iter() {
        items.push(shown(&management, id, &found.value).await?);
    }
    Ok(Json(page.select(items)?))
}

async fn show(
    State(management): State<Management>,
    Path(id): Path<String>,
) -> Result<Json<Item<Shown>>, ApiError> {
    let found = find(&management, &id).await?;
    Ok(Json(Item { item: shown(&management, &id, &found.value).await? }))
}

/// They are told of what comes from now on.
fn since(management: &Management) -> EventId {
    let newest = management.fleet.happenings.log.newest();
    newest.unwrap_or_else(|| EventId::before(Timestamp::default()))
}

async fn create(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<WebhookBody>,
) -> Result<Json<Made>, ApiError> {
    let webhooks = &management.fleet.happenings.webhooks;
    if webhooks.refresh().await?.len() >= MOST {
        return Err(ApiError::Conflict(format!("there are {MOST} webhooks: remove one first")));
    }
    let id = uuid::Uuid::new_v4().to_string();
    let now = management.fleet.clock.now();
    let sensitive = asked.sensitive(None)?;
    let sealed = sensitive.seal(&management.fleet.happenings.keyring, &id)?;
    let webhook = asked.webhook(&sensitive, sealed, since(&management), now, now)?;
    let made = webhooks.put(&id, webhook, Expect::Absent).await?;
    let item = shown(&management, &id, &made.value).await?;
    caller.changed(KIND, id, None, Some(json!(item)));
    Ok(Json(Made { item, secret: sensitive.secret }))
}

async fn replace(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<WebhookBody>,
) -> Result<Json<Item<Shown>>, ApiError> {
    let happenings = &management.fleet.happenings;
    let found = find(&management, &id).await?;
    let before = shown(&management, &id, &found.value).await?;
    let known = Sensitive::open(&happenings.keyring, &id, &found.value.sealed).await?;
    let sensitive = asked.sensitive(Some(&known))?;
    let sealed = sensitive.seal(&happenings.keyring, &id)?;
    // What happened while it was off is not sent when it is on again.
    let since = if found.value.enabled { found.value.since } else { since(&management) };
    let now = management.fleet.clock.now();
    let webhook = asked.webhook(&sensitive, sealed, since, found.value.created_at, now)?;
    let saved = happenings.webhooks.put(&id, webhook, Expect::Revision(found.revision)).await?;
    let item = shown(&management, &id, &saved.value).await?;
    caller.changed(KIND, id, Some(json!(before)), Some(json!(item)));
    Ok(Json(Item { item }))
}

async fn remove(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Removed>, ApiError> {
    let found = find(&management, &id).await?;
    let before = shown(&management, &id, &found.value).await?;
    let happenings = &management.fleet.happenings;
    happenings.webhooks.delete(&id, Expect::Revision(found.revision)).await?;
    // Ids are not used again: what a keeper still writes of it is read by nobody.
    happenings.states.delete(&id, Expect::Any, None).await?;
    caller.changed(KIND, id.clone(), Some(json!(before)), None);
    Ok(Json(Removed { id }))
}

async fn test(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Item<Tried>>, ApiError> {
    let found = find(&management, &id).await?.value;
    let sensitive = Sensitive::open(&management.fleet.happenings.keyring, &id, &found.sealed).await?;
    let key = SigningKey::parse(&sensitive.secret).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let now = management.fleet.clock.now();
    let event_id = uuid::Uuid::now_v7().to_string();
    let example = json!({
        "type": "test",
        "timestamp": now,
        "data": {"id": event_id, "@timestamp": now, "kind": "test", "reason": format!("asked for by {}", caller.name())},
    });
    let message = Message { id: event_id, timestamp: now.unix(), body: example.to_string().into() };
    let began = Instant::now();
    let sent = match Poster::new(&found, &sensitive, key).await {
        Ok(mut poster) => poster.post(&message).await,
        Err(error) => Err(error),
    };
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let item = match sent {
        Ok(status) => Tried { delivered: true, status: Some(status.as_u16()), error: None, duration_ms },
        Err(error) => Tried { delivered: false, status: None, error: Some(error.to_string()), duration_ms },
    };
    Ok(Json(Item { item }))
}
