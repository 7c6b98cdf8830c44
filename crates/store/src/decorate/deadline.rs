//! A bound in time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::contract::{
    Collection, Document, Lease, LeaseId, ListRequest, Page, Revision, Scope, Store, Watch, Write,
};
use crate::error::{Error, ErrorKind, RenewError, WriteError};

/// Bounds every call: what takes longer fails as unavailable, and a write as unknown.
#[derive(Clone, Debug)]
pub struct Deadline {
    inner: Arc<dyn Store>,
    limit: Duration,
}

impl Deadline {
    /// `inner`, with `limit` for every call.
    pub fn new(inner: Arc<dyn Store>, limit: Duration) -> Deadline {
        Deadline { inner, limit }
    }

    fn late(&self, of: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("{of}: no answer within {:?}", self.limit))
    }

    async fn bound<T>(
        &self,
        of: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        timeout(self.limit, call).await.unwrap_or_else(|_| Err(self.late(of)))
    }
}

#[async_trait::async_trait]
impl Store for Deadline {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        self.bound("get", self.inner.get(collection, id)).await
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        self.bound("get", self.inner.get_many(collection, ids)).await
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        self.bound("list", self.inner.list(collection, request)).await
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        let call = self.inner.write(collection, write, while_held);
        timeout(self.limit, call).await.unwrap_or_else(|_| Err(WriteError::Unknown(self.late("write"))))
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        let count = writes.len();
        let call = self.inner.write_many(collection, writes, while_held);
        timeout(self.limit, call)
            .await
            .unwrap_or_else(|_| (0..count).map(|_| Err(WriteError::Unknown(self.late("write")))).collect())
    }

    /// Only the start is bound: a watch goes on for ever.
    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        self.bound("watch", self.inner.watch(collection, scope, after)).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.bound("grant a lease", self.inner.grant(ttl)).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        let call = self.inner.renew(lease);
        timeout(self.limit, call)
            .await
            .unwrap_or_else(|_| Err(RenewError::Failed(self.late("renew a lease"))))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.bound("revoke a lease", self.inner.revoke(lease)).await
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        self.bound("compact", self.inner.compact(keep)).await
    }

    async fn check(&self) -> Result<String, Error> {
        self.bound("check the store", self.inner.check()).await
    }
}
