//! `/api/fleet/fleet_server_hosts`: where agents find their servers.

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right;
use fleet_policy::documents::{AgentPolicy, FleetServerHost};
use fleet_policy::settings::{FIRST_HOST_ID, Settings, Table};
use fleet_policy::status::Status;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::fields::bad;
use super::fleet_server::PACKAGE;
use super::routes::{Routes, get};
use super::settings::address::with_port;
use super::settings::object::{self, Flag, Object, Successor};
use super::settings::uses::{Touched, forget};

/// The most addresses.
const MOST_URLS: usize = 10;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let paths = ("/api/fleet/fleet_server_hosts", "/api/fleet/fleet_server_hosts/{id}");
    let summaries = [
        "Lists Fleet Server hosts",
        "Shows a Fleet Server host",
        "Makes a Fleet Server host",
        "Changes a Fleet Server host",
        "Removes a Fleet Server host that nobody uses",
    ];
    let routes = object::routes::<FleetServerHost>(routes, paths, summaries);
    routes.add(
        get(
            "/api/fleet/fleet_server_hosts/fleet_server_policy_status",
            Right::ReadSettings,
            "Tells which policies run Fleet Servers, and how their agents are",
        )
        .answers::<PolicyStatus>(),
        policy_status,
    )
}

/// Which policies run servers.
#[derive(Debug, Serialize, JsonSchema)]
struct PolicyStatus {
    /// Whether an agent of such a policy is online.
    is_ready: bool,
    items: Vec<ServerPolicy>,
}

/// A policy whose agents run servers.
#[derive(Debug, Serialize, JsonSchema)]
struct ServerPolicy {
    id: String,
    name: String,
    revision: u64,
    is_default_fleet_server: bool,
    is_managed: bool,
    /// Its integrations that make agents run a server.
    package_policies: Vec<String>,
    /// The host that its agents are sent to; `null`: the default one.
    fleet_server_host_id: Option<String>,
    /// How many agents it has.
    agents: u64,
    /// How many of them are online.
    online: u64,
}

async fn policy_status(
    State(management): State<Management>,
    caller: Caller,
) -> Result<Json<PolicyStatus>, ApiError> {
    let fleet = &management.fleet;
    let (rows, policies) = (fleet.integrations.rows.all(), management.deployer.policies().refresh().await?);
    let runs_server = |id: &&String| {
        let package = rows.get(*id).and_then(|row| row.value.package.as_ref());
        package.is_some_and(|package| &*package.name == PACKAGE)
    };
    let mut items = Vec::new();
    for policy in policies.values().map(|found| &found.value) {
        let integrations: Vec<String> = policy.package_policies.iter().filter(runs_server).cloned().collect();
        if integrations.is_empty() || !caller.may_on(Right::ReadPolicies, &policy.id) {
            continue;
        }
        let counts = fleet.agents.count(Some(&[policy.id.clone()].into()), &fleet.moment());
        let gone = counts.of(Status::Unenrolled);
        items.push(ServerPolicy {
            id: policy.id.clone(),
            name: policy.name.clone(),
            revision: policy.revision,
            is_default_fleet_server: policy.is_default_fleet_server,
            is_managed: policy.is_managed,
            package_policies: integrations,
            fleet_server_host_id: policy.fleet_server_host_id.clone(),
            agents: counts.all() - gone,
            online: counts.of(Status::Online),
        });
    }
    Ok(Json(PolicyStatus { is_ready: items.iter().any(|policy| policy.online > 0), items }))
}

impl Object for FleetServerHost {
    const KIND: &'static str = "fleet-server-host";
    const TITLE: &'static str = "Fleet Server host";
    const FLAGS: &'static [Flag<FleetServerHost>] = &[Flag {
        field: "is_default",
        get: |host| host.is_default,
        set: |host, is_it| host.is_default = is_it,
        place: |defaults| &mut defaults.fleet_server_host,
    }];
    const IGNORED: &'static [&'static str] = &["is_preconfigured"];

    fn table(settings: &Settings) -> &Table<FleetServerHost> {
        &settings.hosts
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

    fn check(&mut self, _: Option<&FleetServerHost>, _: &Map<String, Value>) -> Result<(), ApiError> {
        if self.host_urls.is_empty() || self.host_urls.len() > MOST_URLS {
            return Err(bad("host_urls", format!("1 to {MOST_URLS} addresses are needed")));
        }
        for (index, url) in self.host_urls.iter_mut().enumerate() {
            *url = with_port(url).map_err(|text| bad(&format!("host_urls.{index}"), text))?;
        }
        Ok(())
    }

    async fn detach(management: &Management, caller: &Caller, id: &str) -> Result<(), ApiError> {
        let forget = |policy: &mut AgentPolicy| forget(&mut policy.fleet_server_host_id, id);
        management.forget_in_policies(caller, forget).await
    }

    fn touched(&self, _: &Management) -> Touched {
        Touched { hosts: [self.id.clone()].into(), default_host: self.is_default, ..Touched::default() }
    }

    /// The host that was made at the first start takes its place back. There may be none: then agents stay with the
    /// servers that they know, as before there was any.
    fn successor(&self, others: &[&FleetServerHost]) -> Option<Successor> {
        let first = others.iter().find(|other| other.id == FIRST_HOST_ID);
        Some(first.map_or(Successor::Nobody, |first| Successor::Object(first.id.clone())))
    }
}
