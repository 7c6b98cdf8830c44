//! `/api/fleet/package_policies`: integrations as people set them up.
//!
//! | module | what |
//! |---|---|
//! | `read` | what is sent, in either shape, made whole and checked |
//! | `save` | keeping it, and shipping the agent policies that have it |
//! | `remove` | removing it |
//! | `upgrade` | bringing it to another version of its package |
//! | `together` | what becomes of it when its agent policy is copied, taken back or removed |

mod read;
mod remove;
mod save;
mod together;
mod upgrade;

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_integration::{PackagePolicy, SimplifiedPolicy, shapes};
use fleet_store::Versioned;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Management;
use super::caller::Caller;
use super::catalogue::{Collected, DocumentPage, Item, Items, READ_TOGETHER};
use super::error::ApiError;
use super::input::{Input, Params, several};
use super::routes::{Routes, delete, get, post, put};

/// What the audit trail calls an integration.
const KIND: &str = "package-policy";

type Answer<T> = Result<Json<T>, ApiError>;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadPolicies, WritePolicies};
    let all = "/api/fleet/package_policies";
    routes
        .add(
            get(all, ReadPolicies, "Lists integrations")
                .query::<DocumentPage>()
                .query::<ListQuery>()
                .answers::<Items<Value>>()
                .scoped(),
            list,
        )
        .add(
            post(all, WritePolicies, "Adds an integration to agent policies")
                .query::<Shape>()
                .body::<Sent>()
                .ignores(&read::ACCEPTED)
                .answers::<Item<Value>>()
                .scoped(),
            save::create,
        )
        .add(
            post("/api/fleet/package_policies/_bulk_get", ReadPolicies, "Shows several integrations")
                .query::<Shape>()
                .body::<BulkGet>()
                .answers::<BulkItems>()
                .scoped()
                .reads(),
            bulk_get,
        )
        .add(
            post("/api/fleet/package_policies/delete", WritePolicies, "Removes several integrations")
                .body::<remove::Remove>()
                .answers::<Vec<remove::Removed>>()
                .scoped(),
            remove::several,
        )
        .add(
            post(
                "/api/fleet/package_policies/upgrade",
                WritePolicies,
                "Upgrades integrations to their packages",
            )
            .body::<upgrade::Upgrade>()
            .answers::<Vec<Value>>()
            .scoped(),
            upgrade::upgrade,
        )
        .add(
            post("/api/fleet/package_policies/upgrade/dryrun", ReadPolicies, "What an upgrade would change")
                .body::<upgrade::Upgrade>()
                .answers::<Vec<Value>>()
                .scoped()
                .reads(),
            upgrade::dry_run,
        )
        .group(one_by_one)
}

fn one_by_one(routes: Routes) -> Routes {
    use Right::{ReadPolicies, WritePolicies};
    let one = "/api/fleet/package_policies/{id}";
    routes
        .add(
            get(one, ReadPolicies, "Shows an integration").query::<Shape>().answers::<Item<Value>>().scoped(),
            show,
        )
        .add(
            put(one, WritePolicies, "Changes an integration")
                .query::<Shape>()
                .body::<Sent>()
                .ignores(&read::ACCEPTED)
                .answers::<Item<Value>>()
                .scoped(),
            save::update,
        )
        .add(
            delete(one, WritePolicies, "Removes an integration")
                .query::<remove::Force>()
                .answers::<remove::Id>()
                .scoped(),
            remove::one,
        )
}

/// An integration as it is sent, in either shape.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "PackagePolicyBody")]
#[expect(dead_code, reason = "it says what there is; what is sent is read once its package is known")]
enum Sent {
    Full(PackagePolicy),
    Simplified(SimplifiedPolicy),
}

