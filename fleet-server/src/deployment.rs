//! Making of what people edit what agents get, and shipping it.
//!
//! A policy is composed of several documents: the agent policy itself, the integrations that it lists, outputs,
//! hosts and so on. The agent policy is the root: whoever changes any of the others gives it a new revision, and
//! the deployed document is derived from what the store holds then. [`Deployer::mend`] looks for policies where
//! that was cut off between two writes, and does the rest.
//!
//! | module | what |
//! |---|---|
//! | `collector` | what integrations say for a collector, joined |
//! | `gather` | reads what a policy is composed of |
//! | `leftovers` | what is left of a policy that is gone: cleared away |
//! | `membership` | which policies have an integration |
//! | `numbers` | each save has a number, and none is left out |
//! | [`revisions`] | every revision as it was, for ever: who made it, when, and of what |

mod collector;
mod gather;
mod leftovers;
mod membership;
mod numbers;
pub mod revisions;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fleet_access::audit::Audit;
use fleet_access::signer::{SignerError, SigningKeys};
use fleet_policy::compose::{NotSigned, Sign, compose};
use fleet_policy::documents::{AgentPolicy, DeployedPolicy};
use fleet_policy::policies::DeployedPolicies;
use fleet_policy::settings::{MissingSetting, Table};
use fleet_store::{Error, Expect, LeaseId, WriteError};
use futures_util::{StreamExt, stream};
use tracing::warn;

use crate::fleet::Fleet;
pub use crate::integrations::PACKAGE_POLICIES;
use gather::GatherError;
pub use leftovers::Cleared;
pub use numbers::{Turn, Turns};
use revisions::Integration;

/// Policies that are deployed at a time when one change touches many.
const AT_A_TIME: usize = 16;
/// A change is tried again so often when others change the same policy.
const MOST_ATTEMPTS: usize = 20;
/// Whoever changed something that many policies use waits for them for so long; the rest is done behind.
const WAIT: Duration = Duration::from_secs(5);
/// How often it is looked for policies that were saved and not shipped. Whoever saves ships at once: this is for
/// servers that end in between.
const MEND_EVERY: Duration = Duration::from_secs(30);
/// For so long whoever saved a policy is left to ship it.
const SAVED_JUST_NOW: Duration = Duration::from_secs(10);

/// Why a policy was not deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The store does not answer.
    #[error("read what agent policy {0} is made of")]
    Read(String, #[source] Error),
    /// The store does not take it.
    #[error("write agent policy {0}")]
    Write(String, #[source] WriteError),
    /// There is no such policy.
    #[error("agent policy {0} not found")]
    NotFound(String),
    /// Others change it without a pause.
    #[error("agent policy {0} is being changed by others: try again")]
    Busy(String),
    /// Something that it needs is not set.
    #[error("compose agent policy {0}")]
    Setting(String, #[source] MissingSetting),
    /// It cannot be signed.
    #[error("sign agent policy {0}")]
    Sign(String, #[source] NotSigned),
    /// The key that it is to be signed with cannot be read.
    #[error("read the key that agent policy {0} is signed with")]
    Key(String, #[source] SignerError),
}

/// What became of a revision that was to be shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// It is out.
    Out,
    /// One was out already that is not made of the same.
    Overtaken,
}

/// A policy that was to be changed.
#[derive(Clone, Debug)]
pub enum Announced {
    /// It has a new revision.
    Next(AgentPolicy),
    /// There was nothing to change.
    Unchanged(AgentPolicy),
}

impl Announced {
    /// The policy as it is now.
    #[must_use]
    pub fn into_policy(self) -> AgentPolicy {
        match self {
            Announced::Next(policy) | Announced::Unchanged(policy) => policy,
        }
    }
}

fn tell(policy: &str, error: &DeployError) {
    warn!(policy, error = error as &dyn std::error::Error, "a policy that was saved cannot be shipped yet");
}

struct Signing<'a>(&'a SigningKeys);

impl Sign for Signing<'_> {
    fn public_key(&self) -> &str {
        self.0.public_key()
    }

    fn sign(&self, data: &[u8]) -> Option<String> {
        self.0.sign(data).ok()
    }

    fn sign_as_before(&self, data: &[u8]) -> Option<Option<String>> {
        self.0.sign_as_before(data).ok()
    }
}

/// A policy that seems to be made of something else than there is.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// What there is.
    recipe: u64,
    /// Whether it was renewed for that.
    is_renewed: bool,
}

