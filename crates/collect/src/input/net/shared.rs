//! What all connections and sockets of one input have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::message::{Ids, Shape};
use crate::batch::Batch;
use crate::input::Context;
use crate::outlet::Closed;

/// A batch is handed over when it has so many events.
const BATCH_EVENTS: usize = 1000;
/// A batch is handed over when it has so many bytes.
const BATCH_BYTES: usize = 512 * 1024;

/// What a connection may hold without asking.
pub(super) const FREE_BUFFER: usize = 64 * 1024;
/// What all connections of an input may hold beyond that, so that many long messages that never end cannot take the
/// machine's memory. One message of the longest kind is let through always.
const LONG_BUFFERS: usize = 64 << 20;
const KIB: usize = 1024;

/// What all connections and sockets of one input have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) context: Context,
    shape: Arc<Shape>,
    ids: Ids,
    room: Arc<Semaphore>,
    pub(super) counts: Counts,
}

/// What has happened since the input started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Connections now.
    pub(super) connections: AtomicU64,
    /// Messages that were longer than allowed.
    pub(super) truncated: AtomicU64,
    /// Connections that came to nothing.
    pub(super) refused: AtomicU64,
}

/// Room for a long message was refused.
#[derive(Debug, thiserror::Error)]
#[error("all connections together hold more than {} MiB of messages that have not ended", LONG_BUFFERS >> 20)]
pub(super) struct NoRoom;

impl Shared {
    pub(super) fn new(context: &Context, shape: &Arc<Shape>, longest: usize) -> Arc<Shared> {
        let room = LONG_BUFFERS.max(2 * longest) / KIB;
        Arc::new(Shared {
            context: context.clone(),
            shape: Arc::clone(shape),
            ids: Ids::new(),
            room: Arc::new(Semaphore::new(room)),
            counts: Counts::default(),
        })
    }

    /// Adds a message to a batch, and hands the batch over when it is full. Waits while the output has no room.
    pub(super) async fn push(
        &self,
        batch: &mut Batch,
        message: &[u8],
        truncated: bool,
        source: &str,
    ) -> Result<(), Closed> {
        let stream = self.context.stream();
        stream.counters().bytes_read.add(message.len() as u64);
        if truncated {
            self.counts.truncated.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(event) = self.shape.event(stream, message, truncated, source) {
            stream.push(batch, event, self.ids.next());
        }
        if batch.len() >= BATCH_EVENTS || batch.size() >= BATCH_BYTES {
            self.flush(batch).await?;
        }
        Ok(())
    }

    /// Hands a batch over, if there is anything in it: comes back when it is safe on the disk.
    pub(super) async fn flush(&self, batch: &mut Batch) -> Result<(), Closed> {
        if batch.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(batch, self.context.batch());
        self.context.store(full).await
    }

    /// Asks for the room that a buffer of this size needs beyond what it has.
    pub(super) fn grow(&self, room: &mut Option<OwnedSemaphorePermit>, size: usize) -> Result<(), NoRoom> {
        let need = size.saturating_sub(FREE_BUFFER).div_ceil(KIB);
        let have = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if need == 0 {
            *room = None;
        } else if need > have {
            let more = u32::try_from(need - have).map_err(|_| NoRoom)?;
            let more = Arc::clone(&self.room).try_acquire_many_owned(more).map_err(|_| NoRoom)?;
            match room {
                Some(room) => room.merge(more),
                None => *room = Some(more),
            }
        }
        Ok(())
    }
}
