//! Who uses what: what may not be removed, and which policies a change touches.

use std::collections::{BTreeMap, BTreeSet};

use fleet_policy::documents::AgentPolicy;
use fleet_policy::settings::Snapshot;
use serde_json::json;

use crate::deployment::DeployError;
use crate::integrations::Row;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;

/// What the audit trail calls an agent policy.
const POLICY: &str = "agent-policy";
/// The most users that are told by name.
const MOST_NAMED: usize = 5;

/// The objects that a change is about.
#[derive(Clone, Debug, Default)]
pub(in crate::management) struct Touched {
    pub(in crate::management) outputs: BTreeSet<String>,
    pub(in crate::management) hosts: BTreeSet<String>,
    pub(in crate::management) download_sources: BTreeSet<String>,
    /// Whether what policies use that name none is among them.
    pub(in crate::management) default_output: bool,
    pub(in crate::management) default_monitoring_output: bool,
    pub(in crate::management) default_host: bool,
    pub(in crate::management) default_download_source: bool,
    /// Integrations that name one of the outputs.
    pub(in crate::management) integrations: BTreeSet<String>,
}

impl Touched {
    /// Everything that goes through a proxy.
    pub(in crate::management) fn through(proxy: &str, snapshot: &Snapshot) -> Touched {
        let is = |default: Option<&str>, id: &str| default == Some(id);
        let output_id = snapshot.default_output().map(|output| output.id.as_str());
        let monitoring_id = snapshot.default_monitoring_output().map(|output| output.id.as_str());
        let host_id = snapshot.default_host().map(|host| host.id.as_str());
        let source_id = snapshot.default_download_source().map(|source| source.id.as_str());
        let mut touched = Touched::default();
        for output in snapshot.outputs.values().filter(|one| one.value.proxy_id.as_deref() == Some(proxy)) {
            touched.outputs.insert(output.id.clone());
            touched.default_output |= is(output_id, &output.id);
            touched.default_monitoring_output |= is(monitoring_id, &output.id);
        }
        for host in snapshot.hosts.values().filter(|one| one.value.proxy_id.as_deref() == Some(proxy)) {
            touched.hosts.insert(host.id.clone());
            touched.default_host |= is(host_id, &host.id);
        }
        let sources = snapshot.download_sources.values();
        for source in sources.filter(|one| one.value.proxy_id.as_deref() == Some(proxy)) {
            touched.download_sources.insert(source.id.clone());
            touched.default_download_source |= is(source_id, &source.id);
        }
        touched
    }

    /// What another change is about, too.
    pub(super) fn add(&mut self, other: Touched) {
        self.outputs.extend(other.outputs);
        self.hosts.extend(other.hosts);
        self.download_sources.extend(other.download_sources);
        self.default_output |= other.default_output;
        self.default_monitoring_output |= other.default_monitoring_output;
        self.default_host |= other.default_host;
        self.default_download_source |= other.default_download_source;
    }

    fn touches(&self, policy: &AgentPolicy) -> bool {
        let is = |named: &Option<String>, ids: &BTreeSet<String>, default: bool| match named {
            Some(id) => ids.contains(id),
            None => default,
        };
        is(&policy.data_output_id, &self.outputs, self.default_output)
            // Where there is no default for monitoring, the default for data takes its place.
            || is(&policy.monitoring_output_id, &self.outputs, self.default_monitoring_output || self.default_output)
            || is(&policy.fleet_server_host_id, &self.hosts, self.default_host)
            || is(&policy.download_source_id, &self.download_sources, self.default_download_source)
            || policy.package_policies.iter().any(|id| self.integrations.contains(id))
    }
}

impl Management {
    /// Ships every policy that is touched again.
    pub(super) async fn redeploy(&self, author: &str, mut touched: Touched) -> Result<(), ApiError> {
        touched.integrations = self.integrations_with(&touched.outputs).into_keys().collect();
        self.deployer.redeploy(author, move |policy| touched.touches(policy)).await?;
        Ok(())
    }

    /// The names of integrations that name one of these outputs, by their ids.
    fn integrations_with(&self, outputs: &BTreeSet<String>) -> BTreeMap<String, String> {
        let rows = self.fleet.integrations.rows.all();
        let is_one = |row: &Row| row.output_id.as_deref().is_some_and(|output| outputs.contains(output));
        let found = rows.iter().filter(|(_, row)| is_one(&row.value));
        found.map(|(id, row)| (id.clone(), row.value.name.to_string())).collect()
    }

    /// Changes every policy in which `forget` finds something to forget, and ships it.
    pub(in crate::management) async fn forget_in_policies(
        &self,
        caller: &Caller,
        forget: impl Fn(&mut AgentPolicy) -> bool + Send + Sync,
    ) -> Result<(), ApiError> {
        // As the store has them: another server may just have saved one.
        for policy in self.deployer.policies().refresh().await?.values() {
            if !forget(&mut policy.value.clone()) {
                continue;
            }
            match self.deployer.renew(&policy.id, caller.name(), &forget).await {
                Ok(after) => {
                    caller.changed(POLICY, &policy.id, Some(json!(policy.value)), Some(json!(after)));
                }
                Err(DeployError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes an output off every integration that names it.
    pub(in crate::management) async fn forget_output_in_integrations(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(), ApiError> {
        for integration in self.integrations_with(&BTreeSet::from([id.to_owned()])).into_keys() {
            self.forget_output(&integration, id, caller).await?;
        }
        Ok(())
    }
}

/// Whether it named this, which it does no more.
pub(in crate::management) fn forget(field: &mut Option<String>, id: &str) -> bool {
    let named = field.as_deref() == Some(id);
    if named {
        *field = None;
    }
    named
}

/// Whether nobody uses it.
pub(super) fn require_unused(what: &str, users: &[String]) -> Result<(), ApiError> {
    if users.is_empty() {
        return Ok(());
    }
    let mut named = users.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if users.len() > MOST_NAMED {
        named.push_str(&format!(" and {} more", users.len() - MOST_NAMED));
    }
    Err(ApiError::BadRequest(format!("{what} is used by {named}: let them use another one first")))
}
