//! Which outputs the agents of a policy send to, and which versions they run.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::documents::{AgentPolicy, Output};
use fleet_policy::settings::Snapshot;
use fleet_store::Versioned;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, Item};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::input::{self, Input};
use crate::management::routes::{Routes, get, post};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(
            post("/api/fleet/agent_policies/outputs", Right::ReadPolicies, "The outputs of several policies")
                .body::<Ids>()
                .answers::<Several>()
                .scoped()
                .reads(),
            several,
        )
        .add(
            get("/api/fleet/agent_policies/{id}/outputs", Right::ReadPolicies, "The outputs of a policy")
                .answers::<Item<Outputs>>()
                .scoped(),
            one,
        )
        .add(
            get(
                "/api/fleet/agent_policies/{id}/auto_upgrade_agents_status",
                Right::ReadPolicies,
                "Which versions the agents of a policy run",
            )
            .answers::<Versions>()
            .scoped(),
            versions,
        )
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Ids {
    ids: Vec<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Several {
    items: Vec<Outputs>,
}

/// An output by its name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Named {
    id: String,
    name: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Used {
    output: Named,
}

/// An integration that sends elsewhere than its policy.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Own {
    id: String,
    integration_policy_name: String,
    name: String,
    pkg_name: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Data {
    output: Named,
    integrations: Vec<Own>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Outputs {
    agent_policy_id: String,
    monitoring: Used,
    data: Data,
}

/// How many agents run a version, and how many are, or were, on their way there.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: String,
    agents: usize,
    /// Agents that were to become this version, and could not.
    failed_upgrade_agents: usize,
    /// Agents that are becoming this version.
    in_progress_upgrade_agents: usize,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Versions {
    current_versions: Vec<Version>,
    total_agents: usize,
}

fn named(known: &Snapshot, id: Option<&str>, instead: Option<&Versioned<Output>>) -> Named {
    let found = id.and_then(|id| known.outputs.get(id)).map(Arc::as_ref).or(instead);
    found.map_or_else(
        || Named { id: String::new(), name: String::new() },
        |output| Named { id: output.id.clone(), name: output.value.name.clone() },
    )
}

impl Management {
    fn outputs_of(&self, policy: &AgentPolicy) -> Outputs {
        let known = self.fleet.settings.snapshot();
        let rows = self.fleet.integrations.rows.all();
        let integrations = policy.package_policies.iter().filter_map(|id| {
            let row = &rows.get(id)?.value;
            let output = known.outputs.get(row.output_id.as_deref()?)?;
            Some(Own {
                id: output.id.clone(),
                integration_policy_name: row.name.to_string(),
                name: output.value.name.clone(),
                pkg_name: row.package.as_ref().map(|package| package.name.to_string()).unwrap_or_default(),
            })
        });
        let monitoring = known.default_monitoring_output().or_else(|| known.default_output());
        Outputs {
            agent_policy_id: policy.id.clone(),
            monitoring: Used { output: named(&known, policy.monitoring_output_id.as_deref(), monitoring) },
            data: Data {
                output: named(&known, policy.data_output_id.as_deref(), known.default_output()),
                integrations: integrations.collect(),
            },
        }
    }
}

async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Item<Outputs>> {
    caller.require_on(Right::ReadPolicies, &id)?;
    let policy = management.find_policy(&id).await?;
    Ok(Json(Item { item: management.outputs_of(&policy.value) }))
}

async fn several(
    State(management): State<Management>,
    caller: Caller,
    Input(Ids { ids }): Input<Ids>,
) -> Answer<Several> {
    let ids = input::several("ids", ids)?;
    let found = management.deployer.policies().read_many(&ids).await?;
    let seen = found.iter().flatten().filter(|policy| caller.may_on(Right::ReadPolicies, &policy.id));
    Ok(Json(Several { items: seen.map(|policy| management.outputs_of(&policy.value)).collect() }))
}

async fn versions(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Versions> {
    caller.require_on(Right::ReadPolicies, &id)?;
    management.find_policy(&id).await?;
    let mut counts: BTreeMap<String, Version> = BTreeMap::new();
    let mut total_agents = 0;
    management.fleet.agents.for_each(|agent| {
        if !agent.agent.active || *agent.agent.policy_id != *id {
            return;
        }
        total_agents += 1;
        counts.entry(agent.agent.agent.version.to_string()).or_default().agents += 1;
        if let Some(details) = &agent.state.upgrade_details {
            let target = counts.entry(details.target_version.clone()).or_default();
            match details.state.as_str() {
                "UPG_FAILED" => target.failed_upgrade_agents += 1,
                _ => target.in_progress_upgrade_agents += 1,
            }
        }
    });
    let versions = counts.into_iter().map(|(version, counted)| Version { version, ..counted });
    Ok(Json(Versions { current_versions: versions.collect(), total_agents }))
}
