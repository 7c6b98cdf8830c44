//! Being the one that decides.
//!
//! The leader is whoever has put the document [`LEADER`] on a lease of its own. When that lease ends the
//! store removes the document, every candidate is told, and the first to put it again leads. The lease is
//! short, so that a dead leader is replaced within three seconds; fencing (`while_held`) makes a leader that
//! only seems dead harmless.

use std::time::Duration;

use fleet_store::{
    Error, Expect, LeaseId, Malformed, Revision, Scope, Store, Typed, TypedWatch, Versioned, WriteError,
};
use tokio::time::Instant;

use crate::documents::{LEADER, LeaderDocument, MachineId};
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
    machine: &MachineId,
    version: &str,
    heart: &Heart,
    environment: &Environment,
) -> Result<Leadership, Error> {
    loop {
        let listing = engine.list(Scope::Id(LEADER.to_owned())).await?;
        if let Some(malformed) = listing.malformed.first() {
            remove_unreadable(engine, malformed, listing.revision).await?;
            continue;
        }
        match listing.values.first() {
            None => {
                environment.pause_up_to(STAGGER_MAX).await;
                if let Some(leadership) = claim(engine, machine, version, heart).await? {
                    return Ok(leadership);
                }
            }
            // Our own document from before a restart, or from a term that ended in trouble.
            Some(leader) if leader.value.machine == *machine => depose_self(engine, leader).await?,
            Some(_) => {
                if await_change(engine, listing.revision).await? == Change::WatchFailed {
                    environment.pause_up_to(STAGGER_MAX).await;
                }
            }
        }
    }
}

async fn claim(
    engine: &Typed<LeaderDocument>,
    machine: &MachineId,
    version: &str,
    heart: &Heart,
) -> Result<Option<Leadership>, Error> {
    if engine.get(LEADER).await?.is_some() {
        return Ok(None);
    }
    let since = Instant::now();
    let lease = engine.store().grant(LEADERSHIP_TTL).await?;
    let me = LeaderDocument { machine: machine.clone(), version: version.to_owned(), lease: Some(lease.id) };
    match engine.put(LEADER, &me, Expect::Absent, Some(lease.id), None).await {
        Ok(_) => Ok(Some(Leadership { pulse: heart.keep(lease, since).await })),
        // If it is unknown whether it was written, then the document must go with the lease, or nobody leads
        // for its time to live.
        Err(WriteError::Unknown(error) | WriteError::NotDone(error)) => {
            let _ = engine.store().revoke(lease.id).await;
            Err(error)
        }
        Err(WriteError::Conflict { .. } | WriteError::LeaseLost) => {
            engine.store().revoke(lease.id).await?;
            Ok(None)
        }
    }
}

/// Ends a former term of this machine. Its lease is ended, not only its document removed: a write of that term
/// that is still on its way must not be done in the next one.
async fn depose_self(
    engine: &Typed<LeaderDocument>,
    leader: &Versioned<LeaderDocument>,
) -> Result<(), Error> {
    if let Some(lease) = leader.value.lease {
        engine.store().revoke(lease).await?;
    }
    remove(engine, leader.revision).await
}

async fn remove(engine: &Typed<LeaderDocument>, revision: Revision) -> Result<(), Error> {
    match engine.delete(LEADER, Expect::Revision(revision), None).await {
        Ok(_) | Err(WriteError::Conflict { .. } | WriteError::LeaseLost) => Ok(()),
        Err(WriteError::NotDone(error) | WriteError::Unknown(error)) => Err(error),
    }
}

/// A leader's document that cannot be read is left alone for as long as a leader may need to write it anew or
/// to lose its lease; then it goes, or nobody would ever lead again.
async fn remove_unreadable(
    engine: &Typed<LeaderDocument>,
    malformed: &Malformed,
    after: Revision,
) -> Result<(), Error> {
    tracing::error!(error = %malformed.error, "the leader's document cannot be read: it is removed if it stays");
    let changed = tokio::time::timeout(LEADERSHIP_TTL * 2, await_change(engine, after)).await;
    match changed {
        Ok(changed) => changed.map(drop),
        Err(_) => remove(engine, malformed.revision).await,
    }
}

#[derive(PartialEq, Eq)]
enum Change {
    Seen,
    WatchFailed,
}

/// Waits until the leader's document changes, or may have changed.
async fn await_change(engine: &Typed<LeaderDocument>, after: Revision) -> Result<Change, Error> {
    let mut watch: TypedWatch<LeaderDocument> = engine.watch(Scope::Id(LEADER.to_owned()), after).await?;
    match tokio::time::timeout(LOOK_INTERVAL, watch.next()).await {
        Ok(Some(Ok(_))) | Err(_) => Ok(Change::Seen),
        Ok(Some(Err(_)) | None) => Ok(Change::WatchFailed),
    }
}

/// Gives the leadership back, so that another machine need not wait for the lease to end.
pub async fn resign(store: &dyn Store, leadership: Leadership) -> Result<(), Error> {
    let lease = leadership.lease();
    drop(leadership);
    store.revoke(lease).await
}
