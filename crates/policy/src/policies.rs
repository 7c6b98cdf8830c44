//! The newest revision of every policy, rendered.
//!
//! | module | what |
//! |---|---|
//! | `deployed` | the documents, and the parts of policies that are larger than a document |

mod deployed;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fleet_store::{Error, ErrorKind, Listing, Revision, Store, TypedChange, Versioned};
use tracing::{error, info, warn};

use crate::artifacts;
use crate::documents::{DeployedPolicy, SigningSince};
use crate::feed::{View, feed};
use crate::render::{Rendered, render, secret_ids};
pub use deployed::{DeployedPolicies, LARGEST_POLICY};

/// Is told of each policy that has a new revision.
pub type Listener = Box<dyn Fn(&str) + Send + Sync>;

/// What opens the secrets that policies refer to.
#[async_trait::async_trait]
pub trait Secrets: Send + Sync {
    /// The values of those that there are. An error: unknown, to be tried again.
    async fn open(&self, ids: &[String]) -> Result<BTreeMap<String, String>, Error>;
}

/// The newest revision of a policy.
#[derive(Clone, Debug)]
pub struct Head {
    /// The revision of its document.
    pub(crate) revision: Revision,
    /// How agents get it.
    pub rendered: Arc<Rendered>,
    /// The ids of the artifacts that its agents may fetch.
    pub artifacts: Arc<BTreeSet<Box<str>>>,
    /// What it was composed of, in short: see [`DeployedPolicy::recipe`].
    pub recipe: u64,
    /// The public key that its agents verify signatures with.
    pub signing_key: Option<Arc<str>>,
    /// Since when it has that.
    pub signing_since: Option<Arc<SigningSince>>,
    /// After so long without a word an agent is inactive. Zero: never.
    pub inactivity_timeout: Duration,
    /// After so long without a word an agent is unenrolled. Zero: never.
    pub unenroll_timeout: Duration,
}

impl Head {
    /// The public key that agents know which run this revision.
    #[must_use]
    pub fn signing_key_of(&self, revision: u64) -> Option<&str> {
        match &self.signing_since {
            Some(since) if revision < since.revision => Some(&since.before),
            _ => self.signing_key.as_deref(),
        }
    }
}

/// The policies.
pub struct Policies {
    policies: DeployedPolicies,
    secrets: Box<dyn Secrets>,
    heads: RwLock<HashMap<String, Head>>,
    malformed: RwLock<BTreeMap<String, String>>,
    listener: Listener,
}

