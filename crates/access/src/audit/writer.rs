//! Writing what waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fleet_store::{Error as StoreError, ErrorKind, Expect, Typed, Write, WriteError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use super::Waiting;
use super::entry::{AuditEntry, key_of};

/// The most requests whose entries are written at a time.
const BATCH: usize = 32;
/// After trouble it is tried again after this long, and twice that each time until [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// While the store does not take entries, that is said this often.
const REMIND: Duration = Duration::from_secs(60);
/// How long the store is tried at the end, for all that waits.
const LAST_TRIES: Duration = Duration::from_secs(2);

/// Writes the trail; see [`Writer::run`].
#[derive(Debug)]
pub struct Writer {
    documents: Typed<AuditEntry>,
    waiting: mpsc::Receiver<Waiting>,
    uncounted: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

/// Entries that are not written yet, and who wants to know when they are.
#[derive(Debug, Default)]
struct Batch {
    entries: Vec<AuditEntry>,
    told: Vec<oneshot::Sender<()>>,
}

impl Writer {
    pub(super) fn new(
        documents: Typed<AuditEntry>,
        waiting: mpsc::Receiver<Waiting>,
        uncounted: Arc<AtomicUsize>,
        ended: Arc<AtomicBool>,
    ) -> Writer {
        Writer { documents, waiting, uncounted, ended }
    }

    /// Writes what comes, until `end`; then what is left, to the store or to the log.
    pub async fn run(mut self, end: impl Future<Output = ()>) {
        let mut batch = Batch::default();
        tokio::select! {
            () = self.write_all(&mut batch) => {}
            () = end => {}
        }
        // From now on nobody gets a place; who has one still uses it.
        self.waiting.close();
        let deadline = Instant::now() + LAST_TRIES;
        let is_done = timeout_at(deadline, self.write_all(&mut batch)).await.is_ok();
        self.ended.store(true, Ordering::SeqCst);
        if is_done {
            return;
        }
        while let Ok((entries, _)) = self.waiting.try_recv() {
            batch.entries.extend(entries);
        }
        batch.entries.iter().for_each(tell);
    }

    /// Ends when nobody can send any more. Cancelled, it leaves what is not written in `batch`.
    async fn write_all(&mut self, batch: &mut Batch) {
        loop {
            if batch.entries.is_empty() {
                batch.told.drain(..).for_each(|told| {
                    // Who gave up does not want to know.
                    let _ = told.send(());
                });
                let mut received = Vec::new();
                if self.waiting.recv_many(&mut received, BATCH).await == 0 {
                    return;
                }
                for (entries, told) in received {
                    batch.entries.extend(entries);
                    batch.told.push(told);
                }
            }
            self.write(&mut batch.entries).await;
        }
    }

    /// Writes them, however long that takes. Written again, an entry is the same.
    async fn write(&self, entries: &mut Vec<AuditEntry>) {
        let mut pause = SHORTEST_PAUSE;
        let mut said: Option<Instant> = None;
        while !entries.is_empty() {
            let Some(trouble) = self.try_write(entries).await else { continue };
            if said.is_none_or(|said| said.elapsed() >= REMIND) {
                said = Some(Instant::now());
                let trouble = &trouble as &dyn std::error::Error;
                warn!(
                    waiting = entries.len(),
                    error = trouble,
                    "the audit trail cannot be written: it waits"
                );
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if said.is_some() {
            info!("the audit trail is written again");
        }
    }

    /// Writes them once; leaves those that were not written, and says why.
    async fn try_write(&self, entries: &mut Vec<AuditEntry>) -> Option<WriteError> {
        let mut writes = Vec::with_capacity(entries.len());
        entries.retain(|entry| match self.encode(entry) {
            Some(write) => {
                writes.push(write);
                true
            }
            None => {
                tell(entry);
                false
            }
        });
        let outcomes = self.documents.write_many(writes, None).await;
        let mut trouble = None;
        let mut outcomes = outcomes.into_iter();
        entries.retain(|entry| match outcomes.next() {
            Some(Ok(_)) => {
                self.uncounted.fetch_add(1, Ordering::Relaxed);
                false
            }
            // No other attempt will end in another way.
            Some(Err(WriteError::NotDone(StoreError { kind: ErrorKind::Invalid, .. }))) => {
                tell(entry);
                false
            }
            Some(Err(error)) => {
                trouble = Some(error);
                true
            }
            None => true,
        });
        trouble
    }

    fn encode(&self, entry: &AuditEntry) -> Option<Write> {
        self.documents.encode(&key_of(&entry.id)?, entry, Expect::Any, None).ok()
    }
}

/// The log is the last place for what the store does not take.
pub(super) fn tell(entry: &AuditEntry) {
    let text = serde_json::to_string(entry).unwrap_or_default();
    error!(target: "audit", entry = text, "the store has not taken this entry of the audit trail");
}
