//! `/api/fleet/outputs`: where agents send data.

mod check;

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::documents::{AgentPolicy, Output, UnhealthyReason};
use fleet_policy::settings::{Settings, Snapshot, Table};
use fleet_policy::timestamp::Timestamp;
use fleet_store::Versioned;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::routes::{Routes, get};
use super::settings::object::{self, Flag, Object};
use super::settings::uses::{Touched, forget};

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let paths = ("/api/fleet/outputs", "/api/fleet/outputs/{id}");
    let summaries = [
        "Lists outputs",
        "Shows an output",
        "Makes an output",
        "Changes an output",
        "Removes an output that nobody uses",
    ];
    object::routes::<Output>(routes, paths, summaries).add(
        get("/api/fleet/outputs/{id}/health", Right::ReadSettings, "What agents say about an output")
            .answers::<Health>(),
        health,
    )
}

impl Object for Output {
    const KIND: &'static str = "output";
    const TITLE: &'static str = "Output";
    const FLAGS: &'static [Flag<Output>] = &[
        Flag {
            field: "is_default",
            get: |output| output.is_default,
            set: |output, is_it| output.is_default = is_it,
            place: |defaults| &mut defaults.output,
        },
        Flag {
            field: "is_default_monitoring",
            get: |output| output.is_default_monitoring,
            set: |output, is_it| output.is_default_monitoring = is_it,
            place: |defaults| &mut defaults.monitoring_output,
        },
    ];
    const IGNORED: &'static [&'static str] = &[
        "is_preconfigured",
        "secrets.password.hash",
        "secrets.service_token.hash",
        "secrets.kibana_api_key.hash",
        "secrets.ssl.key.hash",
    ];

    fn table(settings: &Settings) -> &Table<Output> {
        &settings.outputs
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn set_id(&mut self, id: String) {
        self.id = id;
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn proxy_id(&self) -> Option<&str> {
        self.proxy_id.as_deref()
    }

    fn base(before: Map<String, Value>, body: &Map<String, Value>) -> Map<String, Value> {
        check::base(before, body)
    }

    fn check(&mut self, before: Option<&Output>, body: &Map<String, Value>) -> Result<(), ApiError> {
        check::check(self, before, body)
    }

    async fn detach(management: &Management, caller: &Caller, id: &str) -> Result<(), ApiError> {
        management.forget_output_in_integrations(caller, id).await?;
        let forget = |policy: &mut AgentPolicy| {
            forget(&mut policy.data_output_id, id) | forget(&mut policy.monitoring_output_id, id)
        };
        management.forget_in_policies(caller, forget).await
    }

    fn touched(&self, _: &Management) -> Touched {
        Touched {
            outputs: [self.id.clone()].into(),
            default_output: self.is_default,
            default_monitoring_output: self.is_default_monitoring,
            ..Touched::default()
        }
    }
}

/// What agents say about an output.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Health {
    /// `HEALTHY`, `DEGRADED`; `UNKNOWN`: no agent that uses it has been heard of.
    state: &'static str,
    message: String,
    /// When the last of them was heard of; empty: never.
    timestamp: String,
}

/// Agents tell that an output of theirs is in trouble, not which: those are counted that use this one.
async fn health(
    State(management): State<Management>,
    Path(id): Path<String>,
) -> Result<Json<Health>, ApiError> {
    let found = management.fleet.settings.outputs.read(&id).await?;
    if found.is_none() {
        return Err(ApiError::not_found("Output", &id));
    }
    let snapshot = management.fleet.settings.snapshot();
    let policies = management.deployer.policies().all();
    let used_by: HashSet<&str> = policies
        .values()
        .filter(|policy| uses(&id, &policy.value, &snapshot))
        .map(|policy| policy.id.as_str())
        .collect();
    let (mut agents, mut in_trouble, mut last) = (0_usize, 0_usize, None::<Timestamp>);
    management.fleet.agents.for_each(|agent| {
        let Some(checkin) = agent.state.last_checkin else { return };
        if agent.agent.active && used_by.contains(&*agent.agent.policy_id) {
            agents += 1;
            in_trouble += usize::from(agent.state.unhealthy_reason.contains(&UnhealthyReason::Output));
            last = last.max(Some(checkin));
        }
    });
    let (state, message) = match (agents, in_trouble) {
        (0, _) => ("UNKNOWN", String::new()),
        (_, 0) => ("HEALTHY", String::new()),
        _ => (
            "DEGRADED",
            format!("{in_trouble} of {agents} agents tell that an output of theirs is in trouble"),
        ),
    };
    let timestamp = last.map(|last| last.to_string()).unwrap_or_default();
    Ok(Json(Health { state, message, timestamp }))
}

fn uses(id: &str, policy: &AgentPolicy, snapshot: &Snapshot) -> bool {
    let is = |named: &Option<String>, default: Option<&Versioned<Output>>| match named {
        // What is gone is replaced by the default.
        Some(named) if snapshot.outputs.contains_key(named) => named == id,
        _ => default.is_some_and(|default| default.id == id),
    };
    is(&policy.data_output_id, snapshot.default_output())
        || is(&policy.monitoring_output_id, snapshot.default_monitoring_output())
}
