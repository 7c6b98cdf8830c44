//! Writing what somebody else may be writing too.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use fleet_store::{Revision, WriteError};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::answer::Failure;

/// So many others may come first before a client is told to try again.
const ATTEMPTS: u32 = 32;
/// After this time a client is told to try again, too.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How long a writer waits for those before it.
const QUEUE_MAX: Duration = Duration::from_secs(2);
/// Documents are spread over so many queues.
const QUEUES: usize = 64;

/// Queues of the writers of one document, so that those who come through one fleetd do not drive each other
/// to read again and again. It is a courtesy: what keeps writes apart is the condition of each, and whoever
/// has waited for too long goes on without a turn.
#[derive(Debug)]
pub(super) struct Queues([Mutex<()>; QUEUES]);

impl Default for Queues {
    fn default() -> Queues {
        Queues(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Queues {
    /// A turn to write the document `id`.
    pub(super) async fn turn(&self, id: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % QUEUES as u64).unwrap_or_default();
        tokio::time::timeout(QUEUE_MAX, self.0.get(index)?.lock()).await.ok()
    }
}

/// The attempts of one read-modify-write. Each begins with reading: a conflict, and a write of which it is
/// unknown whether it was done, say to look again, and to do what is still missing.
#[derive(Debug)]
pub(super) struct Attempts {
    left: u32,
    until: Instant,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is written.
    Done,
    /// It is not, because somebody else came first: read again.
    NotYet,
    /// It may be written, now or a little later: read again, and see.
    Perhaps,
}

impl Attempts {
    pub(super) fn new() -> Attempts {
        Attempts { left: ATTEMPTS, until: Instant::now() + TIME_MAX }
    }

    /// What to do after an attempt.
    pub(super) fn settle(&mut self, written: Result<Revision, WriteError>) -> Result<Settled, Failure> {
        self.left = self.left.saturating_sub(1);
        let is_last = self.left == 0 || Instant::now() >= self.until;
        match written {
            Ok(_) => Ok(Settled::Done),
            Err(WriteError::NotDone(error)) => Err(error.into()),
            Err(WriteError::Unknown(error)) if is_last => Err(error.into()),
            Err(WriteError::Conflict { .. } | WriteError::LeaseLost) if is_last => {
                Err(Failure::unavailable(": too many changes at once, try again"))
            }
            Err(WriteError::Conflict { .. } | WriteError::LeaseLost) => Ok(Settled::NotYet),
            Err(WriteError::Unknown(_)) => Ok(Settled::Perhaps),
        }
    }
}
