//! The contract on SQLite, in the process.
//!
//! | module | what |
//! |---|---|
//! | `schema` | the file: lock, format, tables |
//! | `writer`, `apply` | one thread that commits waiting writes together; what a write does |
//! | `readers`, `read` | a few connections beside it; the queries |
//! | `feed` | how watches follow commits |
//!
//! Every change has a revision of its own. What was replaced stays in a history table for ten minutes, so
//! that a list can be paged at one revision and a watch resumed; then the writer forgets it. A filtered list
//! uses an index over the field's value, made when the collection is first used. Leases run by the process's
//! monotonic clock: after a restart each has its full time to live again.

mod apply;
mod feed;
mod read;
mod readers;
mod schema;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::time::timeout;

use crate::check;
use crate::contract::{
    Collection, Document, Lease, LeaseId, ListRequest, Page, Revision, Scope, Store, Watch, Write,
};
use crate::error::{Error, ErrorKind, RenewError, WriteError};
use feed::{Commit, Feed, Follower};
use readers::Readers;
use writer::{Answer, Command, Refusal, Request, Writer};

/// How many requests wait for the writer; more wait for a place.
const QUEUE: usize = 1024;

/// How long a request waits for a place.
const PLACE_LIMIT: Duration = Duration::from_secs(10);

/// How long a request waits for its answer: a disk that takes longer is broken.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How many `Changes` wait for a slow reader of a watch.
const WATCH_QUEUE: usize = 64;

/// The shortest time to live of a lease.
const MIN_TTL: Duration = Duration::from_millis(100);

/// A store in a file of this machine. Clones share it; the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Embedded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Option<SyncSender<Command>>,
    places: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    commits: broadcast::WeakSender<Commit>,
    collections: RwLock<HashMap<&'static str, i64>>,
    path: String,
}

impl Inner {
    fn known_number(&self, collection: &Collection) -> Option<i64> {
        let known = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        known.get(collection.name).copied()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends with its queue, and the lock with the writer: the file can be opened again after.
        drop(self.queue.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the writer of the embedded store panicked");
        }
    }
}

/// A request that the writer did not answer as it should.
enum Unserved {
    /// It was not taken.
    NoPlace,
    /// It was refused.
    Refused(Refusal),
    /// Its answer did not come.
    NoAnswer,
}

impl Unserved {
    fn into_error(self, of: impl Into<String>) -> Error {
        match self {
            Unserved::NoPlace => busy(of, "too many requests wait"),
            Unserved::Refused(refusal) => refusal.into_error(of),
            Unserved::NoAnswer => busy(of, "the disk does not answer"),
        }
    }

    fn to_write_error(&self, of: String) -> WriteError {
        match self {
            Unserved::NoPlace => WriteError::NotDone(busy(of, "too many requests wait")),
            Unserved::Refused(refusal) if !refusal.unknown => {
                WriteError::NotDone(refusal.clone().into_error(of))
            }
            Unserved::Refused(refusal) => WriteError::Unknown(refusal.clone().into_error(of)),
            Unserved::NoAnswer => WriteError::Unknown(busy(of, "the disk does not answer")),
        }
    }
}

fn busy(of: impl Into<String>, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{}: {why}", of.into()))
}

fn unexpected(of: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{}: the writer gave an answer to something else", of.into()))
}

impl Embedded {
    /// Opens the database in this file, or makes it. Blocks for as long as the disk needs.
    ///
    /// Fails if another process has it open, if it is of a newer format, or no database of ours.
    pub fn open(path: &Path) -> Result<Embedded, Error> {
        let shown = path.display().to_string();
        let fault = |error: rusqlite::Error| {
            Error::caused_by(schema::kind(&error), format!("open database {shown}"), error)
        };
        let (connection, lock) = schema::open(path)?;
        let feed = Feed::new();
        let commits = feed.listen();
        let writer = Writer::new(connection, lock, feed).map_err(fault)?;
        let (queue, waiting) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|error| {
                let message = format!("start the writer of {shown}");
                Error::caused_by(ErrorKind::Unavailable, message, error)
            })?;
        Ok(Embedded {
            inner: Arc::new(Inner {
                queue: Some(queue),
                places: Arc::new(Semaphore::new(QUEUE)),
                thread: Some(thread),
                readers: Arc::new(Readers::new(path.to_owned())),
                commits,
                collections: RwLock::default(),
                path: shown.clone(),
            }),
        })
    }

    async fn ask(&self, request: Request) -> Result<Answer, Unserved> {
        let places = Arc::clone(&self.inner.places);
        let Ok(Ok(place)) = timeout(PLACE_LIMIT, places.acquire_owned()).await else {
            return Err(Unserved::NoPlace);
        };
        let (answer, answered) = oneshot::channel();
        let command = Command { request, answer, place };
        let Some(queue) = &self.inner.queue else { return Err(Unserved::NoPlace) };
        // There is room: the queue holds as many as there are places.
        if queue.try_send(command).is_err() {
            return Err(Unserved::NoPlace);
        }
        match timeout(ANSWER_LIMIT, answered).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(refusal))) => Err(Unserved::Refused(refusal)),
            Ok(Err(_)) | Err(_) => Err(Unserved::NoAnswer),
        }
    }

    /// The number of a collection, with its indexes made.
    async fn number(&self, collection: &'static Collection) -> Result<i64, Unserved> {
        if let Some(number) = self.inner.known_number(collection) {
            return Ok(number);
        }
        let Answer::Registered(number) = self.ask(Request::Register(collection)).await? else {
            return Err(Unserved::NoAnswer);
        };
        let mut known = self.inner.collections.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(collection.name, number);
        Ok(number)
    }

    async fn opened(&self, collection: &'static Collection) -> Result<i64, Error> {
        check::collection(collection)?;
        let number = self.number(collection).await;
        number.map_err(|unserved| unserved.into_error(format!("open collection {}", collection.name)))
    }
}

