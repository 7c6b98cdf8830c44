//! How many agents are how.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right;
use fleet_policy::agents::{Counts, Filter};
use fleet_policy::status::Status;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::narrowed;
use crate::engines::{Looked, NotSeen};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Params;
use crate::packages::summary::DataStreamSummary;

/// The most agents whose data is asked about at a time.
const MOST_WITH_DATA: usize = 1000;

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

/// Whose data is there.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct DataAnswer {
    /// Of each agent, by its id.
    items: Vec<BTreeMap<String, HasData>>,
    /// Some of the newest documents, if that was asked for.
    data_preview: Vec<Value>,
    /// The outputs whose engines could not be asked, and why.
    #[serde(rename = "not_seen", skip_serializing_if = "Vec::is_empty")]
    not_seen: Vec<NotSeen>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct HasData {
    data: bool,
}

/// `GET /agent_status/data`. Agents' data goes to their outputs, past this server: these are asked.
pub(super) async fn data(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<DataQuery>,
) -> Result<Json<DataAnswer>, ApiError> {
    let wrong = |text: &str| Err(ApiError::BadRequest(format!("[request query.agentsIds]: {text}")));
    if asked.agents_ids.is_empty() {
        return wrong("ids of agents are needed");
    }
    if asked.agents_ids.len() > MOST_WITH_DATA {
        return wrong(&format!("at most {MOST_WITH_DATA} ids at a time"));
    }
    let mut agents = BTreeMap::new();
    for id in &asked.agents_ids {
        let agent = management.find_agent(id, &caller, Right::ReadAgents).await?;
        agents.insert(id.clone(), agent.agent.policy_id.to_string());
    }
    let patterns = patterns(&management, &asked).await?;
    let looked = Looked { agents, patterns, preview: asked.preview_data == Some(true) };
    let (fleet, ids) = (&management.fleet, looked.agents.keys().cloned().collect::<Vec<_>>());
    let seen = fleet.engines.arrived(fleet, looked).await;
    let has = |id: &str| seen.found.iter().any(|(_, arrived)| arrived.agents.contains(id));
    let items = ids.into_iter().map(|id| {
        let data = has(&id);
        BTreeMap::from([(id, HasData { data })])
    });
    let items = items.collect();
    let data_preview = seen.found.into_iter().flat_map(|(_, arrived)| arrived.preview).collect();
    Ok(Json(DataAnswer { items, data_preview, not_seen: seen.not_seen }))
}

/// Where the data of a package lies; nothing: anywhere.
async fn patterns(management: &Management, asked: &DataQuery) -> Result<Vec<String>, ApiError> {
    let Some(name) = asked.pkg_name.as_deref().filter(|name| !name.is_empty()) else { return Ok(Vec::new()) };
    let packages = &management.fleet.packages;
    let version = match asked.pkg_version.clone().filter(|version| !version.is_empty()) {
        Some(version) => Some(version),
        None => packages.installed(name).await?.map(|record| record.version),
    };
    let summary = version.and_then(|version| packages.summary(name, &version));
    let summary = summary.ok_or_else(|| ApiError::not_found("Package", name))?;
    // The second: where a dataset is the beginning of others.
    let of = |stream: &DataStreamSummary| {
        let name = format!("{}-{}", stream.kind, stream.dataset);
        [format!("{name}-*"), format!("{name}.*-*")]
    };
    Ok(summary.data_streams.iter().flat_map(of).collect())
}
