//! The queue on disk: for events that nobody could read again.
//!
//! Who pushes events (syslog over the network, OTLP) is told that they were taken; from then on they must not be lost.
//! So they are written to the disk of this machine, and only then acknowledged to their sender; an output gets them
//! from there. What can be read again where it came from, files and the journal, never goes through here.
//!
//! One queue per output: files of records, each with a checksum, in a directory of its own, bounded in bytes. Those
//! who wait for the disk at the same time share one fsync. When the queue is full, or the disk is, senders wait.
//! How far the output has acknowledged is kept with the other positions.

mod record;
mod segments;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch::{Batch, Tracker};
use crate::metrics::Counters;
use crate::outlet::{Closed, Outlet};
use crate::registry::Positions;
use crate::state::{Board, State, Status};
use segments::{Place, Segments};

/// Senders that wait for the disk together.
const WAITING: usize = 256;

/// What is written with one fsync.
const GROUP: usize = 4 << 20;

/// After an error of the disk.
const RETRY: Duration = Duration::from_secs(1);

/// The key of the position.
const ACKNOWLEDGED: &str = "acknowledged";

/// Where a queue is, and how large it may become.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// For messages.
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) bound: u64,
    pub(crate) positions: Positions,
    pub(crate) board: Board,
    pub(crate) counters: Counters,
}

/// The end of a queue that events are put in.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    sender: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    record: Vec<u8>,
    done: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    spec: Spec,
    segments: Mutex<Segments>,
    /// Something was written.
    written: Notify,
    /// Something was acknowledged.
    released: Notify,
    acknowledged: Mutex<Place>,
    /// Who closes the queue waits for what still touches the disk.
    tasks: TaskTracker,
}

impl Spool {
    /// Opens the queue; from now on what is in it goes to the outlet.
    pub(crate) async fn open(
        spec: Spec,
        outlet: Arc<Outlet>,
        stop: CancellationToken,
        tasks: &TaskTracker,
    ) -> io::Result<Spool> {
        // Some eight files: what has been acknowledged is given back in such steps.
        let roll_at = (spec.bound / 8).clamp(64 << 10, 16 << 20);
        let directory = spec.directory.clone();
        let opened = tokio::task::spawn_blocking(move || Segments::open(&directory, roll_at)).await;
        let segments = opened.map_err(io::Error::other)??;
        let start = position(&spec.positions)
            .unwrap_or_default()
            .clamp(segments.start(), segments.end().max(segments.start()));
        spec.counters.disk_queue_bytes.add(segments.bytes());
        let shared = Arc::new(Shared {
            spec,
            segments: Mutex::new(segments),
            written: Notify::new(),
            released: Notify::new(),
            acknowledged: Mutex::new(start),
            tasks: tasks.clone(),
        });
        let (sender, receiver) = mpsc::channel(WAITING);
        tasks.spawn(stop.clone().run_until_cancelled_owned(write(Arc::clone(&shared), receiver)));
        tasks.spawn(stop.run_until_cancelled_owned(pump(shared, outlet, start)));
        Ok(Spool { sender })
    }

    /// Puts a batch in; comes back when it is safe on the disk.
    pub(crate) async fn store(&self, batch: &Batch) -> Result<(), Closed> {
        let (done, waiting) = oneshot::channel();
        let job = Job { record: record::encode(batch), done };
        self.sender.send(job).await.map_err(|_| Closed)?;
        waiting.await.map_err(|_| Closed)?;
        batch.settle();
        Ok(())
    }
}

fn position(positions: &Positions) -> Option<Place> {
    let value = positions.get(ACKNOWLEDGED)?;
    Some(Place { segment: value.get("segment")?.as_u64()?, offset: value.get("offset")?.as_u64()? })
}

impl Shared {
    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something that touches the disk where nobody waits for it.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Shared>,
        work: impl FnOnce(&mut Segments) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let shared = Arc::clone(self);
        let run = move || {
            let mut segments = shared.segments();
            let before = segments.bytes();
            let result = work(&mut segments);
            let counters = &shared.spec.counters;
            counters.disk_queue_bytes.add(segments.bytes());
            counters.disk_queue_bytes.sub(before);
            result
        };
        self.tasks.spawn_blocking(run).await.map_err(io::Error::other)?
    }

    fn report(&self, problem: Option<String>) {
        self.spec
            .board
            .storage(&self.spec.name, problem.map(|problem| Status::new(State::Degraded, problem)));
    }
}

/// Writes what comes, as much as waits at once.
async fn write(shared: Arc<Shared>, mut receiver: mpsc::Receiver<Job>) {
    while let Some(first) = receiver.recv().await {
        let mut size = first.record.len();
        let (mut records, mut waiting) = (vec![first.record], vec![first.done]);
        while size < GROUP {
            let Ok(job) = receiver.try_recv() else { break };
            size += job.record.len();
            records.push(job.record);
            waiting.push(job.done);
        }
        room(&shared, size as u64).await;
        let records = Arc::new(records);
        let mut failed = false;
        loop {
            let records = Arc::clone(&records);
            match shared.blocking(move |segments| segments.append(&records)).await {
                Ok(()) => break,
                Err(error) => {
                    failed = true;
                    let place = shared.spec.directory.display();
                    shared.report(Some(format!(
                        "events cannot be queued in {place}: {error}; make room on the disk; senders wait, nothing is lost"
                    )));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        if failed {
            shared.report(None);
        }
        shared.written.notify_one();
        for done in waiting {
            // Who has gone away meanwhile has its events in the queue all the same.
            let _ = done.send(());
        }
    }
}

/// Waits until the queue has room. An empty queue takes anything.
async fn room(shared: &Arc<Shared>, size: u64) {
    loop {
        let released = shared.released.notified();
        let bytes = shared.segments().bytes();
        if bytes == 0 || bytes + size <= shared.spec.bound {
            return;
        }
        released.await;
    }
}

/// Hands what is in the queue to the outlet, in order, and lets go of what was acknowledged.
async fn pump(shared: Arc<Shared>, outlet: Arc<Outlet>, start: Place) {
    let tracker = {
        let shared = Arc::clone(&shared);
        Tracker::new(move |place: Place| {
            *shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) = place;
            let value = json!({"segment": place.segment, "offset": place.offset});
            shared.spec.positions.set(ACKNOWLEDGED, &value);
            shared.written.notify_one();
        })
    };
    let mut place = start;
    let mut released = start;
    loop {
        let acknowledged = *shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        if acknowledged > released {
            released = acknowledged;
            if let Err(error) = shared.blocking(move |segments| segments.release(acknowledged)).await {
                tracing::warn!(%error, "files of the queue cannot be deleted now");
            }
            shared.released.notify_one();
        }
        let written = shared.written.notified();
        match shared.blocking(move |segments| segments.read(place)).await {
            Ok(Some((bytes, next))) => {
                place = next;
                let Some(mut batch) = record::decode(&bytes[record::HEAD..]) else {
                    tracing::error!("a record of the queue means nothing and is left out");
                    continue;
                };
                batch.tell(tracker.ticket(next));
                if outlet.send(batch).await.is_err() {
                    return;
                }
            }
            Ok(None) => written.await,
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read now");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
