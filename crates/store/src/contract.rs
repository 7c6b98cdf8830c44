//! The words of the contract. Each promise stands at the call that makes it; `tests/conformance` holds
//! every backend to it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::error::{Error, RenewError, WatchError, WriteError};

/// A point in a collection's history. Later writes have greater revisions. Revisions of one collection can
/// be compared; revisions of two collections cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first write.
    pub const ZERO: Revision = Revision(0);
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What a backend knows of a collection: its name, and which fields of its documents a list may filter on.
#[derive(Debug, PartialEq, Eq)]
pub struct Collection {
    /// Lower-case words joined by `-`. Part of keys, table names and index names, so it never changes.
    /// Not [`LEASE_COLLECTION`].
    pub name: &'static str,
    /// Top-level string fields of the documents that [`ListRequest::filter`] may name.
    pub indexed: &'static [&'static str],
}

/// One document as it was at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The name of the document in its collection. 1 to 512 bytes, any characters but NUL.
    pub id: String,
    /// The revision of the write that made it what it is.
    pub revision: Revision,
    /// JSON text: an object.
    pub body: Bytes,
}

/// What must be true of a document for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// There is no such document.
    Absent,
    /// The document exists and was last written at this revision.
    Revision(Revision),
}

/// One write to one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The document.
    pub id: String,
    /// The condition, checked in the same step as the write.
    pub expect: Expect,
    /// What to do.
    pub action: Action,
}

/// What a [`Write`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create or replace the document.
    Put {
        /// JSON text: an object. At most [`MAX_BODY`] bytes, nested at most 100 levels deep.
        body: Bytes,
        /// The lease that the document lives on from now: gone with it. `None`: it stays, also when it
        /// lived on a lease before.
        lease: Option<LeaseId>,
    },
    /// Remove the document. With [`Expect::Any`], removing what is not there is done, not an error.
    Delete,
}

impl Write {
    /// A write that creates or replaces a document that lives on no lease.
    pub fn put(id: impl Into<String>, expect: Expect, body: impl Into<Bytes>) -> Write {
        Write { id: id.into(), expect, action: Action::Put { body: body.into(), lease: None } }
    }

    /// A write that creates or replaces a document that lives on `lease`.
    pub fn put_on_lease(
        id: impl Into<String>,
        expect: Expect,
        body: impl Into<Bytes>,
        lease: LeaseId,
    ) -> Write {
        Write { id: id.into(), expect, action: Action::Put { body: body.into(), lease: Some(lease) } }
    }

    /// A write that removes a document.
    pub fn delete(id: impl Into<String>, expect: Expect) -> Write {
        Write { id: id.into(), expect, action: Action::Delete }
    }
}

/// Which documents of a collection a list or a watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// Those whose id starts with this.
    Prefix(String),
    /// The one with this id.
    Id(String),
}

impl Scope {
    /// Whether a document with this id is in it.
    pub fn contains(&self, id: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Prefix(prefix) => id.starts_with(prefix.as_str()),
            Scope::Id(wanted) => id == wanted,
        }
    }
}

/// What a list asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Which ids.
    pub scope: Scope,
    /// Only documents whose indexed field (of [`Collection::indexed`]) is this string. All must hold.
    pub filter: Vec<(&'static str, String)>,
    /// The most documents a page may hold. `None`: all, however many.
    pub limit: Option<usize>,
    /// Where the last page ended. Scope and filter must be those of the request that it came from.
    pub page: Option<PageToken>,
}

impl ListRequest {
    /// Every document of the collection, in one page.
    pub fn all() -> ListRequest {
        ListRequest { scope: Scope::All, filter: Vec::new(), limit: None, page: None }
    }

    /// Every document whose id starts with `prefix`, in one page.
    pub fn prefix(prefix: impl Into<String>) -> ListRequest {
        ListRequest { scope: Scope::Prefix(prefix.into()), ..ListRequest::all() }
    }
}

/// Where a page ended: the pages of one list are all true at the revision of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// The revision that the list is true at.
    pub revision: Revision,
    /// The id that the next page starts after.
    pub after: String,
}

