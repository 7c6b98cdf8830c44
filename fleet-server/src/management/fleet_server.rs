//! The policy of the agent that this server runs under: it is there before the agent asks for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_access::rights::{Principal, Proof, Role};
use fleet_integration::PackagePolicy;
use fleet_policy::documents::{AgentPolicy, DEFAULT_INACTIVITY_TIMEOUT};
use fleet_store::{Expect, WriteError};

use super::caller::Caller;
use super::error::ApiError;
use super::{Management, enrollment_keys};

/// The id of the policy whose agents run servers, if none is named.
pub(crate) const DEFAULT_POLICY: &str = "fleet-server-policy";
/// The integration that makes an agent run a server.
pub(super) const PACKAGE: &str = "fleet_server";
/// Who makes it.
const AUTHOR: &str = "fleet-server";

impl Management {
    /// Makes the policy whose agents run servers, with the integration for that and an enrolment key, as far as they
    /// are not there yet. Returns the key as agents send it.
    pub(crate) async fn ensure_fleet_server(&self, policy_id: &str) -> Result<String, String> {
        self.make_fleet_server(policy_id).await.map_err(|error| error.to_string())
    }

    async fn make_fleet_server(&self, policy_id: &str) -> Result<String, ApiError> {
        let policy = self.ensure_server_policy(policy_id).await?;
        self.ensure_server_integration(&policy).await?;
        let now = self.fleet.clock.now();
        let keys = self.fleet.enrollment.all();
        let active = keys.iter().find(|key| key.value.policy_id == policy_id && key.value.check(now).is_ok());
        if let Some(text) = active.and_then(|key| enrollment_keys::text(self, &key.value)) {
            return Ok(text);
        }
        let key = enrollment_keys::make(self, policy_id, "Fleet Server", None, None).await?;
        enrollment_keys::text(self, &key)
            .ok_or_else(|| ApiError::Internal("the enrolment key that was just made cannot be read".into()))
    }

    async fn ensure_server_policy(&self, id: &str) -> Result<AgentPolicy, ApiError> {
        if let Some(found) = self.deployer.policies().read(id).await? {
            return Ok(Arc::unwrap_or_clone(found).value);
        }
        let policies = self.deployer.policies().all();
        let is_taken = |name: &str| policies.values().any(|other| other.value.name == name);
        let plain = "Fleet Server Policy";
        let name = if is_taken(plain) { format!("{plain} ({id})") } else { plain.to_owned() };
        let policy = AgentPolicy {
            id: id.to_owned(),
            name,
            namespace: "default".to_owned(),
            description: "For the agents that run Fleet Servers".to_owned(),
            inactivity_timeout: DEFAULT_INACTIVITY_TIMEOUT,
            is_default_fleet_server: id == DEFAULT_POLICY,
            revision: 1,
            updated_at: self.fleet.clock.now(),
            updated_by: AUTHOR.to_owned(),
            ..AgentPolicy::default()
        };
        match self.deployer.policies().put(id, policy.clone(), Expect::Absent).await {
            Ok(_) => drop(self.deployer.ship(&policy).await?),
            // Another server is faster.
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.find_policy(id).await?.value)
    }

    async fn ensure_server_integration(&self, policy: &AgentPolicy) -> Result<(), ApiError> {
        for id in &policy.package_policies {
            let found = self.fleet.integrations.documents.get(id).await?;
            let package = found.as_ref().and_then(|found| found.value.package.as_ref());
            if package.is_some_and(|package| package.name == PACKAGE) {
                return Ok(());
            }
        }
        let Some(available) = self.fleet.packages.available_here(PACKAGE) else {
            return Err(ApiError::Internal(format!("there is no package {PACKAGE}").into()));
        };
        // One id for all servers: of several that start at the same moment, one makes it.
        let id = format!("{PACKAGE}-{}", policy.id);
        if self.fleet.integrations.documents.get(&id).await?.is_some() {
            return Ok(());
        }
        let package = self.use_package(PACKAGE, &available.latest).await?;
        let mut integration = PackagePolicy::defaults(&package, &id, &format!("{PACKAGE}-{}", policy.name));
        integration.policy_ids = vec![policy.id.clone()];
        integration.policy_id = Some(policy.id.clone());
        match self.add_integration(integration, package, policy, &caller()).await {
            Err(ApiError::Changed { .. }) => Ok(()),
            added => added,
        }
    }
}

/// The server itself.
fn caller() -> Caller {
    let principal = Principal {
        name: AUTHOR.into(),
        proof: Proof::ApiKey,
        roles: BTreeSet::from([Role::Admin]),
        grants: BTreeSet::new(),
    };
    Caller::new(Arc::new(principal), None)
}
