//! The contract's calls for one Rust type.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::contract::{
    Change, Collection, Document, Expect, LeaseId, ListRequest, PageToken, Revision, Scope, Store, Watch,
    Write,
};
use crate::error::{Error, ErrorKind, WatchError, WriteError};

/// A collection of a store whose documents are all of one type.
#[derive(Debug)]
pub struct Typed<T> {
    store: Arc<dyn Store>,
    collection: &'static Collection,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Typed<T> {
    fn clone(&self) -> Typed<T> {
        Typed { store: Arc::clone(&self.store), collection: self.collection, of: PhantomData }
    }
}

/// A value with the revision it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The document's id.
    pub id: String,
    /// The revision of the write that made it.
    pub revision: Revision,
    /// The value.
    pub value: T,
}

/// A document that is not what its collection holds. It is set aside and shown; it stops nobody else.
#[derive(Debug)]
pub struct Malformed {
    /// The document's id.
    pub id: String,
    /// Its revision.
    pub revision: Revision,
    /// Why it cannot be read.
    pub error: serde_json::Error,
}

/// A whole collection, or a part of one, at one revision.
#[derive(Debug)]
pub struct Listing<T> {
    /// The values in the byte order of their ids.
    pub values: Vec<Versioned<T>>,
    /// What could not be read.
    pub malformed: Vec<Malformed>,
    /// The revision that this is true at.
    pub revision: Revision,
}

/// A change to a document of type `T`.
#[derive(Debug)]
pub enum TypedChange<T> {
    /// Created or replaced.
    Put(Versioned<T>),
    /// Removed.
    Delete {
        /// The document that was.
        id: String,
    },
    /// Replaced by something that cannot be read.
    Malformed(Malformed),
}

fn decode<T: DeserializeOwned>(document: Document) -> Result<Versioned<T>, Malformed> {
    match serde_json::from_slice(&document.body) {
        Ok(value) => Ok(Versioned { id: document.id, revision: document.revision, value }),
        Err(error) => Err(Malformed { id: document.id, revision: document.revision, error }),
    }
}

impl<T: Serialize + DeserializeOwned> Typed<T> {
    /// The collection `collection` of `store`.
    pub fn new(store: Arc<dyn Store>, collection: &'static Collection) -> Typed<T> {
        Typed { store, collection, of: PhantomData }
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The value with this id. A document that cannot be read is [`ErrorKind::Corrupt`].
    pub async fn get(&self, id: &str) -> Result<Option<Versioned<T>>, Error> {
        let Some(document) = self.store.get(self.collection, id).await? else { return Ok(None) };
        match decode(document) {
            Ok(versioned) => Ok(Some(versioned)),
            Err(malformed) => Err(self.corrupt(malformed)),
        }
    }

    /// The values with these ids. What is absent or cannot be read is `None`.
    pub async fn get_many(&self, ids: &[String]) -> Result<Vec<Option<Versioned<T>>>, Error> {
        let documents = self.store.get_many(self.collection, ids).await?;
        Ok(documents.into_iter().map(|document| decode(document?).ok()).collect())
    }

    /// What documents this holds.
    pub fn collection(&self) -> &'static Collection {
        self.collection
    }

    /// All values in the scope, at one revision.
    pub async fn list(&self, scope: Scope) -> Result<Listing<T>, Error> {
        let (listing, _) = self.page(ListRequest { scope, ..ListRequest::all() }).await?;
        Ok(listing)
    }

    /// A page of values, and how to ask for the next one; see [`Store::list`].
    pub async fn page(&self, request: ListRequest) -> Result<(Listing<T>, Option<PageToken>), Error> {
        let page = self.store.list(self.collection, request).await?;
        let mut listing = Listing {
            values: Vec::with_capacity(page.documents.len()),
            malformed: Vec::new(),
            revision: page.revision,
        };
        for document in page.documents {
            match decode(document) {
                Ok(versioned) => listing.values.push(versioned),
                Err(malformed) => listing.malformed.push(malformed),
            }
        }
        Ok((listing, page.next))
    }

    /// Writes one value.
    pub async fn put(
        &self,
        id: &str,
        value: &T,
        expect: Expect,
        lease: Option<LeaseId>,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        let write = self.encode(id, value, expect, lease).map_err(WriteError::NotDone)?;
        self.store.write(self.collection, write, while_held).await
    }

    /// Removes one document.
    pub async fn delete(
        &self,
        id: &str,
        expect: Expect,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        self.store.write(self.collection, Write::delete(id, expect), while_held).await
    }

    /// The write that [`Typed::put`] would do, for [`Typed::write_many`].
    pub fn encode(
        &self,
        id: &str,
        value: &T,
        expect: Expect,
        lease: Option<LeaseId>,
    ) -> Result<Write, Error> {
        let body = serde_json::to_vec(value).map_err(|error| {
            Error::caused_by(ErrorKind::Invalid, format!("encode {}/{id}", self.collection.name), error)
        })?;
        Ok(match lease {
            Some(lease) => Write::put_on_lease(id, expect, body, lease),
            None => Write::put(id, expect, body),
        })
    }

    /// Does many writes; see [`Store::write_many`].
    pub async fn write_many(
        &self,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        self.store.write_many(self.collection, writes, while_held).await
    }

    /// Watches the scope; see [`Store::watch`].
    pub async fn watch(&self, scope: Scope, after: Revision) -> Result<TypedWatch<T>, Error> {
        let watch = self.store.watch(self.collection, scope, after).await?;
        Ok(TypedWatch { watch, of: PhantomData })
    }

    fn corrupt(&self, malformed: Malformed) -> Error {
        let message = format!("decode {}/{}", self.collection.name, malformed.id);
        Error::caused_by(ErrorKind::Corrupt, message, malformed.error)
    }
}

/// Everything that happened at one revision; see [`Changes`](crate::Changes).
pub type TypedChanges<T> = (Revision, Vec<TypedChange<T>>);

/// A running watch of a [`Typed`] collection.
#[derive(Debug)]
pub struct TypedWatch<T> {
    watch: Watch,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> TypedWatch<T> {
    /// The next changes with their revision; see [`Watch::next`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<TypedChanges<T>, WatchError>> {
        self.watch.next().await.map(|result| result.map(|changes| (changes.revision, typed(changes.changes))))
    }

    /// The next changes if some have already arrived.
    pub fn try_next(&mut self) -> Option<Result<TypedChanges<T>, WatchError>> {
        self.watch.try_next().map(|result| result.map(|changes| (changes.revision, typed(changes.changes))))
    }
}

fn typed<T: DeserializeOwned>(changes: Vec<Change>) -> Vec<TypedChange<T>> {
    changes
        .into_iter()
        .map(|change| match change {
            Change::Put(document) => match decode(document) {
                Ok(versioned) => TypedChange::Put(versioned),
                Err(malformed) => TypedChange::Malformed(malformed),
            },
            Change::Delete { id } => TypedChange::Delete { id },
        })
        .collect()
}
