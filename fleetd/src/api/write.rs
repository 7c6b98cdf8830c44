//! Writing what somebody else may be writing too.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use fleet_store::{Expect, Revision, WriteError};
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

/// The attempts of one read-modify-write, each of which begins with reading.
///
/// After a conflict it is read again. After a write of unknown outcome it is read again too, and then one of
/// three things is true. What was written is there: done. What was there before is still there: it is written
/// again under the same condition, so that at most one of the two writes is done. Something else is there:
/// then nobody can say whether our write came before it, and who asked is told so. To write again would
/// perhaps do twice what was asked for once.
#[derive(Debug)]
pub(super) struct Attempts {
    left: u32,
    until: Instant,
    /// What the first write of unknown outcome expected.
    doubt: Option<Expect>,
}

impl Attempts {
    pub(super) fn new() -> Attempts {
        Attempts { left: ATTEMPTS, until: Instant::now() + TIME_MAX, doubt: None }
    }

    /// Begins an attempt on what was found, which is not what was perhaps written before.
    pub(super) fn begin(&self, found: Expect) -> Result<(), Failure> {
        match self.doubt {
            Some(expected) if expected != found => {
                Err(Failure::unavailable(": it is unknown whether this was done, so look, and try again"))
            }
            _ => Ok(()),
        }
    }

    /// Whether an attempt, made on `found`, has done it. If not, the next one is due.
    pub(super) fn settle(
        &mut self,
        found: Expect,
        written: Result<Revision, WriteError>,
    ) -> Result<bool, Failure> {
        self.left = self.left.saturating_sub(1);
        let is_last = self.left == 0 || Instant::now() >= self.until;
        match written {
            Ok(_) => Ok(true),
            Err(WriteError::NotDone(error)) => Err(error.into()),
            Err(WriteError::Unknown(error)) if is_last => Err(error.into()),
            Err(WriteError::Conflict { .. } | WriteError::LeaseLost) if is_last => {
                Err(Failure::unavailable(": too many changes at once, try again"))
            }
            Err(WriteError::Conflict { .. } | WriteError::LeaseLost) => Ok(false),
            Err(WriteError::Unknown(_)) => {
                self.doubt = Some(found);
                Ok(false)
            }
        }
    }

    /// Whether an earlier attempt may have done it.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }
}
