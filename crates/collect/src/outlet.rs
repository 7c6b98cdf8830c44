//! The way to an output: a queue in memory with a bound, behind which sources wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::batch::Batch;
use crate::metrics::{Count, Counters};
use crate::spare::Spare;
use crate::stream::Stream;

/// What a request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of documents.
    pub bytes: usize,
    /// How long the first event waits for others.
    pub linger: Duration,
}

/// When nothing has come for so long, events no longer flow.
const PAUSE: Duration = Duration::from_secs(1);

/// The output's end is gone: the collector stops, or the output was taken out of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the output is gone")]
pub struct Closed;

/// The way to one output. Lives as long as the output's name does: a change of its settings loses nothing.
#[derive(Debug)]
pub struct Outlet {
    queue: Mutex<Queue>,
    /// Room in bytes. Held by each batch until it is settled, so that what is on its way counts too.
    room: Arc<Semaphore>,
    capacity: u32,
    ready: Notify,
    counters: Counters,
    pub(crate) losses: Losses,
    spare: Arc<Spare>,
}

/// Events of one output that its engine refused for good. The counts of the collector are those of all outputs.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Those that were kept as dead letters.
    pub(crate) dead_lettered: Count,
    /// Those that are in a file, since the engine refused their dead letters too.
    pub(crate) kept: Count,
    /// Those that are nowhere.
    pub(crate) lost: Count,
    last: Mutex<Option<Instant>>,
}

impl Losses {
    /// Events are in the file, from now on.
    pub(crate) fn keep(&self, count: u64) {
        self.kept.add(count);
        self.missed();
    }

    /// Events are gone, now.
    pub(crate) fn lose(&self, count: u64) {
        self.lost.add(count);
        self.missed();
    }

    fn missed(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When the engine missed an event last, as itself and as a dead letter.
    pub(crate) fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<(Instant, Arc<Batch>)>,
    events: usize,
    bytes: usize,
    /// Nobody waits for more: what is there goes out.
    flushing: bool,
}

impl Outlet {
    /// A queue that holds at most this many bytes of documents, those on their way included.
    pub(crate) fn new(capacity: u32, counters: Counters) -> Outlet {
        Outlet {
            queue: Mutex::default(),
            room: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            ready: Notify::new(),
            counters,
            losses: Losses::default(),
            spare: Arc::default(),
        }
    }

    /// An empty batch for this outlet.
    pub(crate) fn batch(&self, stream: Arc<Stream>) -> Batch {
        Batch::reusing(stream, &self.spare)
    }

    /// Hands a batch over; waits until there is room. Cancel-safe: a batch is handed over whole or not at all.
    ///
    /// # Errors
    /// The output is gone; the batch was dropped, and its source will read it again.
    pub async fn send(&self, mut batch: Batch) -> Result<(), Closed> {
        if batch.is_empty() {
            // It still carries a position: events that processors dropped have been dealt with.
            batch.settle();
            return Ok(());
        }
        batch.fit();
        // A batch that is larger than all the room takes all of it.
        let need = u32::try_from(batch.size()).unwrap_or(u32::MAX).min(self.capacity);
        let permit = Arc::clone(&self.room).acquire_many_owned(need).await.map_err(|_| Closed)?;
        batch.permit = Some(permit);
        self.counters.events_queued.add(batch.len() as u64);
        let mut queue = self.lock();
        queue.events += batch.len();
        queue.bytes += batch.size();
        queue.batches.push_back((Instant::now(), Arc::new(batch)));
        drop(queue);
        self.ready.notify_one();
        Ok(())
    }

    /// The batches of the next request: as soon as the limits are reached, or the first has waited long enough.
    /// Cancel-safe. One batch is taken even if it is larger than the limits.
    pub(crate) async fn take(&self, limits: &Limits) -> Vec<Arc<Batch>> {
        loop {
            let notified = self.ready.notified();
            let wait = match self.look(limits) {
                Look::Ready(batches) => return batches,
                Look::Later(at) => Some(at),
                Look::Empty => None,
            };
            tokio::pin!(notified);
            let pause = wait.unwrap_or_else(|| Instant::now() + PAUSE);
            if tokio::time::timeout_at(pause, &mut notified).await.is_err() && wait.is_none() {
                self.spare.clear();
                notified.await;
            }
        }
    }

    fn look(&self, limits: &Limits) -> Look {
        let mut queue = self.lock();
        let Some((since, _)) = queue.batches.front() else { return Look::Empty };
        let due = *since + limits.linger;
        let full = queue.events >= limits.events || queue.bytes >= limits.bytes;
        if !full && !queue.flushing && due > Instant::now() {
            return Look::Later(due);
        }
        let (mut events, mut bytes) = (0, 0);
        let mut taken = Vec::new();
        while let Some((_, next)) = queue.batches.front() {
            let fits = events + next.len() <= limits.events && bytes + next.size() <= limits.bytes;
            if !fits && !taken.is_empty() {
                break;
            }
            let Some((_, next)) = queue.batches.pop_front() else { break };
            events += next.len();
            bytes += next.size();
            taken.push(next);
        }
        queue.events -= events;
        queue.bytes -= bytes;
        if !queue.batches.is_empty() {
            self.ready.notify_one();
        }
        Look::Ready(taken)
    }

    /// Puts batches back in front, in their order: whoever took them could not settle them.
    pub(crate) fn put_back(&self, batches: Vec<Arc<Batch>>) {
        let mut queue = self.lock();
        for batch in batches.into_iter().rev() {
            queue.events += batch.len();
            queue.bytes += batch.size();
            queue.batches.push_front((Instant::now(), batch));
        }
        drop(queue);
        self.ready.notify_one();
    }

    /// From now on nothing waits for company.
    pub(crate) fn flush(&self) {
        self.lock().flushing = true;
        self.ready.notify_waiters();
        self.ready.notify_one();
    }

    /// Nobody takes any more: whoever waits for room is told, and what is queued is dropped unsettled.
    pub(crate) fn close(&self) {
        self.room.close();
        let mut queue = self.lock();
        *queue = Queue::default();
    }

    /// Whether everything that was sent has been settled.
    pub(crate) fn is_idle(&self) -> bool {
        self.used() == 0
    }

    /// Bytes that have not been settled.
    pub(crate) fn used(&self) -> u64 {
        u64::from(self.capacity).saturating_sub(self.room.available_permits() as u64)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Look {
    Ready(Vec<Arc<Batch>>),
    Later(Instant),
    Empty,
}
