//! Buffers of batches that have been settled, for those to come.
//!
//! A batch has some hundred KB. Memory of that size comes from the system afresh each time, and to get, fill and return
//! its pages takes longer than to write the events. So while events flow, buffers go round; when they have stopped, the
//! memory goes back to the system.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// All buffers that lie here hold at most this many bytes: about what waits in an output while its engine is as fast as
/// the source.
const MOST: usize = 4 << 20;

/// Smaller ones cost nothing to make.
pub(crate) const LEAST: usize = 64 << 10;

/// What nobody has needed for so long goes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Buffers that nobody uses now.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// Events flow.
    keeping: bool,
    /// When buffers were let go last, and how many have been here all the time since.
    swept: Option<Instant>,
    idle: usize,
}

impl Spare {
    /// An empty buffer, from now on kept when it comes back.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut held = self.lock();
        held.keeping = true;
        let buffer = held.buffers.pop().unwrap_or_default();
        held.bytes -= buffer.capacity();
        held.idle = held.idle.min(held.buffers.len());
        buffer
    }

    /// Gives a buffer back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let mut held = self.lock();
        let size = buffer.capacity();
        if held.keeping && size >= LEAST && held.bytes + size <= MOST {
            buffer.clear();
            held.bytes += size;
            held.buffers.push(buffer);
        }
        held.sweep();
    }

    /// Returns all memory, also of buffers that come back before the next one is taken.
    pub(crate) fn clear(&self) {
        *self.lock() = Held::default();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// After a burst, less flows.
    fn sweep(&mut self) {
        let now = Instant::now();
        if now - *self.swept.get_or_insert(now) < PATIENCE {
            return;
        }
        self.swept = Some(now);
        // Those that were used last are behind.
        let gone: usize = self.buffers.drain(..self.idle).map(|buffer| buffer.capacity()).sum();
        self.bytes -= gone;
        self.idle = self.buffers.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_go_round_while_events_flow() {
        let spare = Spare::default();
        let mut buffer = spare.take();
        buffer.resize(LEAST, 1);
        let place = buffer.as_ptr();
        spare.give(buffer);
        let again = spare.take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert_eq!(spare.take().capacity(), 0, "there was one");

        spare.clear();
        spare.give(again);
        assert_eq!(spare.take().capacity(), 0, "it came too late");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let spare = Spare::default();
        spare.take();
        for _ in 0..10 {
            spare.give(Vec::with_capacity(MOST / 4));
        }
        spare.give(Vec::with_capacity(LEAST - 1));
        let held = spare.lock();
        assert_eq!((held.buffers.len(), held.bytes), (4, MOST));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_what_is_not_needed_goes() {
        let spare = Spare::default();
        let burst: Vec<_> = (0..4).map(|_| spare.take()).collect();
        burst.into_iter().for_each(|_| spare.give(Vec::with_capacity(LEAST)));
        for _ in 0..3 {
            tokio::time::advance(PATIENCE).await;
            spare.give(spare.take());
        }
        let held = spare.lock();
        assert_eq!((held.buffers.len(), held.bytes), (1, LEAST));
    }
}
