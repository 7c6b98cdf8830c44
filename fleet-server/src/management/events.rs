//! `/api/fleet/events`

mod stream;

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right;
use fleet_policy::events::{Event, EventId, EventKind, Filter};
use fleet_policy::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::input::{AtLeast, Params};
use super::routes::{Routes, get};

/// The most events of a page.
const LARGEST_PAGE: usize = 1000;
/// Events that are looked at for one page. What fits rarely comes on several pages, which may be empty.
const SCAN: usize = 5000;
/// Events that are read at a time.
const READ: usize = 200;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::ReadAgents;
    routes
        .add(
            get("/api/fleet/events", ReadAgents, "Streams what happens, as server-sent events")
                .query::<Wanted>()
                .query::<stream::Resume>()
                .media("text/event-stream")
                .scoped(),
            stream::stream,
        )
        .add(
            get("/api/fleet/events/list", ReadAgents, "Lists what happened, newest first")
                .query::<Wanted>()
                .query::<Which>()
                .answers::<EventPage>()
                .scoped(),
            list,
        )
}

/// Which events are wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Wanted {
    /// Kinds; several times, or with commas. Absent: all.
    #[schemars(with = "Vec<EventKind>")]
    kinds: Vec<String>,
    /// Ids of agent policies that it must be about; several times, or with commas. Absent: all.
    policy_id: Vec<String>,
    /// The id of an agent that it must be about.
    agent_id: Option<String>,
}

/// Which page is wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Which {
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
    /// How many events: 20, and at most 1000.
    #[schemars(range(min = 1, max = 1000))]
    per_page: Option<AtLeast<1>>,
    /// RFC 3339: of this second and later.
    #[schemars(with = "Option<String>")]
    from: Option<Timestamp>,
}

/// A page of events.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EventPage {
    /// Newest first.
    items: Vec<Event>,
    per_page: usize,
    /// Where the next page begins. Absent: this was the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Wanted {
    fn filter(self) -> Result<Filter, ApiError> {
        let split = |texts: Vec<String>| {
            let parts = texts
                .into_iter()
                .flat_map(|text| text.split(',').map(str::trim).map(str::to_owned).collect::<Vec<String>>());
            parts.filter(|part| !part.is_empty()).collect::<BTreeSet<String>>()
        };
        let kinds: Result<BTreeSet<EventKind>, _> =
            split(self.kinds).iter().map(|kind| kind.parse()).collect();
        let kinds = kinds.map_err(|error| ApiError::BadRequest(format!("[request query.kinds]: {error}")))?;
        Ok(Filter { kinds, policies: split(self.policy_id), agent_id: self.agent_id })
    }
}

/// Whether somebody may know of an event: of those about a policy, who may see its agents; of others, who may see all.
fn may_know(caller: &Caller, event: &Event) -> bool {
    caller.principal.allows(Right::ReadAgents)
        || event.policy_id.as_ref().is_some_and(|id| caller.may_on(Right::ReadAgents, id))
}

fn bad_id(place: &str, error: impl std::fmt::Display) -> ApiError {
    ApiError::BadRequest(format!("[request {place}]: {error}"))
}

async fn list(
    State(management): State<Management>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
    Params(which): Params<Which>,
) -> Result<Json<EventPage>, ApiError> {
    let filter = wanted.filter()?;
    let cursor = which.cursor.as_deref().map(str::parse::<EventId>).transpose();
    let mut cursor = cursor.map_err(|error| bad_id("query.cursor", error))?;
    let oldest = which.from.map(EventId::before);
    let per_page = which.per_page.map_or(20, AtLeast::get).min(LARGEST_PAGE);
    let log = &management.fleet.happenings.log;
    let mut items: Vec<Event> = Vec::new();
    let mut scanned = 0;
    while items.len() < per_page && scanned < SCAN {
        let found = log.before(cursor, READ).await?;
        let Some(reached) = found.reached else {
            cursor = None;
            break;
        };
        scanned += READ;
        cursor = Some(reached);
        for event in found.events {
            if Some(event.id) < oldest {
                return Ok(Json(EventPage { items, per_page, next_cursor: None }));
            }
            if filter.holds(&event) && may_know(&caller, &event) {
                items.push((*event).clone());
                if items.len() == per_page {
                    cursor = Some(event.id);
                    break;
                }
            }
        }
    }
    Ok(Json(EventPage { items, per_page, next_cursor: cursor.map(|cursor| cursor.to_string()) }))
}
