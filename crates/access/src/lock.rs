//! What one server alone does for a moment.
//!
//! A lock is a document on a lease. What must not be done by two at a time is written `while_held`: a server that
//! was too slow, and has lost its lock without knowing it, writes nothing any more.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Error as StoreError, ErrorKind, Expect, LeaseId, Store, Typed, WriteError};
use tokio::time::{Instant, sleep};

use crate::documents::{LOCKS, LockDocument};
use crate::timestamp::Timestamp;

/// The longest time that a lock stays when its holder has died.
const TTL: Duration = Duration::from_secs(5);
/// How long a lock is waited for: longer than one whose holder has died.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often it is looked whether it is free.
const PAUSE: Duration = Duration::from_millis(50);

/// A lock that is held. Dropped without [`Lock::release`], it stays until its lease is over.
#[derive(Debug)]
pub(crate) struct Lock {
    store: Arc<dyn Store>,
    lease: LeaseId,
}

impl Lock {
    /// Takes the lock `id`, when it is free.
    ///
    /// # Errors
    /// The store fails, or others hold it for too long ([`ErrorKind::Unavailable`]).
    pub(crate) async fn take(store: &Arc<dyn Store>, id: &str) -> Result<Lock, StoreError> {
        let locks: Typed<LockDocument> = Typed::new(Arc::clone(store), &LOCKS);
        let began = Instant::now();
        loop {
            if locks.get(id).await?.is_none() {
                let lease = store.grant(TTL).await?;
                let document = LockDocument { taken_at: Timestamp::now() };
                match locks.put(id, &document, Expect::Absent, Some(lease.id), None).await {
                    Ok(_) => return Ok(Lock { store: Arc::clone(store), lease: lease.id }),
                    Err(error) => {
                        // Whether it was written or not: it goes with the lease.
                        store.revoke(lease.id).await?;
                        if let WriteError::NotDone(error) | WriteError::Unknown(error) = error {
                            return Err(error);
                        }
                    }
                }
            }
            if began.elapsed() >= PATIENCE {
                let text = format!("lock {id}: others hold it");
                return Err(StoreError::new(ErrorKind::Unavailable, text));
            }
            sleep(PAUSE).await;
        }
    }

    /// What writes must hold.
    pub(crate) fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Lets others in. Where that fails, the lease ends by itself.
    pub(crate) async fn release(self) {
        let _ = self.store.revoke(self.lease).await;
    }
}
