//! An embedded store that can be closed and opened again below its users.

use std::sync::RwLock;
use std::time::Duration;

use fleet_store::embedded::Embedded;
use fleet_store::{
    Collection, Document, Error, Lease, LeaseId, ListRequest, Page, RenewError, Revision, Scope, Store,
    Watch, Write, WriteError,
};

/// The store that is open now.
#[derive(Debug)]
pub(crate) struct Reopened(pub(crate) RwLock<Option<Embedded>>);

impl Reopened {
    fn now(&self) -> Embedded {
        self.0.read().unwrap().clone().unwrap()
    }
}

#[async_trait::async_trait]
impl Store for Reopened {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        self.now().get(collection, id).await
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        self.now().get_many(collection, ids).await
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        self.now().list(collection, request).await
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        self.now().write(collection, write, while_held).await
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        self.now().write_many(collection, writes, while_held).await
    }

    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        self.now().watch(collection, scope, after).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.now().grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        self.now().renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.now().revoke(lease).await
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        self.now().compact(keep).await
    }

    async fn check(&self) -> Result<String, Error> {
        self.now().check().await
    }
}
