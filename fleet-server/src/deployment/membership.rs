//! Which policies have an integration.
//!
//! It stands twice: the integration says which policies it is meant for, and each policy lists what it has, so that
//! one document tells what is to be read. What the integration says counts: several may change it at once, and only
//! one of them wins there.

use std::collections::BTreeSet;

use fleet_policy::documents::AgentPolicy;
use tracing::warn;

use super::{DeployError, Deployer, MOST_ATTEMPTS};

impl Deployer {
    /// Makes the lists of policies say what an integration says now. `touched`: policies that may list it.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn settle(
        &self,
        integration: &str,
        touched: &[String],
        author: &str,
    ) -> Result<(), DeployError> {
        let read = |error| DeployError::Read(integration.to_owned(), error);
        let documents = &self.fleet.integrations.documents;
        for _ in 0..MOST_ATTEMPTS {
            let found = documents.get(integration).await.map_err(read)?;
            let users: BTreeSet<&str> =
                found.iter().flat_map(|found| found.value.policy_ids.iter().map(String::as_str)).collect();
            let all: BTreeSet<&str> =
                touched.iter().map(String::as_str).chain(users.iter().copied()).collect();
            for policy in all {
                let is_user = users.contains(policy);
                let renewed = self.renew(policy, author, |policy| list(policy, integration, is_user)).await;
                match renewed {
                    Ok(_) | Err(DeployError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            // Whoever changed it meanwhile may have been overtaken by this: then once more.
            let now = documents.get(integration).await.map_err(read)?;
            if now.map(|now| now.revision) == found.map(|found| found.revision) {
                return Ok(());
            }
        }
        Err(DeployError::Busy(integration.to_owned()))
    }

    /// Integrations of which lists say something else than they do, as far as this server knows.
    pub(super) fn unsettled(&self) -> BTreeSet<String> {
        let (rows, policies) = (self.fleet.integrations.rows.all(), self.policies().all());
        let mut unsettled = BTreeSet::new();
        for (id, row) in rows.iter() {
            let is_missing = |policy_id: &str| {
                policies.get(policy_id).is_some_and(|policy| !policy.value.package_policies.contains(id))
            };
            if row.value.policy_ids.iter().any(|policy_id| is_missing(policy_id)) {
                unsettled.insert(id.clone());
            }
        }
        for (policy_id, policy) in policies.iter() {
            let is_foreign = |id: &&String| {
                rows.get(*id).is_none_or(|row| !row.value.policy_ids.iter().any(|user| **user == **policy_id))
            };
            unsettled.extend(policy.value.package_policies.iter().filter(is_foreign).cloned());
        }
        unsettled
    }

    /// Settles what was unsettled the last time too: what this server knows may be behind for a moment.
    pub(super) async fn settle_again(&self, before: &BTreeSet<String>) -> BTreeSet<String> {
        let unsettled = self.unsettled();
        for id in unsettled.intersection(before) {
            warn!(
                integration = id,
                "policies list it that do not have it, or the other way round: mended now"
            );
            let policies = self.policies().all();
            let listing = policies.iter().filter(|(_, policy)| policy.value.package_policies.contains(id));
            let listing: Vec<String> = listing.map(|(policy_id, _)| policy_id.clone()).collect();
            if let Err(error) = self.settle(id, &listing, "fleet-server").await {
                super::tell(id, &error);
            }
        }
        unsettled
    }
}

/// Whether the list had to be changed.
fn list(policy: &mut AgentPolicy, integration: &str, is_user: bool) -> bool {
    let is_listed = policy.package_policies.iter().any(|listed| listed == integration);
    if is_user && !is_listed {
        policy.package_policies.push(integration.to_owned());
    } else if !is_user && is_listed {
        policy.package_policies.retain(|listed| listed != integration);
    }
    is_user != is_listed
}
