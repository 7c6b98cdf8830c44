//! What is left of an agent policy that is gone, or was never made.
//!
//! An agent policy is the root of its integrations, its enrolment keys, its uninstall token, its revisions and what
//! agents get. What belongs to it is written before it, and removed after it: so whatever names a policy that is not
//! there belongs to nobody, because a server ended in between. It is cleared away by whichever server sees it; what
//! was cleared already is no trouble.

use std::collections::BTreeSet;

use fleet_access::audit::{Audit, Deed, Doer};
use fleet_access::documents::EnrollmentKey;
use fleet_integration::PackagePolicy;
use fleet_policy::documents::UninstallToken;
use fleet_store::{Expect, Revision, Versioned, WriteError};
use serde_json::{Value, json};
use tracing::warn;

use super::{DeployError, Deployer, revisions, tell};
use crate::management::enrollment_keys;

/// Who clears away what was left over.
const AUTHOR: &str = "fleet-server";

/// One object that was changed or removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleared {
    /// What the audit trail calls its kind.
    pub kind: &'static str,
    /// Its id.
    pub object: String,
    /// As it was.
    pub before: Value,
    /// As it is; nothing if it is gone.
    pub after: Option<Value>,
}

impl Cleared {
    fn of(kind: &'static str, object: &str, before: Value, after: Option<Value>) -> Cleared {
        Cleared { kind, object: object.to_owned(), before, after }
    }
}

/// What names a policy, as it was at one moment.
#[derive(Debug)]
struct Leftovers {
    deployed: Option<Revision>,
    integrations: Vec<Versioned<PackagePolicy>>,
    keys: Vec<std::sync::Arc<Versioned<EnrollmentKey>>>,
    revisions: Vec<(String, Revision)>,
    token: Option<std::sync::Arc<Versioned<UninstallToken>>>,
}

impl Deployer {
    /// Clears away what names a policy that is not there. `listed`: integrations that it had, so that none is missed
    /// of which this server has not heard yet. A policy that is there keeps everything.
    ///
    /// What is cleared is what was there before the policy was looked for, and as it was then: whatever belongs to
    /// a later policy with the same id stays.
    ///
    /// # Errors
    /// [`DeployError`]; what is left then is cleared later.
    pub async fn clear(&self, policy_id: &str, listed: &[String]) -> Result<Vec<Cleared>, DeployError> {
        let read = |error| DeployError::Read(policy_id.to_owned(), error);
        let leftovers = self.leftovers(policy_id, listed).await.map_err(read)?;
        if self.policies().read(policy_id).await.map_err(read)?.is_some() {
            return Ok(Vec::new());
        }
        let cleared = self.clear_all(policy_id, leftovers).await;
        cleared.map_err(|error| DeployError::Write(policy_id.to_owned(), error))
    }

    async fn leftovers(&self, policy_id: &str, listed: &[String]) -> Result<Leftovers, fleet_store::Error> {
        let fleet = &self.fleet;
        let named = fleet.integrations.rows.all();
        let named = named.iter().filter(|(_, row)| row.value.policy_ids.iter().any(|id| **id == *policy_id));
        let ids: BTreeSet<String> = named.map(|(id, _)| id.clone()).chain(listed.iter().cloned()).collect();
        let found = fleet.integrations.documents.get_many(&ids.into_iter().collect::<Vec<_>>()).await?;
        let is_its =
            |found: &Versioned<PackagePolicy>| found.value.policy_ids.iter().any(|id| id == policy_id);
        let mut keys = fleet.enrollment.all();
        keys.retain(|key| key.value.active && key.value.policy_id == policy_id);
        Ok(Leftovers {
            deployed: self.deployed.heads().get(policy_id).await?.map(|found| found.revision),
            integrations: found.into_iter().flatten().filter(is_its).collect(),
            keys,
            revisions: revisions::documents_of(&fleet.store, policy_id).await?,
            token: fleet.settings.uninstall_tokens.read(policy_id).await?,
        })
    }

