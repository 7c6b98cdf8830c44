//! Being the one that decides.
//!
//! The leader is whoever has put the document [`LEADER`] on a lease of its own. When that lease ends the
//! store removes the document, every candidate is told, and the first to put it again leads. The lease is
//! short, so that a dead leader is replaced within three seconds; fencing (`while_held`) makes a leader that
//! only seems dead harmless.

use std::time::Duration;

use fleet_store::{Error, Expect, LeaseId, Revision, Scope, Store, Typed, TypedWatch, WriteError};
use tokio::time::Instant;

use crate::documents::{LEADER, LeaderDocument};
use crate::environment::Environment;
use crate::heart::{Heart, Pulse};

/// How long a leader may be silent. The shortest that etcd can count.
const LEADERSHIP_TTL: Duration = Duration::from_secs(2);
/// Candidates wait up to this long after the leader is gone, so that not all of a large cluster ask at once.
const STAGGER_MAX: Duration = Duration::from_millis(200);
/// A candidate also looks by itself this often: a watch that is cut off is silent.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Leadership, as long as its pulse beats.
#[derive(Debug)]
pub struct Leadership {
    /// The lease's pulse: when it falters, the leadership is over.
    pub pulse: Pulse,
}

impl Leadership {
    /// What a leader's writes are fenced with.
    pub fn lease(&self) -> LeaseId {
        self.pulse.lease()
    }
}

/// Takes part in the election. Returns when this machine leads; cancel-safe in that a lease that was granted
/// and not used runs out by itself.
pub async fn campaign(
    engine: &Typed<LeaderDocument>,
    me: &LeaderDocument,
    heart: &Heart,
    environment: &Environment,
) -> Result<Leadership, Error> {
    loop {
        let listing = engine.list(Scope::Id(LEADER.to_owned())).await?;
        match listing.values.first() {
            None => {
                environment.pause_up_to(STAGGER_MAX).await;
                if let Some(leadership) = claim(engine, me, heart).await? {
                    return Ok(leadership);
                }
            }
            // Our own document from before a restart: its lease is not ours to renew any more.
            Some(leader) if leader.value.machine == me.machine => {
                depose_self(engine, leader.revision).await?;
            }
            Some(_) => await_vacancy(engine, listing.revision).await?,
        }
    }
}

async fn claim(
    engine: &Typed<LeaderDocument>,
    me: &LeaderDocument,
    heart: &Heart,
) -> Result<Option<Leadership>, Error> {
    if engine.get(LEADER).await?.is_some() {
        return Ok(None);
    }
    let since = Instant::now();
    let lease = engine.store().grant(LEADERSHIP_TTL).await?;
    match engine.put(LEADER, me, Expect::Absent, Some(lease.id), None).await {
        Ok(_) => Ok(Some(Leadership { pulse: heart.keep(lease, since).await })),
        Err(WriteError::Unknown(error)) => {
            // It may have been written: then the document must go with the lease, or nobody leads for its
            // time to live.
            let _ = engine.store().revoke(lease.id).await;
            Err(error)
        }
        Err(WriteError::NotDone(error)) => {
            let _ = engine.store().revoke(lease.id).await;
            Err(error)
        }
        Err(WriteError::Conflict { .. } | WriteError::LeaseLost) => {
            engine.store().revoke(lease.id).await?;
            Ok(None)
        }
    }
}

async fn depose_self(engine: &Typed<LeaderDocument>, revision: Revision) -> Result<(), Error> {
    match engine.delete(LEADER, Expect::Revision(revision), None).await {
        Ok(_) | Err(WriteError::Conflict { .. } | WriteError::LeaseLost) => Ok(()),
        Err(WriteError::NotDone(error) | WriteError::Unknown(error)) => Err(error),
    }
}

async fn await_vacancy(engine: &Typed<LeaderDocument>, after: Revision) -> Result<(), Error> {
    let mut watch: TypedWatch<LeaderDocument> = engine.watch(Scope::Id(LEADER.to_owned()), after).await?;
    loop {
        tokio::select! {
            change = watch.next() => return match change {
                Some(Ok(_)) | None => Ok(()),
                Some(Err(_)) => Ok(()),
            },
            () = tokio::time::sleep(LOOK_INTERVAL) => {
                if engine.get(LEADER).await?.is_none() {
                    return Ok(());
                }
            }
        }
    }
}

/// Gives the leadership back, so that another machine need not wait for the lease to end.
pub async fn resign(store: &dyn Store, leadership: Leadership) -> Result<(), Error> {
    let lease = leadership.lease();
    drop(leadership);
    store.revoke(lease).await
}
