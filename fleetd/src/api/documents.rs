//! A collection as the API reads and writes it: some of its documents may be malformed.
//!
//! A document that cannot be read, because a newer version or a person wrote it, must not take others with
//! it: lists leave it out, and say so in the log. Who asks for one such document is told so, and can replace
//! or remove it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_store::contract::MAX_ID;
use fleet_store::{
    Collection, Expect, Listing, Malformed, Revision, Scope, Store, Typed, Versioned, WriteError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tracing::error;

use super::answer::Failure;

/// A collection.
#[derive(Debug)]
pub(super) struct Documents<T> {
    typed: Typed<T>,
    collection: &'static Collection,
    named: Mutex<Named>,
}

/// Malformed documents that the log names already, because clients poll: each would be named several times a
/// second.
type Named = BTreeMap<String, Revision>;

/// So many are remembered; where there are more, all are named again at times.
const NAMED_MAX: usize = 256;

/// A document as it was found.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// There is none.
    Nothing,
    /// It is there.
    Value(Versioned<T>),
    /// It is there, and cannot be read.
    Malformed(Malformed),
}

impl<T> Found<T> {
    /// The value, where a malformed document is as good as none.
    pub(super) fn value(self) -> Option<Versioned<T>> {
        match self {
            Found::Value(value) => Some(value),
            Found::Nothing | Found::Malformed(_) => None,
        }
    }

    /// What a write must find to change just this.
    pub(super) fn expect(&self) -> Expect {
        match self {
            Found::Nothing => Expect::Absent,
            Found::Value(value) => Expect::Revision(value.revision),
            Found::Malformed(malformed) => Expect::Revision(malformed.revision),
        }
    }
}

impl<T: Serialize + DeserializeOwned> Documents<T> {
    pub(super) fn new(store: &Arc<dyn Store>, collection: &'static Collection) -> Documents<T> {
        Documents { typed: Typed::new(Arc::clone(store), collection), collection, named: Mutex::default() }
    }

    /// What is there under an id, which may be anything that a client asks for.
    pub(super) async fn find(&self, id: &str) -> Result<Found<T>, Failure> {
        if !can_be_id(id) {
            return Ok(Found::Nothing);
        }
        let Some(document) = self.typed.store().get(self.collection, id).await? else {
            return Ok(Found::Nothing);
        };
        match serde_json::from_slice(&document.body) {
            Ok(value) => Ok(Found::Value(Versioned { id: document.id, revision: document.revision, value })),
            Err(error) => {
                let malformed = Malformed { id: document.id, revision: document.revision, error };
                self.name(&malformed).await;
                Ok(Found::Malformed(malformed))
            }
        }
    }

    /// All that can be read.
    pub(super) async fn list(&self) -> Result<Vec<Versioned<T>>, Failure> {
        self.list_scope(Scope::All).await
    }

    /// All that can be read of those whose id begins with `prefix`, which may be anything.
    pub(super) async fn list_prefix(&self, prefix: String) -> Result<Vec<Versioned<T>>, Failure> {
        if !can_be_id(&prefix) {
            return Ok(Vec::new());
        }
        self.list_scope(Scope::Prefix(prefix)).await
    }

    async fn list_scope(&self, scope: Scope) -> Result<Vec<Versioned<T>>, Failure> {
        let Listing { values, malformed, .. } = self.typed.list(scope).await?;
        for malformed in &malformed {
            self.name(malformed).await;
        }
        Ok(values)
    }

    pub(super) async fn put(&self, id: &str, value: &T, expect: Expect) -> Result<Revision, WriteError> {
        self.typed.put(id, value, expect, None, None).await
    }

    pub(super) async fn delete(&self, id: &str, expect: Expect) -> Result<Revision, WriteError> {
        self.typed.delete(id, expect, None).await
    }

    async fn name(&self, malformed: &Malformed) {
        let mut named = self.named.lock().await;
        if named.get(&malformed.id) == Some(&malformed.revision) {
            return;
        }
        if named.len() >= NAMED_MAX {
            named.clear();
        }
        named.insert(malformed.id.clone(), malformed.revision);
        error!(
            collection = self.collection.name,
            id = malformed.id,
            error = %malformed.error,
            "a document cannot be read: it is left out"
        );
    }
}

/// Whether a store can hold a document of this id.
pub(super) fn can_be_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && !id.contains('\0')
}
