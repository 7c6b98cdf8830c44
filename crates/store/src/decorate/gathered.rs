//! Many small writes as few large ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::contract::{
    Collection, Document, Lease, LeaseId, ListRequest, Page, Revision, Scope, Store, Watch, Write,
};
use crate::error::{Error, ErrorKind, RenewError, WriteError};

/// So many batches of a collection are under way at a time.
const FLIGHTS: usize = 2;
/// The most writes of one batch.
const BATCH: usize = 500;
/// More writes than this do not wait: the store is too slow for what is asked of it.
const MOST_WAITING: usize = 50_000;

type Outcome = Result<Revision, WriteError>;

/// A write that waits for the next batch, and who waits for it.
type Waiting = (Write, oneshot::Sender<Outcome>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    in_flight: usize,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<dyn Store>,
    queues: Mutex<HashMap<&'static str, Queue>>,
}

/// Gathers single writes: while batches are under way, writes that come wait for the next one. One that comes
/// alone goes at once. For engines where a request costs much more than what is written by it.
///
/// Needs a runtime: a batch is written by a task of its own, so that a caller who gives up takes no other
/// caller's write along. Writes that depend on a lease (`while_held`) go by themselves.
#[derive(Clone, Debug)]
pub struct Gathered {
    shared: Arc<Shared>,
}

impl Gathered {
    /// `inner`, with its single writes gathered.
    pub fn new(inner: Arc<dyn Store>) -> Gathered {
        Gathered { shared: Arc::new(Shared { inner, queues: Mutex::default() }) }
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, HashMap<&'static str, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a write. Whether a task must be started for it; `Err`: too many wait.
    fn add(&self, collection: &'static Collection, waiting: Waiting) -> Result<bool, Error> {
        let mut queues = self.queues();
        let queue = queues.entry(collection.name).or_default();
        if queue.waiting.len() >= MOST_WAITING {
            let text = format!("write {}: {MOST_WAITING} writes wait already", collection.name);
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        queue.waiting.push(waiting);
        let starts = queue.in_flight < FLIGHTS;
        queue.in_flight += usize::from(starts);
        Ok(starts)
    }

    /// What waits now; `None`: nothing does, and this flight is over.
    fn take(&self, collection: &'static Collection) -> Option<Vec<Waiting>> {
        let mut queues = self.queues();
        let queue = queues.entry(collection.name).or_default();
        if queue.waiting.is_empty() {
            queue.in_flight = queue.in_flight.saturating_sub(1);
            return None;
        }
        let count = queue.waiting.len().min(BATCH);
        Some(queue.waiting.drain(..count).collect())
    }

    /// Writes batches until nothing waits.
    async fn fly(self: Arc<Shared>, collection: &'static Collection) {
        while let Some(batch) = self.take(collection) {
            let (writes, callers): (Vec<Write>, Vec<oneshot::Sender<Outcome>>) = batch.into_iter().unzip();
            let outcomes = self.inner.write_many(collection, writes, None).await;
            for (caller, outcome) in callers.into_iter().zip(outcomes) {
                // Who gave up does not want to know.
                let _ = caller.send(outcome);
            }
        }
    }
}

#[async_trait::async_trait]
impl Store for Gathered {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        self.shared.inner.get(collection, id).await
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        self.shared.inner.get_many(collection, ids).await
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        self.shared.inner.list(collection, request).await
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        if while_held.is_some() {
            return self.shared.inner.write(collection, write, while_held).await;
        }
        let (caller, outcome) = oneshot::channel();
        if self.shared.add(collection, (write, caller)).map_err(WriteError::NotDone)? {
            tokio::spawn(Arc::clone(&self.shared).fly(collection));
        }
        outcome.await.unwrap_or_else(|_| {
            let text = format!("write {}: its batch was given up", collection.name);
            Err(WriteError::Unknown(Error::new(ErrorKind::Unavailable, text)))
        })
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        self.shared.inner.write_many(collection, writes, while_held).await
    }

    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        self.shared.inner.watch(collection, scope, after).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.shared.inner.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        self.shared.inner.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.shared.inner.revoke(lease).await
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        self.shared.inner.compact(keep).await
    }

    async fn check(&self) -> Result<String, Error> {
        self.shared.inner.check().await
    }
}
