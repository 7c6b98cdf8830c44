//! What agents have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fleet_policy::agents::{Facets, Filter};
use fleet_policy::query::AgentQuery;
use fleet_policy::version::Version;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::narrowed;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Params;

/// The facets that there are.
const FACETS: [&str; 5] = ["policy_id", "status", "version", "tags", "platform"];

/// Which agents.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct TagsQuery {
    /// A query such as `policy_id:web`.
    kuery: Option<String>,
    /// Also agents that are unenrolled, inactive or uninstalled.
    show_inactive: Option<bool>,
}

/// Tags, in their order.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct TagsAnswer {
    items: Vec<Arc<str>>,
}

/// Which agents, and what of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct FacetsQuery {
    /// Any of `policy_id`, `status`, `version`, `tags`, `platform`, with commas between them; all if there is
    /// none.
    fields: Option<String>,
    /// A query such as `policy_id:web`.
    kuery: Option<String>,
    /// Also agents that are unenrolled, inactive or uninstalled.
    show_inactive: Option<bool>,
}

/// How many agents have which value, by facet.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct FacetsAnswer {
    item: BTreeMap<String, BTreeMap<Arc<str>, u64>>,
}

/// Versions, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct VersionsAnswer {
    items: Vec<String>,
}

impl Management {
    fn facets(&self, caller: &Caller, query: &AgentQuery, with_inactive: bool) -> Facets {
        let policies = narrowed(caller, None);
        let filter = Filter { with_inactive, policies: policies.as_ref(), ..Filter::new(query) };
        self.fleet.agents.facets(&filter, &self.fleet.moment())
    }
}

/// `GET /agents/tags`
pub(super) async fn tags(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<TagsQuery>,
) -> Result<Json<TagsAnswer>, ApiError> {
    let query = management.agent_query("request query.kuery", asked.kuery.as_deref())?;
    let facets = management.facets(&caller, &query, asked.show_inactive.unwrap_or(false));
    Ok(Json(TagsAnswer { items: facets.tags().into_keys().collect() }))
}

/// `GET /agents/facets`
pub(super) async fn facets(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<FacetsQuery>,
) -> Result<Json<FacetsAnswer>, ApiError> {
    let query = management.agent_query("request query.kuery", asked.kuery.as_deref())?;
    let all = FACETS.join(",");
    let fields = asked.fields.as_deref().filter(|fields| !fields.is_empty()).unwrap_or(&all);
    let fields: BTreeSet<&str> = fields.split(',').map(str::trim).collect();
    if let Some(unknown) = fields.iter().find(|field| !FACETS.contains(field)) {
        let known = FACETS.join(", ");
        let text = format!("[request query.fields]: agents have no facet {unknown:?}: one of {known}");
        return Err(ApiError::BadRequest(text));
    }
    let found = management.facets(&caller, &query, asked.show_inactive.unwrap_or(false));
    let item = fields.into_iter().map(|field| {
        let counts = match field {
            "policy_id" => found.policies(),
            "version" => found.versions(),
            "tags" => found.tags(),
            "platform" => found.platforms(),
            _ => {
                let counts = found.statuses.iter().filter(|(_, count)| *count > 0);
                counts.map(|(status, count)| (status.as_str().into(), count)).collect()
            }
        };
        (field.to_owned(), counts)
    });
    Ok(Json(FacetsAnswer { item: item.collect() }))
}

/// `GET /agents/available_versions`: the server's own, and older ones that agents of it have.
pub(super) async fn available_versions(
    State(management): State<Management>,
    caller: Caller,
) -> Result<Json<VersionsAnswer>, ApiError> {
    let found = management.facets(&caller, &AgentQuery::all(), true);
    let own = Version::parse(&management.version);
    let mut versions: BTreeMap<Version, String> = BTreeMap::new();
    for text in found.versions().keys() {
        if let Some(version) = Version::parse(text).filter(|version| own.is_none_or(|own| *version <= own)) {
            versions.insert(version, version.to_string());
        }
    }
    if let Some(own) = own {
        versions.insert(own, own.to_string());
    }
    Ok(Json(VersionsAnswer { items: versions.into_values().rev().collect() }))
}