    /// The token goes last: every policy has one from its first revision on, so that while anything is left that no
    /// server has in memory, the token is there to tell.
    async fn clear_all(&self, policy_id: &str, leftovers: Leftovers) -> Result<Vec<Cleared>, WriteError> {
        let (fleet, mut cleared) = (&self.fleet, Vec::new());
        if let Some(revision) = leftovers.deployed {
            unless_changed(self.deployed.delete_as(policy_id, Expect::Revision(revision)).await)?;
        }
        for found in leftovers.integrations {
            cleared.extend(self.leave(policy_id, found).await?);
        }
        for key in leftovers.keys {
            let revoked = EnrollmentKey { active: false, ..key.value.clone() };
            let told = [enrollment_keys::told(&key.value), enrollment_keys::told(&revoked)];
            let put = fleet.enrollment.put(revoked, Expect::Revision(key.revision)).await;
            if unless_changed(put)?.is_some() {
                let [before, after] = told;
                cleared.push(Cleared::of(enrollment_keys::KIND, &key.id, before, Some(after)));
            }
        }
        revisions::forget(&fleet.store, leftovers.revisions).await?;
        if let Some(token) = leftovers.token {
            let gone =
                fleet.settings.uninstall_tokens.delete(policy_id, Expect::Revision(token.revision)).await;
            if unless_changed(gone)?.is_some() {
                let told = json!({"id": token.value.id, "policy_id": policy_id});
                cleared.push(Cleared::of("uninstall-token", &token.value.id, told, None));
            }
        }
        Ok(cleared)
    }

    /// Takes a policy off an integration. One that no other policy has is removed.
    /// Nothing: it was changed meanwhile.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn leave(
        &self,
        policy_id: &str,
        found: Versioned<PackagePolicy>,
    ) -> Result<Option<Cleared>, WriteError> {
        let integrations = &self.fleet.integrations;
        let Versioned { id, revision, value: before } = found;
        let mut after = before.clone();
        after.policy_ids.retain(|user| user != policy_id);
        after.policy_id = after.policy_ids.first().cloned();
        let expect = Expect::Revision(revision);
        if after.policy_ids.is_empty() {
            let gone = unless_changed(integrations.documents.delete(&id, expect, None).await)?;
            return Ok(gone.map(|revision| {
                integrations.rows.forget(&id, revision);
                Cleared::of("package-policy", &id, json!(before), None)
            }));
        }
        let put = unless_changed(integrations.documents.put(&id, &after, expect, None, None).await)?;
        if put.is_some() {
            integrations.rows.read(&id).await.map_err(WriteError::NotDone)?;
        }
        Ok(put.map(|_| Cleared::of("package-policy", &id, json!(before), Some(json!(after)))))
    }

    /// Ids that something names and no policy has, as far as this server knows.
    fn missing(&self) -> BTreeSet<String> {
        let fleet = &self.fleet;
        let mut named = BTreeSet::new();
        fleet.policies.for_each_revision(|id, _, _| {
            named.insert(id.to_owned());
        });
        named.extend(fleet.settings.uninstall_tokens.all().keys().cloned());
        named.extend(
            fleet
                .enrollment
                .all()
                .iter()
                .filter(|key| key.value.active)
                .map(|key| key.value.policy_id.clone()),
        );
        for row in fleet.integrations.rows.all().values() {
            named.extend(row.value.policy_ids.iter().map(ToString::to_string));
        }
        let policies = self.policies().all();
        named.retain(|id| !policies.contains_key(id));
        named
    }

    /// Clears away what names policies that were missing the last time too: who makes a policy writes it last, and
    /// not after that pause.
    pub(super) async fn clear_again(&self, before: &BTreeSet<String>, audit: &Audit) -> BTreeSet<String> {
        let missing = self.missing();
        for id in missing.intersection(before) {
            // Nothing is changed that could not be told of.
            let Ok(place) = audit.admit().await else { return missing };
            match self.clear(id, &[]).await {
                Ok(cleared) if cleared.is_empty() => {}
                Ok(cleared) => {
                    warn!(policy = id, objects = cleared.len(), "is gone, and so is now what was left of it");
                    let doer = Doer { user: AUTHOR.to_owned(), status: 200, ..Doer::default() };
                    let deeds = cleared.into_iter().map(|one| Deed {
                        kind: one.kind.to_owned(),
                        object: one.object,
                        before: Some(one.before),
                        after: one.after,
                    });
                    drop(place.keep(&doer, deeds.collect()));
                }
                Err(error) => tell(id, &error),
            }
        }
        missing
    }
}

/// What was changed meanwhile is not as it was looked at: it stays, and is looked at again.
fn unless_changed<T>(written: Result<T, WriteError>) -> Result<Option<T>, WriteError> {
    match written {
        Ok(done) => Ok(Some(done)),
        Err(WriteError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
