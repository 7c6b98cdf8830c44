//! What a policy was: list, compare, go back.

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::diff::{Difference, differences};
use fleet_policy::documents::AgentPolicy;
use fleet_policy::timestamp::Timestamp;
use fleet_store::LeaseId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Item, KIND, Shown};
use crate::claims::Taken;
use crate::deployment::Announced;
use crate::deployment::revisions::{self, Revision};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::catalogue::{DocumentPage, Items};
use crate::management::error::ApiError;
use crate::management::input::Params;
use crate::management::names::Named;
use crate::management::routes::{Routes, get, post};

/// Fields that each revision has of its own: that they differ says nothing.
const OWN: [&str; 3] = ["revision", "updated_at", "updated_by"];

pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadPolicies, WritePolicies};
    let (all, one) =
        ("/api/fleet/agent_policies/{id}/revisions", "/api/fleet/agent_policies/{id}/revisions/{revision}");
    routes
        .add(
            get(all, ReadPolicies, "Lists the revisions of a policy, newest first")
                .query::<DocumentPage>()
                .answers::<Items<Summary>>()
                .scoped(),
            list,
        )
        .add(get(one, ReadPolicies, "Shows a revision").answers::<Item<Whole>>().scoped(), show)
        .add(
            get(
                "/api/fleet/agent_policies/{id}/revisions/{revision}/diff",
                ReadPolicies,
                "Compares a revision with another, or with the one before it",
            )
            .query::<Against>()
            .answers::<Item<Compared>>()
            .scoped(),
            compare,
        )
        .add(
            post(
                "/api/fleet/agent_policies/{id}/revisions/{revision}/rollback",
                WritePolicies,
                "Makes a new revision that is as an old one was",
            )
            .query::<Force>()
            .answers::<Item<Shown>>()
            .scoped(),
            roll_back,
        )
}

#[derive(Debug, Serialize, JsonSchema)]
struct Summary {
    revision: u64,
    #[schemars(with = "String")]
    updated_at: Timestamp,
    updated_by: String,
    /// How many integrations it has.
    integrations: usize,
}