impl Policies {
    /// The policies in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, secrets: Box<dyn Secrets>, listener: Listener) -> Policies {
        Policies {
            policies: DeployedPolicies::new(store),
            secrets,
            heads: RwLock::default(),
            malformed: RwLock::default(),
            listener,
        }
    }

    /// Follows the policies in the store, for ever.
    pub async fn follow(&self, ready: impl FnOnce() + Send) {
        feed(self.policies.heads().clone(), &PoliciesView(self), ready).await;
    }

    /// The newest revision of a policy.
    #[must_use]
    pub fn head(&self, policy_id: &str) -> Option<Head> {
        self.heads.read().unwrap_or_else(PoisonError::into_inner).get(policy_id).cloned()
    }

    /// After so long without a word an agent of this policy is inactive. Zero: never.
    #[must_use]
    pub fn inactivity_timeout(&self, policy_id: &str) -> Duration {
        let heads = self.heads.read().unwrap_or_else(PoisonError::into_inner);
        heads.get(policy_id).map_or(Duration::ZERO, |head| head.inactivity_timeout)
    }

    /// The newest revisions of all policies, in no order.
    #[must_use]
    pub fn newest(&self) -> Vec<Arc<Rendered>> {
        let heads = self.heads.read().unwrap_or_else(PoisonError::into_inner);
        heads.values().map(|head| Arc::clone(&head.rendered)).collect()
    }

    /// Calls `each` with every policy's id, the revision of its document, and its own newest revision.
    pub fn for_each_revision(&self, mut each: impl FnMut(&str, Revision, u64)) {
        let heads = self.heads.read().unwrap_or_else(PoisonError::into_inner);
        heads.iter().for_each(|(id, head)| each(id, head.revision, head.rendered.revision));
    }

    /// The newest revision that the store has: another server may have it already, and have handed it out.
    pub async fn refresh(&self, policy_id: &str) -> Result<Option<Head>, Error> {
        if let Some(found) = self.policies.heads().get(policy_id).await? {
            self.admit(found).await?;
        }
        Ok(self.head(policy_id))
    }

    /// Policies that cannot be read, and why.
    #[must_use]
    pub fn malformed(&self) -> Vec<(String, String)> {
        let malformed = self.malformed.read().unwrap_or_else(PoisonError::into_inner);
        malformed.iter().map(|(id, error)| (id.clone(), error.clone())).collect()
    }

    async fn admit(&self, head: Versioned<DeployedPolicy>) -> Result<(), Error> {
        let name = head.id.clone();
        let Versioned { id, revision, value: policy } = match self.policies.whole(head).await {
            Ok(Some(whole)) => whole,
            // It was removed since: the watch tells that too.
            Ok(None) => return Ok(()),
            Err(error) if error.kind == ErrorKind::Corrupt => {
                self.set_aside(name, error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let ids = secret_ids(&policy);
        let secrets = if ids.is_empty() { BTreeMap::new() } else { self.secrets.open(&ids).await? };
        let rendered = render(&policy, &secrets);
        for (path, secret) in &rendered.missing_secrets {
            warn!(
                policy = id,
                revision = rendered.revision,
                path,
                secret,
                "a policy refers to a secret that is not there"
            );
        }
        let head = Head {
            revision,
            rendered: Arc::new(rendered),
            artifacts: Arc::new(artifacts::named_by(&policy)),
            recipe: DeployedPolicy::recipe(&policy.made_of),
            signing_key: policy.signing_key().map(Arc::from),
            signing_since: policy.signing_since.clone().map(Arc::new),
            inactivity_timeout: Duration::from_secs(policy.inactivity_timeout.unwrap_or(0)),
            unenroll_timeout: Duration::from_secs(policy.unenroll_timeout.unwrap_or(0)),
        };
        self.malformed.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let is_news = {
            let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
            let is_news = heads.get(&id).is_none_or(|known| known.revision < revision);
            if is_news {
                heads.insert(id.clone(), head);
            }
            is_news
        };
        if is_news {
            info!(policy = id, revision = policy.revision_idx, "a revision is out");
            (self.listener)(&id);
        }
        Ok(())
    }

    fn set_aside(&self, id: String, reason: String) {
        error!(policy = id, reason, "a policy cannot be read: its agents keep what they have");
        self.malformed.write().unwrap_or_else(PoisonError::into_inner).insert(id, reason);
    }
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Policies").finish_non_exhaustive()
    }
}

struct PoliciesView<'a>(&'a Policies);

impl View<DeployedPolicy> for PoliciesView<'_> {
    async fn page(&self, listing: Listing<DeployedPolicy>) -> Result<(), Error> {
        for malformed in listing.malformed {
            self.0.set_aside(malformed.id, malformed.error.to_string());
        }
        for versioned in listing.values {
            self.0.admit(versioned).await?;
        }
        Ok(())
    }

    fn listed(&self, ids: &HashSet<String>, revision: Revision) {
        let mut heads = self.0.heads.write().unwrap_or_else(PoisonError::into_inner);
        heads.retain(|id, head| ids.contains(id) || head.revision > revision);
    }

    async fn change(&self, _: Revision, change: TypedChange<DeployedPolicy>) -> Result<(), Error> {
        match change {
            TypedChange::Put(versioned) => self.0.admit(versioned).await?,
            // Its agents keep what they run.
            TypedChange::Delete { id } => {
                self.0.heads.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
            }
            TypedChange::Malformed(malformed) => {
                self.0.set_aside(malformed.id, malformed.error.to_string());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The newest revision of a policy, as it is rendered.
    pub(crate) fn head(rendered: Rendered) -> Head {
        Head {
            revision: Revision(rendered.revision),
            rendered: Arc::new(rendered),
            artifacts: Arc::default(),
            recipe: 0,
            signing_key: None,
            signing_since: None,
            inactivity_timeout: Duration::ZERO,
            unenroll_timeout: Duration::ZERO,
        }
    }
}