/// In which shape integrations are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Inputs as a map, values alone.
    Simplified,
    /// Inputs as a list, with everything.
    #[default]
    Legacy,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Shape {
    format: Format,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct ListQuery {
    format: Format,
    with_agent_count: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct BulkGet {
    ids: Vec<String>,
    /// Leaves out what is not there, instead of refusing.
    ignore_missing: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct BulkItems {
    #[schemars(with = "Vec<Value>")]
    items: Vec<Box<RawValue>>,
}

impl Caller {
    /// Whether they have a right on one of these policies. What no policy has is for those who have it everywhere.
    fn may_on_any<T: AsRef<str>>(&self, right: Right, policy_ids: &[T]) -> bool {
        self.principal.allows(right) || policy_ids.iter().any(|id| self.may_on(right, id.as_ref()))
    }

    /// Asks for a right on all of these policies.
    fn require_on_all(&self, right: Right, policy_ids: &[String]) -> Result<(), ApiError> {
        if policy_ids.is_empty() && !self.principal.allows(right) {
            return Err(ApiError::Forbidden(format!("the right {right} is needed")));
        }
        policy_ids.iter().try_for_each(|id| self.require_on(right, id))
    }
}

impl Management {
    /// The same, if the caller has a right on all policies that have it. Who may not even see it is told that there
    /// is none.
    async fn find_integration_for(
        &self,
        id: &str,
        right: Right,
        caller: &Caller,
    ) -> Result<Versioned<PackagePolicy>, ApiError> {
        let found = self.find_integration(id).await?;
        if !caller.may_on_any(Right::ReadPolicies, &found.value.policy_ids) {
            return Err(ApiError::not_found("Package policy", id));
        }
        caller.require_on_all(right, &found.value.policy_ids)?;
        Ok(found)
    }

    async fn find_integration(&self, id: &str) -> Result<Versioned<PackagePolicy>, ApiError> {
        let found = self.fleet.integrations.documents.get(id).await?;
        found.ok_or_else(|| ApiError::not_found("Package policy", id))
    }

    /// How many agents have one of these policies.
    fn count_agents_of_any(&self, policy_ids: &[String]) -> usize {
        let policy_ids: HashSet<&str> = policy_ids.iter().map(String::as_str).collect();
        let mut count = 0;
        self.fleet.agents.for_each(|agent| {
            count += usize::from(agent.agent.active && policy_ids.contains(&*agent.agent.policy_id));
        });
        count
    }
}

/// An integration as it is shown.
fn shown(policy: &PackagePolicy, format: Format) -> Value {
    match format {
        Format::Legacy => json!(policy),
        Format::Simplified => json!(shapes::simplified(policy)),
    }
}

async fn list(
    State(management): State<Management>,
    caller: Caller,
    Params(page): Params<DocumentPage>,
    Params(query): Params<ListQuery>,
) -> Answer<Items<Box<RawValue>>> {
    let integrations = &management.fleet.integrations;
    let all = integrations.rows.all();
    let rows: Vec<_> = all
        .values()
        .map(|found| &found.value)
        .filter(|row| caller.may_on_any(Right::ReadPolicies, &row.policy_ids))
        .collect();
    let listed = page.select(rows)?;
    let ids: Vec<String> = listed.items.iter().map(|row| row.id.to_string()).collect();
    let with_agents = query.with_agent_count.as_deref() == Some("true");
    let mut items = Collected::new("request query.perPage");
    for ids in ids.chunks(READ_TOGETHER) {
        for found in integrations.documents.get_many(ids).await?.into_iter().flatten() {
            let mut item = shown(&found.value, query.format);
            if with_agents {
                item["agents"] = management.count_agents_of_any(&found.value.policy_ids).into();
            }
            items.add(&item)?;
        }
    }
    let items = items.items();
    Ok(Json(Items { items, total: listed.total, page: listed.page, per_page: listed.per_page }))
}

async fn show(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Params(Shape { format }): Params<Shape>,
) -> Answer<Item<Value>> {
    let found = management.find_integration(&id).await?;
    if !caller.may_on_any(Right::ReadPolicies, &found.value.policy_ids) {
        return Err(ApiError::not_found("Package policy", &id));
    }
    Ok(Json(Item { item: shown(&found.value, format) }))
}

async fn bulk_get(
    State(management): State<Management>,
    caller: Caller,
    Params(Shape { format }): Params<Shape>,
    Input(asked): Input<BulkGet>,
) -> Answer<BulkItems> {
    let ids = several("ids", asked.ids)?;
    let mut items = Collected::new("request body.ids");
    for ids in ids.chunks(READ_TOGETHER) {
        let found = management.fleet.integrations.documents.get_many(ids).await?;
        for (id, found) in ids.iter().zip(found) {
            match found.filter(|found| caller.may_on_any(Right::ReadPolicies, &found.value.policy_ids)) {
                Some(found) => items.add(&shown(&found.value, format))?,
                None if asked.ignore_missing == Some(true) => {}
                None => return Err(ApiError::not_found("Package policy", id)),
            }
        }
    }
    Ok(Json(BulkItems { items: items.items() }))
}
