//! The keys with which agents enrol.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use fleet_access::documents::{ENROLLMENT_KEYS, EnrollmentKey};
use fleet_policy::feed::{View, feed};
use fleet_store::{Error, Expect, Listing, Revision, Store, Typed, TypedChange, Versioned, WriteError};
use tracing::error;

/// A use is counted again so often when others count theirs at the same moment.
const ATTEMPTS: usize = 20;

/// The enrolment keys, in memory.
#[derive(Debug)]
pub struct EnrollmentKeys {
    keys: Typed<EnrollmentKey>,
    known: RwLock<HashMap<String, Arc<Versioned<EnrollmentKey>>>>,
}

impl EnrollmentKeys {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> EnrollmentKeys {
        EnrollmentKeys { keys: Typed::new(Arc::clone(store), &ENROLLMENT_KEYS), known: RwLock::default() }
    }

    /// Follows the keys in the store, for ever.
    pub async fn follow(&self, ready: impl FnOnce() + Send) {
        feed(self.keys.clone(), &KeysView(self), ready).await;
    }

    /// The key with this id. Asks the store when it is not known here: it may just have been made elsewhere.
    pub async fn find(&self, id: &str) -> Result<Option<Arc<Versioned<EnrollmentKey>>>, Error> {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(found) = self.keys.get(id).await? else { return Ok(None) };
        Ok(Some(self.put_known(found)))
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Versioned<EnrollmentKey>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Writes a key that must be new, or as it was read.
    pub async fn put(
        &self,
        key: EnrollmentKey,
        expect: Expect,
    ) -> Result<Arc<Versioned<EnrollmentKey>>, WriteError> {
        let id = key.id.clone();
        let revision = self.keys.put(&id, &key, expect, None, None).await?;
        Ok(self.put_known(Versioned { id, revision, value: key }))
    }

    /// Removes a key that is as it was read.
    pub async fn delete(&self, id: &str, revision: Revision) -> Result<(), WriteError> {
        self.keys.delete(id, Expect::Revision(revision), None).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    /// Counts a use of a key that allows only so many. `false`: it is used up.
    pub async fn count_use(&self, id: &str) -> Result<bool, WriteError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let found = self.keys.get(id).await.map_err(WriteError::NotDone)?;
            let Some(found) = found else { return Ok(false) };
            let Some(most) = found.value.max_uses else { return Ok(true) };
            if found.value.used >= most {
                self.put_known(found);
                return Ok(false);
            }
            let mut key = found.value.clone();
            key.used += 1;
            match self.put(key, Expect::Revision(found.revision)).await {
                Ok(_) => return Ok(true),
                Err(error @ WriteError::Conflict { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(WriteError::Conflict { current: None }))
    }

    fn put_known(&self, found: Versioned<EnrollmentKey>) -> Arc<Versioned<EnrollmentKey>> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match known.get(&found.id) {
            Some(newer) if newer.revision >= found.revision => Arc::clone(newer),
            _ => {
                let found = Arc::new(found);
                known.insert(found.id.clone(), Arc::clone(&found));
                found
            }
        }
    }
}

struct KeysView<'a>(&'a EnrollmentKeys);

impl View<EnrollmentKey> for KeysView<'_> {
    async fn page(&self, listing: Listing<EnrollmentKey>) -> Result<(), Error> {
        for malformed in listing.malformed {
            error!(key = malformed.id, error = %malformed.error, "an enrolment key cannot be read: it is set aside");
        }
        for versioned in listing.values {
            self.0.put_known(versioned);
        }
        Ok(())
    }

    fn listed(&self, ids: &HashSet<String>, revision: Revision) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, key| ids.contains(id) || key.revision > revision);
    }

    async fn change(&self, revision: Revision, change: TypedChange<EnrollmentKey>) -> Result<(), Error> {
        match change {
            TypedChange::Put(versioned) => drop(self.0.put_known(versioned)),
            TypedChange::Delete { id } => {
                let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
                if known.get(&id).is_some_and(|key| key.revision <= revision) {
                    known.remove(&id);
                }
            }
            TypedChange::Malformed(malformed) => {
                error!(key = malformed.id, error = %malformed.error, "an enrolment key cannot be read: it stays as it was");
            }
        }
        Ok(())
    }
}
