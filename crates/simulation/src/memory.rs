//! The store: one history, its documents and its leases.
//!
//! It keeps the contract of `fleet_store` (the crate's tests hold it to the cases that every backend must
//! pass) and counts leases like etcd does: in whole seconds, at least two, and a little late.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fleet_store::{
    Action, Change, Changes, Collection, Document, Expect, Lease, LeaseId, ListRequest, Page, PageToken,
    Revision, Scope, Write, WriteError,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::history::{Forgotten, History, Name};

/// Leases end up to this long after their time.
const LATENESS_MAX: Duration = Duration::from_millis(400);
/// The shortest time to live that can be counted.
const TTL_MIN: Duration = Duration::from_secs(2);
/// A batch is divided into transactions of up to this many writes: engines divide it somewhere.
const TRANSACTION_MAX: usize = 8;

/// What a witness is told: a change that was made, and the lease that it was fenced with.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The collection's name.
    pub collection: &'static str,
    /// The revision that it made.
    pub revision: Revision,
    /// The change.
    pub change: Change,
    /// The `while_held` of the write; `None` also for what went with its lease.
    pub fence: Option<LeaseId>,
    /// The lease that the document lives on now.
    pub lives_on: Option<LeaseId>,
}

/// Is told of every change in the moment that it is made.
pub type Witness = Box<dyn FnMut(&Deed) + Send>;

/// The store. Dropping it stops the leases' clock.
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
    reaper: JoinHandle<()>,
}

/// What the store and its clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
    leases: Notify,
}

struct State {
    revision: u64,
    history: History,
    /// Which lease a document lives on.
    lives_on: BTreeMap<Name, i64>,
    leases: BTreeMap<i64, Granted>,
    next_lease: i64,
    /// Leases do not run out: the engine is down.
    frozen: bool,
    random: StdRng,
    witness: Option<Witness>,
}

#[derive(Debug)]
struct Granted {
    ttl: Duration,
    ends: Instant,
    documents: BTreeSet<Name>,
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("State").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Memory {
    /// An empty store. Must be made within a runtime: a task ends the leases.
    pub fn new(seed: u64) -> Memory {
        let state = State {
            revision: 1,
            history: History::default(),
            lives_on: BTreeMap::new(),
            leases: BTreeMap::new(),
            next_lease: 0,
            frozen: false,
            random: StdRng::seed_from_u64(seed),
            witness: None,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            revision: watch::Sender::new(1),
            leases: Notify::new(),
        });
        let reaper = tokio::spawn(reap(Arc::clone(&shared)));
        Memory { shared, reaper }
    }

    /// What a client reaches it by.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// From now on `witness` is told of every change.
    pub fn observe(&self, witness: Witness) {
        self.shared.state().witness = Some(witness);
    }

    /// Stops the leases' clock, as an engine does that is down.
    pub fn freeze(&self) {
        self.shared.state().frozen = true;
    }

    /// Starts the leases' clock again; each lease has its whole time to live, as after an election of etcd.
    pub fn thaw(&self) {
        let mut state = self.shared.state();
        state.frozen = false;
        let now = Instant::now();
        for lease in state.leases.values_mut() {
            lease.ends = now + lease.ttl;
        }
        drop(state);
        self.shared.leases.notify_one();
    }

    /// Writes a document past all checks, and unseen by the witness: what a person may do with the engine's
    /// own tools.
    pub fn overwrite(&self, collection: &'static Collection, id: &str, body: &str) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.shared.change(|state| {
            let witness = state.witness.take();
            let revision = state.begin(&mut None);
            state.put((collection.name, id.to_owned()), revision, body, None, None);
            state.witness = witness;
        });
    }

    /// The documents of a collection.
    pub fn documents(&self, collection: &'static Collection) -> Vec<Document> {
        let state = self.shared.state();
        let documents = state.history.at(collection.name, state.revision);
        documents.map(|documents| documents.cloned().collect()).unwrap_or_default()
    }

    /// The leases that are held.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.shared.state().leases.keys().copied().map(LeaseId).collect()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.reaper.abort();
    }
}

