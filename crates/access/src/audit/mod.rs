//! Who changed what.
//!
//! An entry says who, from where, what, how it ended, and the object before and after, without secrets and
//! shortened. It is made in three steps, so that no change is made that could not be told of:
//!
//! 1. [`Audit::admit`] takes a place in a bounded queue *before* anything is changed. When the store is away and the
//!    queue is full, there is none within [`ADMISSION`], and the change is refused.
//! 2. [`Place::keep`] puts the entries of the change into the place, which cannot fail.
//! 3. [`Writer::run`] writes what waits, as few large writes, again and again until the store takes it. What it
//!    cannot write before the server ends, it writes into the log.
//!
//! Entries lie in the order of their age, newest first: lists and the removal of old ones need no sorting, and a
//! page needs nothing of the pages before it.

mod entry;
mod mask;
mod reader;
mod shorten;
mod tidy;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use fleet_store::{Store, Typed};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::documents::AUDIT;

pub use entry::{AuditEntry, Deed, Doer};
pub use mask::{CHANGED, HIDDEN, mask};
pub use reader::{AuditPage, AuditQuery, COUNTED, Cursor, Export, NoCursor};
pub use shorten::MAX_SIDE;
pub use tidy::AuditBounds;
pub use writer::Writer;

/// How long a place in the queue is waited for.
pub const ADMISSION: Duration = Duration::from_secs(2);
/// How many requests' entries wait: with [`MAX_REQUEST`] each, 64 MiB at the worst, and some 100 kB as a rule.
const QUEUE: usize = 256;
/// The most bytes of the sides of all entries of one request.
const MAX_REQUEST: usize = 256 * 1024;

/// The entries of one request, and who wants to know when they are written.
type Waiting = (Vec<AuditEntry>, oneshot::Sender<()>);

/// There is no room in the trail, so nothing may be changed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail cannot be written: nothing can be changed until the store is there again")]
pub struct NoRoom;

/// The trail. Clones are the same.
#[derive(Clone, Debug)]
pub struct Audit {
    documents: Typed<AuditEntry>,
    queue: mpsc::Sender<Waiting>,
    ids: Arc<entry::Ids>,
    /// Entries that this server has written since it last counted all.
    uncounted: Arc<AtomicUsize>,
    /// Nobody writes any more.
    ended: Arc<AtomicBool>,
}

/// A place in the queue. Dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    permit: mpsc::OwnedPermit<Waiting>,
    ids: Arc<entry::Ids>,
    ended: Arc<AtomicBool>,
}

/// Entries on their way to the store.
#[derive(Debug)]
pub struct Kept(oneshot::Receiver<()>);

impl Audit {
    /// The trail in `store`, and what writes it.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> (Audit, Writer) {
        let documents = Typed::new(Arc::clone(store), &AUDIT);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let uncounted = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let writer = Writer::new(documents.clone(), waiting, Arc::clone(&uncounted), Arc::clone(&ended));
        (Audit { documents, queue, ids: Arc::new(entry::Ids::new()), uncounted, ended }, writer)
    }

    /// A place for what is about to be changed.
    ///
    /// # Errors
    /// [`NoRoom`] within [`ADMISSION`].
    pub async fn admit(&self) -> Result<Place, NoRoom> {
        let reserving = self.queue.clone().reserve_owned();
        match timeout(ADMISSION, reserving).await {
            Ok(Ok(permit)) => {
                Ok(Place { permit, ids: Arc::clone(&self.ids), ended: Arc::clone(&self.ended) })
            }
            Ok(Err(_)) | Err(_) => Err(NoRoom),
        }
    }

    /// How many entries this server has written since it last counted all, which it starts to count anew.
    fn take_uncounted(&self) -> usize {
        self.uncounted.swap(0, Ordering::Relaxed)
    }
}

impl Place {
    /// Tells what was done: one entry for each deed, at the time of the machine's clock.
    pub fn keep(self, doer: &Doer, deeds: Vec<Deed>) -> Kept {
        self.keep_at(doer, deeds, SystemTime::now())
    }

    /// Tells what was done at a moment.
    pub fn keep_at(self, doer: &Doer, deeds: Vec<Deed>, now: SystemTime) -> Kept {
        let entries = entry::entries(&self.ids, doer, deeds, now, MAX_REQUEST);
        let (written, kept) = oneshot::channel();
        if self.ended.load(Ordering::SeqCst) {
            // A request that outlives the server: nobody would take them out of the queue.
            entries.iter().for_each(writer::tell);
        }
        self.permit.send((entries, written));
        Kept(kept)
    }
}

impl Kept {
    /// Waits until the store has the entries, for `most` at most. `false`: they wait still, and are not lost.
    pub async fn written(self, most: Duration) -> bool {
        matches!(timeout(most, self.0).await, Ok(Ok(())))
    }
}
