//! One collection in memory.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use fleet_store::{
    Collection, Error, Expect, LeaseId, Listing, Revision, Store, Typed, TypedChange, Versioned, WriteError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::error;

use crate::feed::{View, feed};

/// The documents by their ids, as they were at one moment.
pub type Known<T> = Arc<BTreeMap<String, Arc<Versioned<T>>>>;

/// One collection in memory: what was read, and what this server has written since.
#[derive(Debug)]
pub struct Table<T> {
    documents: Typed<T>,
    known: RwLock<Known<T>>,
}

impl<T> Table<T>
where
    T: Serialize + DeserializeOwned + Send + Sync,
{
    /// The collection in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, collection: &'static Collection) -> Table<T> {
        Table { documents: Typed::new(Arc::clone(store), collection), known: RwLock::default() }
    }

    /// Follows the collection, for ever.
    pub async fn follow(&self, ready: impl FnOnce() + Send) {
        feed(self.documents.clone(), self, ready).await;
    }

    /// All documents, as they are known now.
    #[must_use]
    pub fn all(&self) -> Known<T> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The document with this id, as it is known now.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Versioned<T>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The document with this id, as the store has it.
    ///
    /// # Errors
    /// The store fails, or the document cannot be read.
    pub async fn read(&self, id: &str) -> Result<Option<Arc<Versioned<T>>>, Error> {
        Ok(self.documents.get(id).await?.map(|found| self.admit(found)))
    }

    /// The documents with these ids, in their order, as the store has them.
    ///
    /// # Errors
    /// The store fails, or a document cannot be read.
    pub async fn read_many(&self, ids: &[String]) -> Result<Vec<Option<Arc<Versioned<T>>>>, Error> {
        let found = self.documents.get_many(ids).await?;
        Ok(found.into_iter().map(|found| found.map(|found| self.admit(found))).collect())
    }

    /// Reads all documents from the store: what other servers have written just now is among them.
    ///
    /// # Errors
    /// The store fails.
    pub async fn refresh(&self) -> Result<Known<T>, Error> {
        let listing = self.documents.list(fleet_store::Scope::All).await?;
        let revision = listing.revision;
        let mut ids: HashSet<String> =
            listing.malformed.iter().map(|malformed| malformed.id.clone()).collect();
        ids.extend(listing.values.iter().map(|found| found.id.clone()));
        self.page(listing).await?;
        self.listed(&ids, revision);
        Ok(self.all())
    }

    /// Writes a document. What it is now is known here at once.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn put(&self, id: &str, value: T, expect: Expect) -> Result<Arc<Versioned<T>>, WriteError> {
        self.put_while_held(id, value, expect, None).await
    }

    /// Writes a document as long as a lease is held: afterwards it is certainly not written.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn put_while_held(
        &self,
        id: &str,
        value: T,
        expect: Expect,
        lease: Option<LeaseId>,
    ) -> Result<Arc<Versioned<T>>, WriteError> {
        let revision = self.documents.put(id, &value, expect, None, lease).await?;
        Ok(self.admit(Versioned { id: id.to_owned(), revision, value }))
    }

    /// Removes a document.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn delete(&self, id: &str, expect: Expect) -> Result<(), WriteError> {
        let revision = self.documents.delete(id, expect, None).await?;
        self.forget(id, revision);
        Ok(())
    }

    fn admit(&self, found: Versioned<T>) -> Arc<Versioned<T>> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match known.get(&found.id) {
            Some(newer) if newer.revision >= found.revision => Arc::clone(newer),
            _ => {
                let found = Arc::new(found);
                // Copies the map only if a snapshot of it is in use.
                Arc::make_mut(&mut known).insert(found.id.clone(), Arc::clone(&found));
                found
            }
        }
    }

    /// A document was removed by this server, at this revision.
    pub fn forget(&self, id: &str, revision: Revision) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.get(id).is_some_and(|found| found.revision <= revision) {
            Arc::make_mut(&mut known).remove(id);
        }
    }

    fn set_aside(&self, id: &str, error: &serde_json::Error) {
        let collection = self.documents.collection().name;
        error!(collection, id, %error, "a document cannot be read: it stays as it was known");
    }
}

impl<T> View<T> for Table<T>
where
    T: Serialize + DeserializeOwned + Send + Sync,
{
    async fn page(&self, listing: Listing<T>) -> Result<(), Error> {
        for malformed in listing.malformed {
            self.set_aside(&malformed.id, &malformed.error);
        }
        for found in listing.values {
            self.admit(found);
        }
        Ok(())
    }

    fn listed(&self, ids: &HashSet<String>, revision: Revision) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|(id, found)| !ids.contains(id) && found.revision <= revision) {
            Arc::make_mut(&mut known).retain(|id, found| ids.contains(id) || found.revision > revision);
        }
    }

    async fn change(&self, revision: Revision, change: TypedChange<T>) -> Result<(), Error> {
        match change {
            TypedChange::Put(found) => drop(self.admit(found)),
            TypedChange::Delete { id } => self.forget(&id, revision),
            TypedChange::Malformed(malformed) => self.set_aside(&malformed.id, &malformed.error),
        }
        Ok(())
    }
}