/// Ends leases in time.
async fn reap(shared: Arc<Shared>) {
    loop {
        let next = shared.state().next_end();
        tokio::select! {
            biased;
            () = shared.leases.notified() => {}
            () = sleep_until(next) => shared.change(State::end_overdue),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (answer, revision) = {
            let mut state = self.state();
            let answer = change(&mut state);
            (answer, state.revision)
        };
        self.revision.send_if_modified(|seen| {
            let changed = *seen != revision;
            *seen = revision;
            changed
        });
        answer
    }

    pub(crate) fn get(&self, collection: &'static Collection, id: &str) -> Option<Document> {
        self.state().history.newest(collection.name, id).cloned()
    }

    pub(crate) fn list(
        &self,
        collection: &'static Collection,
        request: &ListRequest,
    ) -> Result<Page, Forgotten> {
        let state = self.state();
        let revision = request.page.as_ref().map_or(state.revision, |page| page.revision.0);
        let after = request.page.as_ref().map(|page| page.after.as_str());
        let mut wanted = state
            .history
            .at(collection.name, revision)?
            .filter(|document| after.is_none_or(|after| document.id.as_str() > after))
            .filter(|document| request.scope.contains(&document.id) && passes(document, &request.filter));
        let limit = request.limit.unwrap_or(usize::MAX);
        let documents: Vec<Document> = wanted.by_ref().take(limit).cloned().collect();
        let more = wanted.next().is_some();
        let revision = Revision(revision);
        let next =
            documents.last().filter(|_| more).map(|last| PageToken { revision, after: last.id.clone() });
        Ok(Page { documents, revision, next })
    }

    pub(crate) fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        self.change(|state| {
            let mut answers = Vec::with_capacity(writes.len());
            let mut touched = BTreeSet::new();
            let (mut transaction, mut room) = (None, 0);
            for write in writes {
                // One revision for each transaction, and never two changes of one document in it.
                if room == 0 || touched.contains(&write.id) {
                    touched.clear();
                    transaction = None;
                    room = state.random.random_range(1..=TRANSACTION_MAX);
                }
                room -= 1;
                touched.insert(write.id.clone());
                answers.push(state.write(collection.name, write, while_held, &mut transaction));
            }
            answers
        })
    }

    pub(crate) fn grant(&self, ttl: Duration) -> Lease {
        let whole = Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(TTL_MIN);
        let mut state = self.state();
        state.next_lease += 1;
        let id = state.next_lease;
        let ends = state.end_of(whole);
        state.leases.insert(id, Granted { ttl: whole, ends, documents: BTreeSet::new() });
        drop(state);
        self.leases.notify_one();
        Lease { id: LeaseId(id), ttl: whole }
    }

    /// `false`: there is no such lease.
    pub(crate) fn renew(&self, lease: LeaseId) -> bool {
        let mut state = self.state();
        let Some(ttl) = state.leases.get(&lease.0).map(|granted| granted.ttl) else { return false };
        let ends = state.end_of(ttl);
        if let Some(granted) = state.leases.get_mut(&lease.0) {
            granted.ends = ends;
        }
        drop(state);
        self.leases.notify_one();
        true
    }

    pub(crate) fn revoke(&self, lease: LeaseId) {
        self.change(|state| state.end(lease.0));
    }

    pub(crate) fn begin_watch(&self, after: Revision) -> Result<u64, Forgotten> {
        self.state().history.begin_watch(after.0)
    }

    pub(crate) fn end_watch(&self, watch: u64) {
        self.state().history.end_watch(watch);
    }

    pub(crate) fn orphan_watch(&self, watch: u64) -> Option<u64> {
        self.state().history.orphan_watch(watch)
    }

    pub(crate) fn next(&self, watch: u64, collection: &'static Collection, scope: &Scope) -> Option<Changes> {
        self.state().history.next(watch, collection.name, scope)
    }

    /// Is told when there is a new revision.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(crate) fn compact(&self, keep: Duration) {
        let mut state = self.state();
        let now = Instant::now();
        let current = state.revision;
        state.history.compact(now.checked_sub(keep).unwrap_or(now), current);
    }
}