/// Deploys policies.
#[derive(Clone, Debug)]
pub struct Deployer {
    fleet: Arc<Fleet>,
    deployed: DeployedPolicies,
}

impl Deployer {
    /// Deploys to `fleet`.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>) -> Deployer {
        Deployer { deployed: DeployedPolicies::new(&fleet.store), fleet }
    }

    /// The policies as people edit them.
    #[must_use]
    pub fn policies(&self) -> &Table<AgentPolicy> {
        &self.fleet.agent_policies
    }

    /// The policies as agents get them.
    #[must_use]
    pub fn deployed(&self) -> &DeployedPolicies {
        &self.deployed
    }

    /// The integrations of a policy as they are now, in its order.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn integrations_of(&self, policy: &AgentPolicy) -> Result<Vec<Integration>, Error> {
        gather::integrations(&self.fleet, policy).await
    }

    /// Ships a revision: from now on agents get it. What is out of it, or of a newer one, stays.
    ///
    /// # Errors
    /// [`DeployError`]; what is missing then is done by [`Deployer::mend`].
    pub async fn ship(&self, policy: &AgentPolicy) -> Result<Shipped, DeployError> {
        let id = &policy.id;
        let read = |error| DeployError::Read(id.clone(), error);
        let mut found = self.deployed.get(id).await.map_err(read)?;
        let gathered = gather::gather(&self.fleet, policy, found.as_ref().map(|found| &found.value)).await;
        let mut gathered = gathered.map_err(|error| match error {
            GatherError::Store(error) => read(error),
            GatherError::Setting(error) => DeployError::Setting(id.clone(), error),
        })?;
        // With a key that was changed meanwhile, agents would be told to go back to the one before.
        let keys = self.fleet.signer.refresh().await.map_err(|error| DeployError::Key(id.clone(), error))?;
        gathered.parts.made_of.extend(gather::of_signing_key(&keys));
        let signing = Signing(&keys);
        let revision = revisions::Revision::of(policy, &gathered.integrations);
        let mut next = compose(policy, gathered.parts, &signing)
            .map_err(|error| DeployError::Sign(id.clone(), error))?;
        // What was shipped is kept.
        let is_new = |one: &&Arc<Integration>| {
            let shipped =
                found.as_ref().and_then(|found| found.value.made_of.get(&gather::of_integration(&one.id)));
            shipped != Some(&one.revision)
        };
        let new: Vec<Arc<Integration>> = gathered.integrations.iter().filter(is_new).cloned().collect();
        revisions::keep(&self.fleet.store, &revision, &new)
            .await
            .map_err(|error| DeployError::Write(id.clone(), error))?;
        loop {
            if let Some(found) = &found
                && found.value.revision_idx >= next.revision_idx
            {
                let is_same = found.value.made_of == next.made_of;
                return Ok(if is_same { Shipped::Out } else { Shipped::Overtaken });
            }
            next.follow_signing_key(found.as_ref().map(|found| &found.value));
            match self.deployed.put(id, &next, found.as_ref()).await {
                Ok(_) => return Ok(Shipped::Out),
                Err(WriteError::Conflict { .. } | WriteError::Unknown(_)) => {}
                Err(error) => return Err(DeployError::Write(id.clone(), error)),
            }
            found = self.deployed.get(id).await.map_err(read)?;
        }
    }

    /// Changes a policy, gives it its next revision and ships it. `change` says whether there is anything to do;
    /// it is called again when others change the policy at the same time.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn renew(
        &self,
        policy_id: &str,
        author: &str,
        change: impl FnMut(&mut AgentPolicy) -> bool + Send,
    ) -> Result<AgentPolicy, DeployError> {
        let announced = self.announce(policy_id, author, change).await?;
        if let Announced::Next(policy) = &announced {
            self.ship(policy).await?;
        }
        Ok(announced.into_policy())
    }

    /// Changes a policy and gives it its next revision, which is not shipped yet: what it is made of is written
    /// now. [`Deployer::complete`] ships it; if this server ends before, another does ([`Deployer::mend`]).
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn announce(
        &self,
        policy_id: &str,
        author: &str,
        change: impl FnMut(&mut AgentPolicy) -> bool + Send,
    ) -> Result<Announced, DeployError> {
        self.announce_while_held(policy_id, author, None, change).await
    }

    /// The same, written only as long as a lease is held.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn announce_while_held(
        &self,
        policy_id: &str,
        author: &str,
        lease: Option<LeaseId>,
        mut change: impl FnMut(&mut AgentPolicy) -> bool + Send,
    ) -> Result<Announced, DeployError> {
        let read = |error| DeployError::Read(policy_id.to_owned(), error);
        let _turn = self.turn(policy_id).await?;
        for _ in 0..MOST_ATTEMPTS {
            let found = self.policies().read(policy_id).await.map_err(read)?;
            let found = found.ok_or_else(|| DeployError::NotFound(policy_id.to_owned()))?;
            let mut policy = found.value.clone();
            if !change(&mut policy) {
                return Ok(Announced::Unchanged(policy));
            }
            self.settle_number(&found.value).await?;
            policy.revision += 1;
            policy.updated_at = self.fleet.clock.now();
            author.clone_into(&mut policy.updated_by);
            let expect = Expect::Revision(found.revision);
            match self.policies().put_while_held(policy_id, policy, expect, lease).await {
                Ok(put) => return Ok(Announced::Next(put.value.clone())),
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(DeployError::Write(policy_id.to_owned(), error)),
            }
        }
        Err(DeployError::Busy(policy_id.to_owned()))
    }

    /// Ships what was announced, now that what it is made of is written. If a newer revision was made meanwhile,
    /// it may have been made without that: then there is one more.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn complete(&self, announced: &AgentPolicy) -> Result<(), DeployError> {
        let id = &announced.id;
        let found = self.policies().read(id).await.map_err(|error| DeployError::Read(id.clone(), error))?;
        match found {
            // Removed meanwhile: there is nothing to ship.
            None => Ok(()),
            Some(found)
                if found.value.revision == announced.revision
                    && self.ship(&found.value).await? == Shipped::Out =>
            {
                Ok(())
            }
            Some(_) => self.renew(id, &announced.updated_by, |_| true).await.map(|_| ()),
        }
    }

    /// Gives every policy that `touches` says so a new revision: something that it uses has changed. Returns when
    /// that is done, or after a while; then it goes on behind.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn redeploy(
        &self,
        author: &str,
        touches: impl Fn(&AgentPolicy) -> bool,
    ) -> Result<(), DeployError> {
        let listed = self.policies().refresh().await;
        let listed = listed.map_err(|error| DeployError::Read("*".to_owned(), error))?;
        let touched = listed.values().filter(|policy| touches(&policy.value));
        let ids: Vec<String> = touched.map(|policy| policy.id.clone()).collect();
        let (deployer, author) = (self.clone(), author.to_owned());
        let task = tokio::spawn(async move {
            // One that cannot be shipped holds up no other.
            stream::iter(ids)
                .map(|id| {
                    let (deployer, author) = (deployer.clone(), author.clone());
                    async move {
                        match deployer.renew(&id, &author, |_| true).await {
                            Ok(_) | Err(DeployError::NotFound(_)) => Ok(()),
                            Err(error) => Err(error),
                        }
                    }
                })
                .buffer_unordered(AT_A_TIME)
                .fold(Ok(()), async |all, one| all.and(one))
                .await
        });
        match tokio::time::timeout(WAIT, task).await {
            Ok(Ok(done)) => done,
            // It goes on behind; what fails there is mended later.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Gives every policy that would be made of something else now a new revision. See [`Deployer::redeploy`].
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn redeploy_outdated(&self, author: &str) -> Result<(), DeployError> {
        let is_outdated = |policy: &AgentPolicy| {
            let made_of = gather::made_of(&self.fleet, policy).ok();
            let recipe = made_of.map(|made_of| DeployedPolicy::recipe(&made_of));
            let head = self.fleet.policies.head(&policy.id);
            recipe.zip(head).is_some_and(|(recipe, head)| head.recipe != recipe)
        };
        self.redeploy(author, is_outdated).await
    }

    /// Looks from time to time for what was saved and not shipped, for ever.
    /// What it clears away is told to `audit`.
    pub async fn keep_mending(&self, audit: &Audit) {
        let (mut suspects, mut unsettled, mut missing) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        loop {
            self.mend().await;
            if let Err(error) = self.fleet.signer.refresh().await {
                warn!(error = &error as &dyn std::error::Error, "the signing key is known as it was");
            }
            suspects = self.renew_outdated(&suspects).await;
            unsettled = self.settle_again(&unsettled).await;
            missing = self.clear_again(&missing, audit).await;
            tokio::time::sleep(MEND_EVERY).await;
        }
    }

    /// Deploys what was saved and not shipped, because a server ended in between. One that cannot be deployed
    /// holds up no other.
    pub async fn mend(&self) {
        for policy in self.policies().all().values() {
            let head = self.fleet.policies.head(&policy.id);
            if head.is_none_or(|head| head.rendered.revision < policy.value.revision) {
                // Whoever saved it just now is about to ship it.
                if self.was_saved_just_now(&policy.value) {
                    continue;
                }
                warn!(
                    policy = policy.id,
                    revision = policy.value.revision,
                    "was saved and is not out: it is shipped now"
                );
                if let Err(error) = self.ship(&policy.value).await {
                    tell(&policy.id, &error);
                }
            }
        }
    }

    /// Renews policies that are made of something else than there is now, if that was so the last time too: what
    /// this server knows may be behind for a moment. Each is renewed once for what there is. Answers those that
    /// are so now.
    async fn renew_outdated(&self, before: &HashMap<String, Suspect>) -> HashMap<String, Suspect> {
        let mut outdated = HashMap::new();
        for policy in self.policies().all().values() {
            let Some(head) = self.fleet.policies.head(&policy.id) else { continue };
            let Ok(made_of) = gather::made_of(&self.fleet, &policy.value) else { continue };
            let recipe = DeployedPolicy::recipe(&made_of);
            if head.recipe == recipe || self.was_saved_just_now(&policy.value) {
                continue;
            }
            let known = before.get(&policy.id).filter(|known| known.recipe == recipe);
            let is_renewed = known.is_some_and(|known| known.is_renewed);
            outdated.insert(policy.id.clone(), Suspect { recipe, is_renewed: known.is_some() });
            if known.is_some() && !is_renewed {
                warn!(policy = policy.id, "something that it is made of has changed: it is shipped again");
                let renewed = self.renew(&policy.id, &policy.value.updated_by, |found| {
                    // Another server may have been faster.
                    found.revision == policy.value.revision
                });
                match renewed.await {
                    Ok(_) | Err(DeployError::NotFound(_)) => {}
                    Err(error) => tell(&policy.id, &error),
                }
            }
        }
        outdated
    }

    fn was_saved_just_now(&self, policy: &AgentPolicy) -> bool {
        policy.updated_at.until(self.fleet.clock.now()) < SAVED_JUST_NOW
    }
}