#[async_trait::async_trait]
impl Store for Embedded {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        check::id(collection, id)?;
        let number = self.opened(collection).await?;
        let of = format!("get {}/{id}", collection.name);
        let id = id.to_owned();
        self.inner.readers.run(&of, move |transaction| read::get(transaction, number, &id)).await
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        ids.iter().try_for_each(|id| check::id(collection, id))?;
        let number = self.opened(collection).await?;
        let of = format!("get {} of {}", ids.len(), collection.name);
        let ids = ids.to_vec();
        let read = move |transaction: &rusqlite::Transaction<'_>| {
            ids.iter().map(|id| read::get(transaction, number, id)).collect()
        };
        self.inner.readers.run(&of, read).await
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        check::list(collection, &request)?;
        let number = self.opened(collection).await?;
        let of = format!("list {}", collection.name);
        self.inner.readers.run(&of, move |transaction| read::list(transaction, number, &request)).await
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        let of = format!("write {}/{}", collection.name, write.id);
        match self.write_many(collection, vec![write], while_held).await.pop() {
            Some(result) => result,
            None => Err(WriteError::Unknown(unexpected(of))),
        }
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        let mut results: Vec<Option<Result<Revision, WriteError>>> = Vec::with_capacity(writes.len());
        let mut good = Vec::with_capacity(writes.len());
        for write in writes {
            results.push(check::write(collection, &write).err().map(|error| Err(WriteError::NotDone(error))));
            if results.last().is_some_and(Option::is_none) {
                good.push(write);
            }
        }
        if good.is_empty() {
            return results.into_iter().flatten().collect();
        }
        let names: Vec<String> = good.iter().map(|write| write.id.clone()).collect();
        let answer = match self.number(collection).await {
            Ok(number) => self.ask(Request::Write { collection: number, writes: good, while_held }).await,
            // The write itself was not asked for.
            Err(Unserved::Refused(refusal)) => Err(Unserved::Refused(Refusal { unknown: false, ..refusal })),
            Err(Unserved::NoPlace | Unserved::NoAnswer) => Err(Unserved::NoPlace),
        };
        let of = |name: &String| format!("write {}/{name}", collection.name);
        let done: Vec<Result<Revision, WriteError>> = match answer {
            Ok(Answer::Written(done)) => done,
            Ok(_) => names.iter().map(|name| Err(WriteError::Unknown(unexpected(of(name))))).collect(),
            Err(unserved) => names.iter().map(|name| Err(unserved.to_write_error(of(name)))).collect(),
        };
        let mut done = done.into_iter();
        let missing = || Err(WriteError::Unknown(unexpected(format!("write {}", collection.name))));
        results.into_iter().map(|bad| bad.unwrap_or_else(|| done.next().unwrap_or_else(missing))).collect()
    }

    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        check::scope(collection, &scope)?;
        let number = self.opened(collection).await?;
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE);
        // Without a writer there is nothing to follow: the watch ends at once.
        if let Some(commits) = self.inner.commits.upgrade() {
            let follower = Follower {
                readers: Arc::clone(&self.inner.readers),
                commits: commits.subscribe(),
                collection: number,
                scope,
                after,
                sender,
            };
            tokio::spawn(follower.run());
        }
        Ok(Watch::new(receiver))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        const OF: &str = "grant a lease";
        match self.ask(Request::Grant(ttl.max(MIN_TTL))).await {
            Ok(Answer::Granted(lease)) => Ok(lease),
            Ok(_) => Err(unexpected(OF)),
            Err(unserved) => Err(unserved.into_error(OF)),
        }
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        let of = || format!("renew lease {:016x}", lease.0);
        match self.ask(Request::Renew(lease)).await {
            Ok(Answer::Renewed(result)) => result,
            Ok(_) => Err(RenewError::Failed(unexpected(of()))),
            Err(unserved) => Err(RenewError::Failed(unserved.into_error(of()))),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let of = || format!("revoke lease {:016x}", lease.0);
        self.ask(Request::Revoke(lease)).await.map(drop).map_err(|unserved| unserved.into_error(of()))
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        self.ask(Request::Compact(keep)).await.map(drop).map_err(|unserved| unserved.into_error("compact"))
    }

    async fn check(&self) -> Result<String, Error> {
        let revision = self.inner.readers.run("check the database", read::now).await?;
        let version = rusqlite::version();
        Ok(format!("embedded store {}, SQLite {version}, revision {revision}", self.inner.path))
    }
}
