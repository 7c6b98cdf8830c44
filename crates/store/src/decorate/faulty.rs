//! Faults from a seed: what a network and an engine can do to a caller, on purpose and again the same way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::contract::{
    Changes, Collection, Document, Lease, LeaseId, ListRequest, Page, Revision, Scope, Store, Watch, Write,
};
use crate::error::{Error, ErrorKind, RenewError, WatchError, WriteError};

/// How often what goes wrong. Each is a probability from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// A call fails and was not made; a write is certainly not done.
    pub refused: f64,
    /// A request is lost: it was not done, and the caller cannot know.
    pub request_lost: f64,
    /// An answer is lost: it was done (a batch: some of it), and the caller cannot know.
    pub answer_lost: f64,
    /// A watch ends after a few changes, as if its revision had been forgotten.
    pub forgotten: f64,
    /// A call, or a change on its way to a watcher, is late.
    pub delayed: f64,
    /// By at most so much.
    pub longest_delay: Duration,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Faults = Faults {
        refused: 0.0,
        request_lost: 0.0,
        answer_lost: 0.0,
        forgotten: 0.0,
        delayed: 0.0,
        longest_delay: Duration::ZERO,
    };

    /// Nothing works.
    pub const DOWN: Faults = Faults { refused: 1.0, ..Faults::NONE };
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Works,
    Refused,
    RequestLost,
    AnswerLost,
}

/// A store whose calls fail as its [`Faults`] say. The same seed and the same order of calls give the same
/// faults.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    random: StdRng,
}

impl State {
    /// Draws once and always as much, so that one fault more or less does not move all that follow.
    fn fate(&mut self) -> (Fate, Duration) {
        let (draw, late, share): (f64, f64, f64) =
            (self.random.random(), self.random.random(), self.random.random());
        let faults = self.faults;
        let bounds = [
            (faults.refused, Fate::Refused),
            (faults.request_lost, Fate::RequestLost),
            (faults.answer_lost, Fate::AnswerLost),
        ];
        let mut rest = draw;
        let mut fate = Fate::Works;
        for (probability, kind) in bounds {
            if rest < probability {
                fate = kind;
                break;
            }
            rest -= probability;
        }
        let delay = if late < faults.delayed { faults.longest_delay.mul_f64(share) } else { Duration::ZERO };
        (fate, delay)
    }
}

impl Faulty {
    /// `inner`, with faults.
    pub fn new(inner: Arc<dyn Store>, seed: u64, faults: Faults) -> Faulty {
        let state = State { faults, random: StdRng::seed_from_u64(seed) };
        Faulty { inner, state: Arc::new(Mutex::new(state)) }
    }

    /// Changes the faults from now on.
    pub fn set(&self, faults: Faults) {
        self.state().faults = faults;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fate(&self) -> Fate {
        let (fate, delay) = self.state().fate();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        fate
    }

    /// For calls that are reads to the contract: an unknown outcome is just a failure.
    async fn read<T>(
        &self,
        of: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        match self.fate().await {
            Fate::Works => call.await,
            Fate::Refused | Fate::RequestLost => Err(fault(of)),
            Fate::AnswerLost => {
                call.await?;
                Err(fault(of))
            }
        }
    }
}

fn fault(of: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{of}: injected fault"))
}

fn unknown(count: usize) -> Vec<Result<Revision, WriteError>> {
    (0..count).map(|_| Err(WriteError::Unknown(fault("write")))).collect()
}

#[async_trait::async_trait]
impl Store for Faulty {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        self.read("get", self.inner.get(collection, id)).await
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        self.read("get", self.inner.get_many(collection, ids)).await
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        self.read("list", self.inner.list(collection, request)).await
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        match self.fate().await {
            Fate::Works => self.inner.write(collection, write, while_held).await,
            Fate::Refused => Err(WriteError::NotDone(fault("write"))),
            Fate::RequestLost => Err(WriteError::Unknown(fault("write"))),
            Fate::AnswerLost => {
                // The answer is lost, whatever it was.
                let _ = self.inner.write(collection, write, while_held).await;
                Err(WriteError::Unknown(fault("write")))
            }
        }
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        mut writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        let count = writes.len();
        match self.fate().await {
            Fate::Works => self.inner.write_many(collection, writes, while_held).await,
            Fate::Refused => (0..count).map(|_| Err(WriteError::NotDone(fault("write")))).collect(),
            Fate::RequestLost => unknown(count),
            Fate::AnswerLost => {
                let done = self.state().random.random_range(0..=count);
                writes.truncate(done);
                // The answers are lost, whatever they were.
                let _ = self.inner.write_many(collection, writes, while_held).await;
                unknown(count)
            }
        }
    }

    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        let watch = self.read("watch", self.inner.watch(collection, scope, after)).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(forward(watch, sender, self.clone()));
        Ok(Watch::new(receiver))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.read("grant a lease", self.inner.grant(ttl)).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        match self.fate().await {
            Fate::Works => self.inner.renew(lease).await,
            Fate::Refused | Fate::RequestLost => Err(RenewError::Failed(fault("renew a lease"))),
            Fate::AnswerLost => {
                // The answer is lost, whatever it was.
                let _ = self.inner.renew(lease).await;
                Err(RenewError::Failed(fault("renew a lease")))
            }
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.read("revoke a lease", self.inner.revoke(lease)).await
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        self.read("compact", self.inner.compact(keep)).await
    }

    async fn check(&self) -> Result<String, Error> {
        self.read("check the store", self.inner.check()).await
    }
}

/// Passes a watch's changes on, late or cut off by a forgotten revision. None is lost in between: that is
/// what the contract says of a watch, faulty or not.
async fn forward(mut watch: Watch, sender: mpsc::Sender<Result<Changes, WatchError>>, faulty: Faulty) {
    loop {
        let next = tokio::select! {
            next = watch.next() => next,
            () = sender.closed() => return,
        };
        let Some(next) = next else { return };
        let (forgotten, delay) = {
            let mut state = faulty.state();
            let (_, delay) = state.fate();
            let draw: f64 = state.random.random();
            (draw < state.faults.forgotten, delay)
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let next = if forgotten { Err(WatchError::Compacted) } else { next };
        let over = next.is_err();
        if sender.send(next).await.is_err() || over {
            return;
        }
    }
}
