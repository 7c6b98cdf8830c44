//! The store's contract over a link.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::{
    Changes, Collection, Document, Error, ErrorKind, Lease, LeaseId, ListRequest, Page, RenewError, Revision,
    Scope, Store, Watch, WatchError, Write, WriteError,
};
use tokio::sync::mpsc;

use crate::link::{Link, Lost};
use crate::memory::{Memory, Shared};

/// How many deliveries wait for a slow reader of a watch.
const QUEUE: usize = 16;

/// A client of a [`Memory`] over a [`Link`].
#[derive(Clone, Debug)]
pub struct Client {
    store: Arc<Shared>,
    link: Link,
}

impl Client {
    /// A client of `memory` over `link`.
    pub fn new(memory: &Memory, link: &Link) -> Client {
        Client { store: memory.shared(), link: link.clone() }
    }

    /// Asks for something that changes nothing.
    async fn ask<T>(&self, what: &str, answer: impl FnOnce(&Shared) -> T) -> Result<T, Error> {
        let lost = |_| unavailable(what);
        self.link.arrive().await.map_err(lost)?;
        let answer = answer(&self.store);
        self.link.come_back().await.map_err(lost)?;
        Ok(answer)
    }

    /// Does some writes with one request.
    async fn write_together(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        let count = writes.len();
        let all = |answer: fn() -> WriteError| (0..count).map(|_| Err(answer())).collect();
        match self.link.arrive().await {
            Ok(()) => {}
            Err(Lost::Refused) => return all(|| WriteError::NotDone(unavailable("write"))),
            Err(Lost::Request | Lost::Answer) => {
                if let Some(delay) = self.link.delay() {
                    let store = Arc::clone(&self.store);
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        store.write_many(collection, writes, while_held);
                    });
                }
                return all(|| WriteError::Unknown(unavailable("write")));
            }
        }
        let answers = self.store.write_many(collection, writes, while_held);
        match self.link.come_back().await {
            Ok(()) => answers,
            Err(_) => all(|| WriteError::Unknown(unavailable("write"))),
        }
    }
}

fn unavailable(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the store does not answer"))
}

fn compacted(what: &str) -> Error {
    Error::new(ErrorKind::Compacted, format!("{what}: the revision is forgotten"))
}

#[async_trait::async_trait]
impl Store for Client {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        self.ask("get", |store| store.get(collection, id)).await
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        self.ask("get many", |store| ids.iter().map(|id| store.get(collection, id)).collect()).await
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        let page = self.ask("list", |store| store.list(collection, &request)).await?;
        page.map_err(|_| compacted("list"))
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        let mut answers = self.write_many(collection, vec![write], while_held).await;
        // One write has one answer.
        answers.pop().unwrap_or_else(|| Err(WriteError::Unknown(unavailable("write"))))
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        mut writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        let mut answers = Vec::with_capacity(writes.len());
        while !writes.is_empty() {
            let rest = writes.split_off(writes.len().min(self.link.portion()));
            answers.extend(self.write_together(collection, writes, while_held).await);
            writes = rest;
        }
        answers
    }

    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        // What is forgotten is told by the watch, as etcd does it.
        match self.ask("watch", |store| store.begin_watch(after)).await? {
            Ok(number) => {
                let (store, link) = (Arc::clone(&self.store), self.link.clone());
                tokio::spawn(Feed { store, link, number, collection, scope, after, sender }.run());
            }
            Err(_) => {
                let _ = sender.try_send(Err(WatchError::Compacted));
            }
        }
        Ok(Watch::new(receiver))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.ask("grant a lease", |store| store.grant(ttl)).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        match self.ask("renew a lease", |store| store.renew(lease)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RenewError::Lost),
            Err(error) => Err(RenewError::Failed(error)),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.ask("revoke a lease", |store| store.revoke(lease)).await
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        self.ask("compact", |store| store.compact(keep)).await
    }

    async fn check(&self) -> Result<String, Error> {
        self.ask("check", |_| "memory".to_owned()).await
    }
}

/// Delivers one watch's changes.
struct Feed {
    store: Arc<Shared>,
    link: Link,
    number: u64,
    collection: &'static Collection,
    scope: Scope,
    /// The last revision that was delivered.
    after: Revision,
    sender: mpsc::Sender<Result<Changes, WatchError>>,
}

impl Feed {
    async fn run(mut self) {
        let sender = self.sender.clone();
        tokio::select! {
            biased;
            () = sender.closed() => {}
            error = self.deliver() => {
                // Nobody listening any more is no trouble.
                let _ = sender.send(Err(error)).await;
            }
        }
        self.store.end_watch(self.number);
    }

    async fn deliver(&mut self) -> WatchError {
        let mut revisions = self.store.revisions();
        loop {
            revisions.borrow_and_update();
            if let Err(error) = self.reconnect().await {
                return error;
            }
            let Some(changes) = self.store.next(self.number, self.collection, &self.scope) else {
                tokio::select! {
                    biased;
                    changed = revisions.changed() => if changed.is_err() {
                        return WatchError::Failed(unavailable("watch"));
                    },
                    () = self.link.down() => {}
                }
                continue;
            };
            self.link.travel().await;
            if self.link.breaks_watch() {
                return WatchError::Failed(unavailable("watch"));
            }
            if let Err(error) = self.reconnect().await {
                return error;
            }
            self.after = changes.revision;
            if self.sender.send(Ok(changes)).await.is_err() {
                return WatchError::Failed(unavailable("watch"));
            }
        }
    }

    /// While the link is down the store keeps nothing for this watch; then it goes on where it was, if that
    /// is not forgotten.
    async fn reconnect(&mut self) -> Result<(), WatchError> {
        if self.link.condition() == crate::Condition::Up {
            return Ok(());
        }
        // What was on its way is delivered after all: it has left the store.
        let reached = self.store.orphan_watch(self.number).map_or(self.after, Revision);
        self.link.up().await;
        self.number = self.store.begin_watch(reached).map_err(|_| WatchError::Compacted)?;
        Ok(())
    }
}