/// A revision as it was.
#[derive(Debug, Serialize, JsonSchema)]
struct Whole {
    revision: u64,
    #[schemars(with = "String")]
    updated_at: Timestamp,
    updated_by: String,
    agent_policy: AgentPolicy,
    package_policies: Vec<Value>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Against {
    /// The other revision; absent: the one before.
    against: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Force {
    /// Also if the policy is managed.
    force: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Compared {
    from: u64,
    to: u64,
    changes: Vec<Difference>,
}

async fn whole(management: &Management, id: &str, revision: u64) -> Result<(Revision, Vec<Value>), ApiError> {
    let found = revisions::get(&management.fleet.store, id, revision).await?;
    found.ok_or_else(|| ApiError::not_found("Revision", &format!("{revision} of agent policy {id}")))
}

async fn list(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Params(page): Params<DocumentPage>,
) -> Answer<Items<Summary>> {
    caller.require_on(Right::ReadPolicies, &id)?;
    management.find_policy(&id).await?;
    let found = revisions::list(&management.fleet.store, &id).await?;
    let summaries = found.into_iter().map(|revision| Summary {
        revision: revision.revision,
        updated_at: revision.updated_at,
        updated_by: revision.updated_by,
        integrations: revision.package_policies.len(),
    });
    Ok(Json(page.select(summaries.collect())?))
}

async fn show(
    State(management): State<Management>,
    caller: Caller,
    Path((id, revision)): Path<(String, u64)>,
) -> Answer<Item<Whole>> {
    caller.require_on(Right::ReadPolicies, &id)?;
    let (revision, package_policies) = whole(&management, &id, revision).await?;
    Ok(Json(Item {
        item: Whole {
            revision: revision.revision,
            updated_at: revision.updated_at,
            updated_by: revision.updated_by,
            agent_policy: revision.agent_policy,
            package_policies,
        },
    }))
}

/// What people may have changed of a revision.
fn comparable(revision: &Revision, mut integrations: Vec<Value>) -> Value {
    let mut policy = json!(revision.agent_policy);
    for document in integrations.iter_mut().chain([&mut policy]) {
        if let Value::Object(fields) = document {
            fields.retain(|name, _| !OWN.contains(&name.as_str()));
        }
    }
    json!({"agent_policy": policy, "package_policies": integrations})
}

async fn compare(
    State(management): State<Management>,
    caller: Caller,
    Path((id, revision)): Path<(String, u64)>,
    Params(Against { against }): Params<Against>,
) -> Answer<Item<Compared>> {
    caller.require_on(Right::ReadPolicies, &id)?;
    let (to, integrations) = whole(&management, &id, revision).await?;
    let after = comparable(&to, integrations);
    let from = against.unwrap_or(revision.saturating_sub(1));
    let before = if from == 0 {
        Value::Object(serde_json::Map::new())
    } else {
        let (from, integrations) = whole(&management, &id, from).await?;
        comparable(&from, integrations)
    };
    Ok(Json(Item { item: Compared { from, to: revision, changes: differences(&before, &after) } }))
}

async fn roll_back(
    State(management): State<Management>,
    caller: Caller,
    Path((id, revision)): Path<(String, u64)>,
    Params(Force { force }): Params<Force>,
) -> Answer<Item<Shown>> {
    caller.require_on(Right::WritePolicies, &id)?;
    let before = management.find_policy(&id).await?.value;
    super::edit::require_unmanaged(&before, force)?;
    let (old, integrations) = whole(&management, &id, revision).await?;
    management.require_rights_to_restore(&before, &integrations, &caller).await?;
    management.check_restored(revision, &old.agent_policy, &integrations).await?;
    let integration_names = management.names_to_restore(&integrations).await?;
    let mut names: Vec<(Named, &str, &str)> =
        integration_names.iter().map(|(name, id)| (Named::Integration, &**name, &**id)).collect();
    let is_renamed = old.agent_policy.name != before.name;
    if is_renamed {
        names.push((Named::AgentPolicy, &old.agent_policy.name, &id));
    }
    let taken = if names.is_empty() { None } else { Some(management.take_names(&names).await?) };
    let lease = taken.as_ref().map(Taken::lease);
    let restored = management.take_back(&id, old, integrations, lease, &caller).await;
    match (taken, &restored) {
        (Some(taken), Ok(_)) => taken.settle().await,
        // How far it came is unknown: whoever wants one of the names finds out.
        (Some(_), Err(_)) | (None, _) => {}
    }
    let policy = restored?;
    if is_renamed {
        management.release_name(Named::AgentPolicy, &before.name, &id).await;
    }
    caller.changed(KIND, &id, Some(json!(before)), Some(json!(policy)));
    let agents = management.count_agents_of(&id);
    Ok(Json(Item { item: management.shown(policy, agents, true).await? }))
}

impl Management {
    /// Makes a policy and its integrations what they were, and ships it.
    async fn take_back(
        &self,
        id: &str,
        old: Revision,
        integrations: Vec<Value>,
        lease: Option<LeaseId>,
        caller: &Caller,
    ) -> Result<AgentPolicy, ApiError> {
        let listed = self.restore_integrations(&old, integrations, lease, caller).await?;
        let wanted = old.agent_policy;
        let announced = self.deployer.announce_while_held(id, caller.name(), lease, |policy| {
            let restored = AgentPolicy {
                revision: policy.revision,
                updated_at: policy.updated_at,
                updated_by: policy.updated_by.clone(),
                package_policies: listed.ids.clone(),
                ..wanted.clone()
            };
            let differs = listed.changed || *policy != restored;
            *policy = restored;
            differs
        });
        let announced = announced.await?;
        if let Announced::Next(policy) = &announced {
            self.deployer.ship(policy).await?;
        }
        Ok(announced.into_policy())
    }
}
