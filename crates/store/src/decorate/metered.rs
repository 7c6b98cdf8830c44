//! What calls cost, for metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::{
    Collection, Document, Lease, LeaseId, ListRequest, Page, Revision, Scope, Store, Watch, Write,
};
use crate::error::{Error, ErrorKind, RenewError, WriteError};

/// The kinds of calls, under the names that metrics give them. `get`, `get_all` and `set` are those that
/// fleet's metrics have always had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Store::get`] and [`Store::get_many`].
    Get,
    /// [`Store::list`].
    GetAll,
    /// [`Store::write`] and [`Store::write_many`].
    Set,
    /// [`Store::watch`], until it stands.
    Watch,
    /// [`Store::grant`].
    Grant,
    /// [`Store::renew`].
    Renew,
    /// [`Store::revoke`].
    Revoke,
    /// [`Store::compact`].
    Compact,
    /// [`Store::check`].
    Check,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 9] = [
        Operation::Get,
        Operation::GetAll,
        Operation::Set,
        Operation::Watch,
        Operation::Grant,
        Operation::Renew,
        Operation::Revoke,
        Operation::Compact,
        Operation::Check,
    ];

    /// The counter of calls, labelled `type` with [`Operation::as_str`].
    pub const COUNT: &'static str = "fleet_registry_operation_count_total";
    /// The counter of failed calls, labelled `type`.
    pub const FAILED_COUNT: &'static str = "fleet_registry_operation_failed_count_total";
    /// The histogram of their durations in seconds, labelled `ops`.
    pub const DURATION: &'static str = "fleet_registry_operation_duration_second";

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::GetAll => "get_all",
            Operation::Set => "set",
            Operation::Watch => "watch",
            Operation::Grant => "grant",
            Operation::Renew => "renew",
            Operation::Revoke => "revoke",
            Operation::Compact => "compact",
            Operation::Check => "check",
        }
    }
}

/// Who is told of calls. Called on every one: it must not block.
pub trait Observer: Send + Sync {
    /// One call ended. `failed`: the store could not do its work; a conflict, a lost lease or a forgotten
    /// revision is an answer, not a failure.
    fn observe(&self, operation: Operation, took: Duration, failed: bool);
}

impl<F: Fn(Operation, Duration, bool) + Send + Sync> Observer for F {
    fn observe(&self, operation: Operation, took: Duration, failed: bool) {
        self(operation, took, failed);
    }
}

/// Tells an observer of every call.
#[derive(Clone)]
pub struct Metered {
    inner: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
}

impl fmt::Debug for Metered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metered").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Metered {
    /// `inner`, observed.
    pub fn new(inner: Arc<dyn Store>, observer: Arc<dyn Observer>) -> Metered {
        Metered { inner, observer }
    }

    fn start(&self, operation: Operation) -> Call<'_> {
        Call { observer: &*self.observer, operation, started: Instant::now() }
    }
}

struct Call<'observer> {
    observer: &'observer dyn Observer,
    operation: Operation,
    started: Instant,
}

impl Call<'_> {
    fn end<T, E: Failed>(self, result: Result<T, E>) -> Result<T, E> {
        let failed = result.as_ref().is_err_and(Failed::failed);
        self.observer.observe(self.operation, self.started.elapsed(), failed);
        result
    }
}

/// Whether an error says that the store could not do its work.
trait Failed {
    fn failed(&self) -> bool;
}

impl Failed for Error {
    fn failed(&self) -> bool {
        self.kind != ErrorKind::Compacted
    }
}

impl Failed for WriteError {
    fn failed(&self) -> bool {
        match self {
            WriteError::Conflict { .. } | WriteError::LeaseLost => false,
            WriteError::NotDone(_) | WriteError::Unknown(_) => true,
        }
    }
}

impl Failed for RenewError {
    fn failed(&self) -> bool {
        matches!(self, RenewError::Failed(_))
    }
}

#[async_trait::async_trait]
impl Store for Metered {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        let call = self.start(Operation::Get);
        call.end(self.inner.get(collection, id).await)
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        let call = self.start(Operation::Get);
        call.end(self.inner.get_many(collection, ids).await)
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        let call = self.start(Operation::GetAll);
        call.end(self.inner.list(collection, request).await)
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        let call = self.start(Operation::Set);
        call.end(self.inner.write(collection, write, while_held).await)
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        let started = Instant::now();
        let results = self.inner.write_many(collection, writes, while_held).await;
        let failed = results.iter().any(|result| result.as_ref().is_err_and(Failed::failed));
        self.observer.observe(Operation::Set, started.elapsed(), failed);
        results
    }

    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        let call = self.start(Operation::Watch);
        call.end(self.inner.watch(collection, scope, after).await)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let call = self.start(Operation::Grant);
        call.end(self.inner.grant(ttl).await)
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        let call = self.start(Operation::Renew);
        call.end(self.inner.renew(lease).await)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let call = self.start(Operation::Revoke);
        call.end(self.inner.revoke(lease).await)
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        let call = self.start(Operation::Compact);
        call.end(self.inner.compact(keep).await)
    }

    async fn check(&self) -> Result<String, Error> {
        let call = self.start(Operation::Check);
        call.end(self.inner.check().await)
    }
}
