//! Names that only one object may have.
//!
//! A document per name says whose it is. Who makes or renames an object takes the name first, writes the object while
//! holding a lease that the claim names, and settles the claim then. Whoever meets a claim that was never settled,
//! because a server ended in between, ends its lease: from then on its holder writes nothing any more, so that what
//! the object is now says whose the name is. The same keeps an id for one maker.

use std::sync::Arc;
use std::time::Duration;

use fleet_policy::timestamp::Timestamp;
use fleet_store::{Collection, Error, Expect, LeaseId, Revision, Store, Typed, Write, WriteError};
use serde::{Deserialize, Serialize};
use tracing::debug;

/// `Claim`s by `<kind>:<name>`.
pub static CLAIMS: Collection = Collection { name: "claims", indexed: &[] };
/// Whoever takes a name writes the object within this time, or not at all. Less than the pause between two looks for
/// what was left over: see [`crate::deployment::Deployer::keep_mending`].
const HOLD: Duration = Duration::from_secs(20);
/// It is looked so often whose a name is when others take it and leave it at the same moment.
const MOST_ATTEMPTS: usize = 10;

/// Why a name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The object with this id has it.
    #[error("{0} has it already")]
    Taken(String),
    /// Somebody is about to take it.
    #[error("somebody is taking it at this moment")]
    Pending,
    /// The store does not answer.
    #[error("the store does not answer")]
    Store(#[source] WriteError),
}

impl From<WriteError> for ClaimError {
    fn from(error: WriteError) -> ClaimError {
        ClaimError::Store(error)
    }
}

impl From<Error> for ClaimError {
    fn from(error: Error) -> ClaimError {
        ClaimError::Store(WriteError::NotDone(error))
    }
}

/// Who knows which objects have a name.
#[async_trait::async_trait]
pub trait Owners: Send + Sync {
    /// Whether the object with this id has it, by what the store says.
    async fn has(&self, id: &str) -> Result<bool, Error>;
}

/// It is no name that an object could have.
struct Nobody;

#[async_trait::async_trait]
impl Owners for Nobody {
    async fn has(&self, _: &str) -> Result<bool, Error> {
        Ok(false)
    }
}

/// Whose a name is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Claim {
    /// The id of the object.
    owner: String,
    /// When it was taken.
    at: Timestamp,
    /// While the object is not written yet: what it is written under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseId>,
}

/// Names that were taken together, for objects that are about to be written.
#[derive(Debug)]
pub struct Taken {
    claims: Typed<Claim>,
    store: Arc<dyn Store>,
    now: Timestamp,
    lease: LeaseId,
    held: Vec<Held>,
}

/// One of them.
#[derive(Debug)]
struct Held {
    id: String,
    revision: Revision,
    owner: String,
    /// Whether the object keeps it, or it was only for whoever makes the object.
    stays: bool,
    /// Whether it was the object's before: it may have it still when it is not written now.
    was_its: bool,
}

fn document_id(kind: &str, name: &str) -> String {
    format!("{kind}:{name}")
}

impl Taken {
    /// Nothing yet.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn nothing(store: &Arc<dyn Store>, now: Timestamp) -> Result<Taken, Error> {
        let lease = store.grant(HOLD).await?.id;
        let claims = Typed::new(Arc::clone(store), &CLAIMS);
        Ok(Taken { claims, store: Arc::clone(store), now, lease, held: Vec::new() })
    }

    /// The lease that the objects must be written under.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Takes a name for the object `owner`. `owners`: who knows which objects have it.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn take(
        &mut self,
        kind: &str,
        name: &str,
        owner: &str,
        owners: &dyn Owners,
    ) -> Result<(), ClaimError> {
        let held = self.held(document_id(kind, name), owner, true, owners).await?;
        self.held.push(held);
        Ok(())
    }

    /// Keeps others away who want to make the object `owner`, until that is done.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn keep_away(&mut self, kind: &str, owner: &str) -> Result<(), ClaimError> {
        let held = self.held(document_id(kind, owner), owner, false, &Nobody).await?;
        self.held.push(held);
        Ok(())
    }

    async fn held(
        &self,
        id: String,
        owner: &str,
        stays: bool,
        owners: &dyn Owners,
    ) -> Result<Held, ClaimError> {
        let claim = Claim { owner: owner.to_owned(), at: self.now, lease: Some(self.lease) };
        let (mut expect, mut was_its) = (Expect::Absent, false);
        for _ in 0..MOST_ATTEMPTS {
            match self.claims.put(&id, &claim, expect, None, None).await {
                Ok(revision) => return Ok(Held { id, revision, owner: claim.owner, stays, was_its }),
                // Looked at: it may be this one's now.
                Err(WriteError::Conflict { .. } | WriteError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
            expect = match self.claims.get(&id).await? {
                None => {
                    was_its = false;
                    Expect::Absent
                }
                Some(found) if found.value == claim => {
                    return Ok(Held { id, revision: found.revision, owner: claim.owner, stays, was_its });
                }
                Some(found) => {
                    self.require_free(&found.value, owner, owners).await?;
                    was_its = found.value.owner == owner;
                    Expect::Revision(found.revision)
                }
            };
        }
        Err(ClaimError::Pending)
    }

    async fn require_free(&self, claim: &Claim, owner: &str, owners: &dyn Owners) -> Result<(), ClaimError> {
        if let Some(lease) = claim.lease {
            if claim.at.until(self.now) < HOLD {
                return Err(ClaimError::Pending);
            }
            self.store.revoke(lease).await?;
        }
        if claim.owner != owner && owners.has(&claim.owner).await? {
            return Err(ClaimError::Taken(claim.owner.clone()));
        }
        Ok(())
    }

    /// The objects are written: the names are theirs. What fails is found out by whoever wants one of them.
    pub async fn settle(self) {
        self.finish(true).await;
    }

    /// The objects are certainly not written: the names are free, but for those that they had before.
    pub async fn leave(self) {
        self.finish(false).await;
    }

    async fn finish(self, is_written: bool) {
        let mut writes = Vec::with_capacity(self.held.len());
        for held in &self.held {
            let expect = Expect::Revision(held.revision);
            let claim = Claim { owner: held.owner.clone(), at: self.now, lease: None };
            writes.push(match held.stays && (is_written || held.was_its) {
                true => self.claims.encode(&held.id, &claim, expect, None),
                false => Ok(Write::delete(&held.id, expect)),
            });
        }
        let writes = writes.into_iter().filter_map(Result::ok).collect();
        for error in self.claims.write_many(writes, None).await.into_iter().filter_map(Result::err) {
            debug!(
                error = &error as &dyn std::error::Error,
                "a claim stays as it is until somebody wants it"
            );
        }
        if let Err(error) = self.store.revoke(self.lease).await {
            debug!(error = &error as &dyn std::error::Error, "a lease ends by itself");
        }
    }
}

/// Gives a name free that an object had.
///
/// # Errors
/// The store does not take it: then whoever wants the name finds out.
pub async fn release(store: &Arc<dyn Store>, kind: &str, name: &str, owner: &str) -> Result<(), WriteError> {
    let claims: Typed<Claim> = Typed::new(Arc::clone(store), &CLAIMS);
    let id = document_id(kind, name);
    let Some(found) = claims.get(&id).await.map_err(WriteError::NotDone)? else { return Ok(()) };
    if found.value.owner != owner || found.value.lease.is_some() {
        return Ok(());
    }
    match claims.delete(&id, Expect::Revision(found.revision), None).await {
        // Somebody took it meanwhile.
        Ok(_) | Err(WriteError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