/// Whether a document has the wanted strings in the wanted fields.
fn passes(document: &Document, filter: &[(&'static str, String)]) -> bool {
    if filter.is_empty() {
        return true;
    }
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&document.body) else { return false };
    filter.iter().all(|(field, wanted)| body.get(field).and_then(|value| value.as_str()) == Some(wanted))
}

impl State {
    /// The revision of a transaction: a new one when it changes something for the first time.
    fn begin(&mut self, transaction: &mut Option<u64>) -> u64 {
        *transaction.get_or_insert_with(|| {
            self.revision += 1;
            self.revision
        })
    }

    fn write(
        &mut self,
        collection: &'static str,
        write: Write,
        while_held: Option<LeaseId>,
        transaction: &mut Option<u64>,
    ) -> Result<Revision, WriteError> {
        let on = match &write.action {
            Action::Put { lease, .. } => *lease,
            Action::Delete => None,
        };
        if [on, while_held].into_iter().flatten().any(|lease| !self.leases.contains_key(&lease.0)) {
            return Err(WriteError::LeaseLost);
        }
        let current = self.history.newest(collection, &write.id).map(|document| document.revision);
        let as_expected = match write.expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current == Some(revision),
        };
        if !as_expected {
            return Err(WriteError::Conflict { current });
        }
        let name = (collection, write.id);
        match write.action {
            Action::Put { body, lease } => {
                let revision = self.begin(transaction);
                self.put(name, revision, body, lease, while_held);
                Ok(Revision(revision))
            }
            Action::Delete if current.is_none() => Ok(Revision(self.revision)),
            Action::Delete => {
                let revision = self.begin(transaction);
                self.delete(name, revision, while_held);
                Ok(Revision(revision))
            }
        }
    }

    fn put(
        &mut self,
        name: Name,
        revision: u64,
        body: Bytes,
        lease: Option<LeaseId>,
        fence: Option<LeaseId>,
    ) {
        self.free(&name);
        if let Some(lease) = lease
            && let Some(granted) = self.leases.get_mut(&lease.0)
        {
            granted.documents.insert(name.clone());
            self.lives_on.insert(name.clone(), lease.0);
        }
        let document = Document { id: name.1, revision: Revision(revision), body };
        self.note(name.0, revision, Change::Put(document), fence);
    }

    fn delete(&mut self, name: Name, revision: u64, fence: Option<LeaseId>) {
        self.free(&name);
        self.note(name.0, revision, Change::Delete { id: name.1 }, fence);
    }

    /// A document lives on no lease any more.
    fn free(&mut self, name: &Name) {
        if let Some(lease) = self.lives_on.remove(name)
            && let Some(granted) = self.leases.get_mut(&lease)
        {
            granted.documents.remove(name);
        }
    }

    fn note(&mut self, collection: &'static str, revision: u64, change: Change, fence: Option<LeaseId>) {
        self.history.note(collection, revision, change.clone());
        if let Some(witness) = &mut self.witness {
            let name = (collection, change.id().to_owned());
            let lives_on = self.lives_on.get(&name).copied().map(LeaseId);
            witness(&Deed { collection, revision: Revision(revision), change, fence, lives_on });
        }
    }

    fn end_of(&mut self, ttl: Duration) -> Instant {
        Instant::now() + ttl + LATENESS_MAX.mul_f64(self.random.random::<f64>())
    }

    fn next_end(&self) -> Option<Instant> {
        if self.frozen {
            return None;
        }
        self.leases.values().map(|granted| granted.ends).min()
    }

    fn end_overdue(&mut self) {
        if self.frozen {
            return;
        }
        let now = Instant::now();
        let overdue: Vec<i64> =
            self.leases.iter().filter(|(_, granted)| granted.ends <= now).map(|(id, _)| *id).collect();
        for lease in overdue {
            self.end(lease);
        }
    }

    /// Ends a lease: what lives on it goes at one revision.
    fn end(&mut self, lease: i64) {
        let Some(granted) = self.leases.remove(&lease) else { return };
        let mut transaction = None;
        for name in granted.documents {
            let revision = self.begin(&mut transaction);
            self.delete(name, revision, None);
        }
    }
}