/// A page of documents in the byte order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The documents.
    pub documents: Vec<Document>,
    /// The revision that this list is true at: it shows every write acknowledged before the list (its first
    /// page) was asked for. A watch after it sees everything later.
    pub revision: Revision,
    /// How to ask for the rest, if there is more.
    pub next: Option<PageToken>,
}

/// A lease: a promise by the store to remove what lives on it when it is not renewed for its time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

/// A lease that the store granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives after its last renewal: what was asked for, rounded up to what the engine can
    /// count (etcd: whole seconds, at least 2).
    pub ttl: Duration,
}

/// What happened to one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created or replaced.
    Put(Document),
    /// It was removed, by a call or because its lease ended.
    Delete {
        /// The document that was.
        id: String,
    },
}

impl Change {
    /// The document that changed.
    pub fn id(&self) -> &str {
        match self {
            Change::Put(document) => &document.id,
            Change::Delete { id } => id,
        }
    }
}

/// Everything that happened at one revision (a batch of writes may share one), in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The revision: greater than that of the `Changes` before it. A later watch may start after it.
    pub revision: Revision,
    /// At least one change, all within the watch's scope.
    pub changes: Vec<Change>,
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    receiver: mpsc::Receiver<Result<Changes, WatchError>>,
}

impl Watch {
    /// For backends: the receiving half of a bounded channel. A backend that must wait for a slow reader
    /// waits; it never drops a change.
    pub fn new(receiver: mpsc::Receiver<Result<Changes, WatchError>>) -> Watch {
        Watch { receiver }
    }

    /// The next changes. After an error, and after `None` (the store was shut down), the watch is over.
    /// A backend reconnects by itself and resumes where it was; what it returns as an error cannot be mended
    /// by trying again from the same revision. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Changes, WatchError>> {
        self.receiver.recv().await
    }

    /// The next changes if some have already arrived.
    pub fn try_next(&mut self) -> Option<Result<Changes, WatchError>> {
        self.receiver.try_recv().ok()
    }
}

/// The contract.
///
/// Every call is bounded in time by the backend (its request timeout), needs no other call to be finished,
/// and may be cancelled: a cancelled write has an unknown outcome.
#[async_trait::async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The document, or `None`. Sees every write that was acknowledged before the call.
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error>;

    /// The documents with these ids, in their order, in few round trips. Each answer is as fresh as
    /// [`Store::get`]; together they need not be from one moment.
    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error>;

    /// A page of documents. With a token of a page whose revision is forgotten:
    /// [`ErrorKind::Compacted`](crate::ErrorKind::Compacted).
    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error>;

    /// Does one write and returns the revision that it made (for a delete of nothing: the current one).
    ///
    /// With `while_held`, only while that lease is held, checked in the same step: what a leader writes.
    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError>;

    /// Does many independent writes in few round trips. One answer for each, in their order; each write is
    /// done or not for itself. Two writes to one document are done in their order.
    async fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>>;

    /// Every change after `after`: in the order of revisions, deletes too, none lost, none repeated, over
    /// reconnects. A watch after the revision of a list may repeat what the list shows, once.
    /// [`WatchError::Compacted`]: `after` is older than what the store remembers; list again.
    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error>;

    /// A new lease of `ttl`, rounded up to what the engine can count.
    async fn grant(&self, ttl: Duration) -> Result<Lease, Error>;

    /// Starts the lease's time to live again. After [`RenewError::Lost`] it is over for good.
    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError>;

    /// Ends the lease: what lives on it is removed. Ending what is over is done, not an error.
    async fn revoke(&self, lease: LeaseId) -> Result<(), Error>;

    /// Lets the store forget history older than `keep`, so that it does not grow for ever. A store that sees
    /// to that by itself does nothing.
    async fn compact(&self, keep: Duration) -> Result<(), Error>;

    /// Whether the engine answers, and who it is: for logs and status pages.
    async fn check(&self) -> Result<String, Error>;
}

/// The largest document body in bytes. etcd refuses a request of more than 1.5 MiB.
pub const MAX_BODY: usize = 1024 * 1024;

/// The longest document id in bytes.
pub const MAX_ID: usize = 512;

/// The one collection name that backends keep for themselves: it names their leases.
pub const LEASE_COLLECTION: &str = "lease";
