//! How many agents are how.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use fleet_policy::agents::{Counts, Filter};
use fleet_policy::status::Status;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::narrowed;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Params;

/// Which agents.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct StatusQuery {
    /// Those of this policy.
    policy_id: Option<String>,
    /// Those of these policies.
    #[serde(deserialize_with = "several")]
    policy_ids: Vec<String>,
    /// Those that a query is about.
    kuery: Option<String>,
}

/// How many are how.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct StatusAnswer {
    results: Results,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Results {
    online: u64,
    /// In error, or degraded.
    error: u64,
    offline: u64,
    inactive: u64,
    /// Updating, enrolling or unenrolling.
    updating: u64,
    /// The same.
    other: u64,
    unenrolled: u64,
    orphaned: u64,
    uninstalled: u64,
    /// Those that lists show.
    active: u64,
    all: u64,
    events: u64,
}

impl Results {
    fn new(counts: &Counts) -> Results {
        let updating = [Status::Updating, Status::Enrolling, Status::Unenrolling];
        let updating = updating.into_iter().map(|status| counts.of(status)).sum();
        let active = counts.iter().filter(|(status, _)| status.is_listed()).map(|(_, count)| count).sum();
        Results {
            online: counts.of(Status::Online),
            error: counts.of(Status::Error) + counts.of(Status::Degraded),
            offline: counts.of(Status::Offline),
            inactive: counts.of(Status::Inactive),
            updating,
            other: updating,
            unenrolled: counts.of(Status::Unenrolled),
            orphaned: counts.of(Status::Orphaned),
            uninstalled: counts.of(Status::Uninstalled),
            active,
            all: counts.all(),
            events: 0,
        }
    }
}

/// One, several, or several with commas between them.
fn several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let given = Vec::<String>::deserialize(deserializer)?;
    let values = given.iter().flat_map(|values| values.split(',')).map(str::trim);
    Ok(values.filter(|value| !value.is_empty()).map(str::to_owned).collect())
}

/// `GET /agent_status`
pub(super) async fn counts(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<StatusQuery>,
) -> Result<Json<StatusAnswer>, ApiError> {
    let query = management.agent_query("request query.kuery", asked.kuery.as_deref())?;
    let ids: BTreeSet<String> = asked.policy_ids.into_iter().chain(asked.policy_id).collect();
    let policies = narrowed(&caller, (!ids.is_empty()).then_some(ids));
    let (agents, moment) = (&management.fleet.agents, management.fleet.moment());
    let counts = if query.is_all() {
        agents.count(policies.as_ref(), &moment)
    } else {
        let filter = Filter { policies: policies.as_ref(), ..Filter::new(&query) };
        agents.facets(&filter, &moment).statuses
    };
    Ok(Json(StatusAnswer { results: Results::new(&counts) }))
}

/// Whose data, and of what.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct DataQuery {
    /// The agents.
    #[serde(deserialize_with = "several")]
    agents_ids: Vec<String>,
    /// Data of this package only.
    pkg_name: Option<String>,
    /// In this version.
    pkg_version: Option<String>,
    /// Whether to show some of it.
    preview_data: Option<bool>,
}

/// The agents whose data was seen.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct DataAnswer {
    items: Vec<BTreeMap<String, Value>>,
    data_preview: Vec<Value>,
}

/// `GET /agent_status/data`. Agents' data goes to their outputs, past this server: of none of them has it seen
/// any.
pub(super) async fn data(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<DataQuery>,
) -> Result<Json<DataAnswer>, ApiError> {
    if asked.agents_ids.is_empty() {
        return Err(ApiError::BadRequest("[request query.agentsIds]: ids of agents are needed".to_owned()));
    }
    for id in &asked.agents_ids {
        management.find_agent(id, &caller, fleet_access::rights::Right::ReadAgents).await?;
    }
    Ok(Json(DataAnswer { items: Vec::new(), data_preview: Vec::new() }))
}
