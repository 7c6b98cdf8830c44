//! Which packages belong into which engine.
//!
//! Into the default output's engine goes what is installed; into any other, what integrations send there; and into
//! the one that agents tell of themselves to, the package of agents.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use fleet_integration::assets::Target;
use fleet_integration::{Context, PackagePolicy, compile};
use fleet_policy::documents::AgentPolicy;
use fleet_policy::settings::Snapshot;
use tracing::warn;

use super::settings;
use crate::fleet::Fleet;
use crate::packages::PackagesError;

/// The package of what agents tell of themselves.
const OF_AGENTS: &str = "elastic_agent";

/// A package that an engine should have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct WantedPackage {
    /// Its version.
    pub(super) version: String,
    /// The integrations that may name datasets of their own, with their revisions.
    integrations: BTreeSet<(String, u64)>,
}

/// By their names.
pub(super) type WantedPackages = BTreeMap<String, WantedPackage>;

/// What engines should have, by their outputs' ids.
#[derive(Debug, Default)]
pub(super) struct Wanted(pub(super) BTreeMap<String, WantedPackages>);

impl Wanted {
    /// As far as this server knows now.
    pub(super) fn now(fleet: &Fleet) -> Wanted {
        let installed = fleet.packages.all_installed().into_iter();
        let mut making = Making {
            settings: fleet.settings.snapshot(),
            installed: installed.map(|found| (found.name, found.version)).collect(),
            wanted: Wanted::default(),
        };
        if let Some(default) = making.settings.default_output().map(|output| output.id.clone()) {
            for name in making.installed.keys().cloned().collect::<Vec<_>>() {
                making.want(&default, &name, "");
            }
        }
        let policies = fleet.agent_policies.all();
        for row in fleet.integrations.rows.all().values().map(|row| &row.value) {
            let Some(package) = &row.package else { continue };
            let used_by = row.policy_ids.iter().filter_map(|id| policies.get(&**id));
            for policy in used_by.map(|policy| &policy.value) {
                let named = row.output_id.as_deref().or(policy.data_output_id.as_deref());
                let Some(output) = making.output(named) else { continue };
                if let Some(wanted) = making.want(&output, &package.name, &package.version) {
                    wanted.integrations.insert((row.id.to_string(), row.revision));
                }
            }
        }
        for policy in policies.values().map(|policy| &policy.value) {
            let data = making.output(policy.data_output_id.as_deref());
            // Where agents write they may need keys, even if no package belongs there.
            for output in data.into_iter().chain(making.monitoring(policy)) {
                making.look_at(&output);
            }
        }
        let of_agents = fleet.packages.available_here(OF_AGENTS).map(|found| found.summary.version);
        for policy in policies.values().map(|policy| &policy.value) {
            if let (Some(output), Some(version)) = (making.monitoring(policy), &of_agents) {
                making.want(&output, OF_AGENTS, version);
            }
        }
        making.wanted
    }

    /// Of all that an output's engine is set up from.
    pub(super) fn recipe(fleet: &Fleet, output_id: &str, wanted: &WantedPackages) -> u64 {
        let mut hasher = DefaultHasher::new();
        settings::revisions(fleet, output_id).hash(&mut hasher);
        wanted.hash(&mut hasher);
        hasher.finish()
    }
}

struct Making {
    settings: Snapshot,
    installed: BTreeMap<String, String>,
    wanted: Wanted,
}

impl Making {
    /// The output that is named, or the default one.
    fn output(&self, named: Option<&str>) -> Option<String> {
        let named = named.filter(|id| self.settings.outputs.contains_key(*id));
        named.map(str::to_owned).or_else(|| Some(self.settings.default_output()?.id.clone()))
    }

    fn monitoring(&self, policy: &AgentPolicy) -> Option<String> {
        if policy.monitoring_enabled.is_empty() {
            return None;
        }
        let named = policy.monitoring_output_id.as_deref();
        let default = self.settings.default_monitoring_output().map(|output| output.id.as_str());
        self.output(named.filter(|id| self.settings.outputs.contains_key(*id)).or(default))
    }

    /// The packages of an output's engine; `None`: it is none.
    fn look_at(&mut self, output_id: &str) -> Option<&mut WantedPackages> {
        let output = self.settings.outputs.get(output_id)?;
        output.value.kind.is_engine().then(|| self.wanted.0.entry(output_id.to_owned()).or_default())
    }

    /// In the version that is installed: an engine has one.
    fn want(&mut self, output_id: &str, package: &str, version: &str) -> Option<&mut WantedPackage> {
        let version = self.installed.get(package).map_or(version, String::as_str).to_owned();
        let wanted = self.look_at(output_id)?.entry(package.to_owned()).or_default();
        wanted.version = version;
        Some(wanted)
    }
}

/// The engines that agents of these policies send data to, by their outputs' ids: of integrations, and of themselves.
pub(super) fn data_outputs(fleet: &Fleet, policy_ids: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut making =
        Making { settings: fleet.settings.snapshot(), installed: BTreeMap::new(), wanted: Wanted::default() };
    let policies = fleet.agent_policies.all();
    let policies: Vec<&AgentPolicy> =
        policy_ids.iter().filter_map(|id| policies.get(*id)).map(|policy| &policy.value).collect();
    let mut outputs = BTreeSet::new();
    for policy in &policies {
        outputs.extend(making.output(policy.data_output_id.as_deref()));
        outputs.extend(making.monitoring(policy));
    }
    for row in fleet.integrations.rows.all().values().map(|row| &row.value) {
        if row.policy_ids.iter().any(|id| policy_ids.contains(&**id)) {
            outputs.extend(row.output_id.as_deref().and_then(|id| making.output(Some(id))));
        }
    }
    outputs.retain(|id| making.look_at(id).is_some());
    outputs
}

/// Where the data of integrations goes that name datasets of their own. One that cannot be read has none.
pub(super) async fn targets(
    fleet: &Fleet,
    name: &str,
    wanted: &WantedPackage,
) -> Result<BTreeSet<Target>, PackagesError> {
    let ids: Vec<String> = wanted.integrations.iter().map(|(id, _)| id.clone()).collect();
    let mut targets = BTreeSet::new();
    for found in fleet.integrations.documents.get_many(&ids).await?.into_iter().flatten() {
        let policy: PackagePolicy = found.value;
        let Some(of) = policy.package.as_ref() else { continue };
        // Each as its agents have it: of its own version.
        let Some(package) = fleet.packages.get(&of.name, &of.version).await? else { continue };
        let compiling = tokio::task::spawn_blocking(move || {
            compile(&package, &policy, &Context::default()).map(|compiled| compiled.targets)
        });
        match compiling.await.map_err(|_| PackagesError::Busy)? {
            Ok(found) => targets.extend(found),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(integration = found.id, package = name, error, "has no templates of its own");
            }
        }
    }
    Ok(targets)
}
