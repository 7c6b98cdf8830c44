//! `/api/fleet/agent_policies`
//!
//! | module | what |
//! |---|---|
//! | `edit` | making, changing, copying and removing a policy |
//! | `deployed` | what agents get of it |
//! | `outputs` | where its agents send to, and which versions they run |
//! | `revisions` | what it was: list, compare, go back |

mod deployed;
mod edit;
mod outputs;
mod revisions;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::documents::AgentPolicy;
use fleet_store::Versioned;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Management;
use super::caller::Caller;
use super::catalogue::{Collected, DocumentPage, Item, Items};
use super::error::ApiError;
use super::input::{Input, Params, several};
use super::routes::{Routes, get, post, put};

pub(super) use edit::ensure_first;

/// What the audit trail calls a policy.
const KIND: &str = "agent-policy";

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadPolicies, WritePolicies};
    let (all, one) = ("/api/fleet/agent_policies", "/api/fleet/agent_policies/{id}");
    routes
        .add(
            get(all, ReadPolicies, "Lists agent policies")
                .query::<DocumentPage>()
                .query::<ListQuery>()
                .answers::<Items<Shown>>()
                .scoped(),
            list,
        )
        .add(
            post(all, WritePolicies, "Makes an agent policy")
                .query::<edit::CreateQuery>()
                .body::<AgentPolicy>()
                .ignores(&edit::IGNORED)
                .answers::<Item<Shown>>(),
            edit::create,
        )
        .add(
            post("/api/fleet/agent_policies/_bulk_get", ReadPolicies, "Shows several agent policies")
                .body::<BulkGet>()
                .answers::<Items<Shown>>()
                .scoped()
                .reads(),
            bulk_get,
        )
        .add(
            post("/api/fleet/agent_policies/delete", WritePolicies, "Removes an agent policy")
                .body::<edit::Remove>()
                .answers::<edit::Removed>()
                .scoped(),
            edit::remove,
        )
        .add(get(one, ReadPolicies, "Shows an agent policy").answers::<Item<Shown>>().scoped(), show)
        .add(
            put(one, WritePolicies, "Changes an agent policy")
                .body::<AgentPolicy>()
                .ignores(&edit::IGNORED)
                .answers::<Item<Shown>>()
                .scoped(),
            edit::update,
        )
        .add(
            post(
                "/api/fleet/agent_policies/{id}/copy",
                WritePolicies,
                "Copies an agent policy with its integrations",
            )
            .body::<edit::Copy>()
            .answers::<Item<Shown>>(),
            edit::copy,
        )
        .group(deployed::routes)
        .group(outputs::routes)
        .group(revisions::routes)
}

type Answer<T> = Result<Json<T>, ApiError>;

/// A policy as it is shown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    #[serde(flatten)]
    policy: AgentPolicy,
    status: &'static str,
    schema_version: &'static str,
    /// Agents that have it.
    agents: usize,
    /// Agents that have it and do not run as root.
    unprivileged_agents: usize,
    /// Its integrations, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    package_policies: Option<Vec<Value>>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct ListQuery {
    /// With the integrations of each.
    full: Option<bool>,
    no_agent_count: Option<bool>,
    with_agent_count: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct BulkGet {
    ids: Vec<String>,
    full: Option<bool>,
    /// Leaves out what is not there, instead of refusing.
    ignore_missing: Option<bool>,
}

impl Management {
    pub(super) async fn find_policy(&self, id: &str) -> Result<Versioned<AgentPolicy>, ApiError> {
        let found = self.deployer.policies().read(id).await?;
        found.map(Arc::unwrap_or_clone).ok_or_else(|| ApiError::not_found("Agent policy", id))
    }

    /// How many agents have each policy: all of them, and those that do not run as root.
    fn count_agents(&self) -> HashMap<Arc<str>, usize> {
        let assigned = self.fleet.agents.assigned().into_iter();
        assigned.map(|(policy, agents)| (policy, usize::try_from(agents).unwrap_or(usize::MAX))).collect()
    }

    fn count_agents_of(&self, policy_id: &str) -> usize {
        usize::try_from(self.fleet.agents.assigned_to(policy_id)).unwrap_or(usize::MAX)
    }

    async fn shown(&self, policy: AgentPolicy, agents: usize, full: bool) -> Result<Shown, ApiError> {
        let package_policies = if full {
            let found = self.deployer.integrations_of(&policy).await?;
            Some(found.into_iter().map(|one| one.document).collect())
        } else {
            None
        };
        Ok(Shown {
            // Their ids are shown as what they are, or not at all.
            policy: AgentPolicy { package_policies: Vec::new(), ..policy },
            status: "active",
            schema_version: "1.1.1",
            agents,
            unprivileged_agents: 0,
            package_policies,
        })
    }
}

async fn list(
    State(management): State<Management>,
    caller: Caller,
    Params(page): Params<DocumentPage>,
    Params(query): Params<ListQuery>,
) -> Answer<Items<Box<RawValue>>> {
    let all = management.deployer.policies().all();
    let seen = all.values().filter(|policy| caller.may_on(Right::ReadPolicies, &policy.id));
    let listed = page.select(seen.map(|policy| &policy.value).collect())?;
    let counts = management.count_agents();
    let mut items = Collected::new("request query.perPage");
    for policy in listed.items {
        let agents = counts.get(policy.id.as_str()).copied().unwrap_or(0);
        items.add(&management.shown(policy.clone(), agents, query.full == Some(true)).await?)?;
    }
    let items = items.items();
    Ok(Json(Items { items, total: listed.total, page: listed.page, per_page: listed.per_page }))
}

async fn bulk_get(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkGet>,
) -> Answer<Items<Box<RawValue>>> {
    let counts = management.count_agents();
    let ids = several("ids", asked.ids)?;
    let found = management.deployer.policies().read_many(&ids).await?;
    let mut items = Collected::new("request body.ids");
    for (id, policy) in ids.iter().zip(found) {
        let policy = policy.filter(|_| caller.may_on(Right::ReadPolicies, id));
        match policy {
            Some(policy) => {
                let agents = counts.get(id.as_str()).copied().unwrap_or(0);
                items
                    .add(&management.shown(policy.value.clone(), agents, asked.full == Some(true)).await?)?;
            }
            None if asked.ignore_missing == Some(true) => {}
            None => return Err(ApiError::not_found("Agent policy", id)),
        }
    }
    let items = items.items();
    let total = items.len();
    Ok(Json(Items { items, total, page: 1, per_page: total }))
}

async fn show(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Item<Shown>> {
    caller.require_on(Right::ReadPolicies, &id)?;
    let policy = management.find_policy(&id).await?.value;
    let agents = management.count_agents_of(&id);
    Ok(Json(Item { item: management.shown(policy, agents, true).await? }))
}
