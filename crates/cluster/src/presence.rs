//! Being a member of the cluster.
//!
//! A machine is there while its document in [`MACHINES`] is: the document lives on the machine's presence
//! lease, which the heart renews. A token that only this boot of this machine knows stands in the document,
//! so that a restarted fleetd takes its own document over at once, while a second machine with the same
//! machine id is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Error, ErrorKind, Expect, Lease, LeaseId, Store, Typed, WriteError};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::documents::{MACHINES, MachineDocument, MachineId};
use crate::environment::Environment;
use crate::heart::{Health, Heart, Pulse};

/// How long until a failed or refused registration is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Whether this machine is a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Not registered (yet, or any more).
    Joining,
    /// Another machine is registered under this machine's id.
    Refused,
    /// Registered.
    Member {
        /// The presence lease.
        lease: LeaseId,
        /// The lease of a former fleetd of this machine, which still carries what that one published.
        former: Option<LeaseId>,
    },
    /// Registered, but the store has not answered a heartbeat in time.
    Late,
}

/// What a machine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineInfo {
    /// The address that others reach it at.
    pub public_ip: String,
    /// Metadata from its configuration.
    pub metadata: BTreeMap<String, String>,
}

/// Who this machine is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its id.
    pub machine: MachineId,
    /// Known only to this boot of this machine.
    pub token: String,
    /// The version of its fleetd.
    pub version: String,
    /// How long others wait for it.
    pub ttl: Duration,
}

/// Keeps this machine registered.
#[derive(Debug)]
pub struct Presence {
    store: Arc<dyn Store>,
    machines: Typed<MachineDocument>,
    identity: Identity,
    heart: Heart,
    environment: Arc<Environment>,
}

/// What of a [`MachineDocument`] decides whose it is. The rest of it may be anything.
#[derive(Deserialize)]
struct Claim {
    token: String,
    lease: LeaseId,
    #[serde(default)]
    settled: bool,
}

/// Where this machine's document goes.
struct Place {
    expect: Expect,
    /// The lease of what lies there, if it is this machine's.
    former: Option<LeaseId>,
    /// See [`MachineDocument::settled`].
    settled: bool,
}

enum Registration {
    Done { pulse: Pulse, lease: Lease, former: Option<LeaseId>, settled: bool },
    Refused,
}

impl Presence {
    /// The presence of `identity` in `store`.
    pub fn new(
        store: Arc<dyn Store>,
        identity: Identity,
        heart: Heart,
        environment: Arc<Environment>,
    ) -> Presence {
        let machines = Typed::new(Arc::clone(&store), &MACHINES);
        Presence { store, machines, identity, heart, environment }
    }

    /// Registers, and registers again whenever the registration is lost, until `stop`. The lease is left as
    /// it is at the end: who stops for good calls [`leave`].
    pub async fn run(
        self,
        mut info: watch::Receiver<MachineInfo>,
        membership: watch::Sender<Membership>,
        stop: CancellationToken,
    ) {
        let mut refused = false;
        let mut trouble: Option<String> = None;
        loop {
            let current = info.borrow_and_update().clone();
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = self.register(&current) => outcome,
            };
            match outcome {
                Ok(Registration::Done { pulse, lease, former, settled }) => {
                    refused = false;
                    trouble = None;
                    info!(machine = %self.identity.machine, "registered");
                    let registered = Instant::now();
                    membership.send_replace(Membership::Member { lease: lease.id, former });
                    let updates = self.update(info.clone(), lease, settled, membership.subscribe());
                    if stay(pulse, updates, &membership, &stop).await {
                        return;
                    }
                    membership.send_replace(Membership::Joining);
                    // A lease that is lost at once, again and again, must not keep the store busy.
                    if registered.elapsed() >= RETRY_PAUSE {
                        continue;
                    }
                }
                Ok(Registration::Refused) => {
                    if !std::mem::replace(&mut refused, true) {
                        error!(
                            machine = %self.identity.machine,
                            "another machine is registered under this machine's id: give each machine an \
                             /etc/machine-id of its own, or wait until the other one is gone"
                        );
                    }
                    membership.send_replace(Membership::Refused);
                }
                Err(error) => {
                    // Once for each kind of trouble: a person must see what to mend, not every attempt.
                    if trouble.replace(error.to_string()).as_deref() != Some(&*error.to_string()) {
                        warn!(error = &error as &dyn std::error::Error, "not registered, trying again");
                    }
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.environment.pause_up_to(RETRY_PAUSE) => {}
            }
        }
    }

    async fn register(&self, info: &MachineInfo) -> Result<Registration, Error> {
        let Some(place) = self.find_place().await? else { return Ok(Registration::Refused) };
        let Place { expect, former, settled } = place;
        let since = Instant::now();
        let lease = self.store.grant(self.identity.ttl).await?;
        let document = self.document(info, lease, settled);
        match self.machines.put(&self.identity.machine.0, &document, expect, Some(lease.id), None).await {
            Ok(_) => {
                let pulse = self.heart.keep(lease, since).await;
                Ok(Registration::Done { pulse, lease, former, settled })
            }
            // If it was written, the next attempt finds our own token.
            Err(WriteError::Unknown(error)) => Err(error),
            Err(WriteError::NotDone(error)) => {
                self.store.revoke(lease.id).await?;
                Err(error)
            }
            Err(WriteError::Conflict { .. } | WriteError::LeaseLost) => {
                self.store.revoke(lease.id).await?;
                Err(Error::new(
                    ErrorKind::Unavailable,
                    "register this machine: its document changed meanwhile",
                ))
            }
        }
    }

    /// What is to be replaced by this machine's document; `None`: another machine's, which has the same id.
    async fn find_place(&self) -> Result<Option<Place>, Error> {
        let Some(there) = self.store.get(&MACHINES, &self.identity.machine.0).await? else {
            return Ok(Some(Place { expect: Expect::Absent, former: None, settled: false }));
        };
        let expect = Expect::Revision(there.revision);
        match serde_json::from_slice::<Claim>(&there.body) {
            Ok(claim) if claim.token == self.identity.token => {
                return Ok(Some(Place { expect, former: Some(claim.lease), settled: claim.settled }));
            }
            Ok(claim) if self.stands(claim.lease).await? => return Ok(None),
            // A lease takes its documents with it when it ends: somebody has written this by hand.
            Ok(_) => error!(
                machine = %self.identity.machine,
                "the machine's document is on no lease: it is replaced"
            ),
            Err(error) => error!(
                machine = %self.identity.machine,
                error = &error as &dyn std::error::Error,
                "the machine's document cannot be read: it is replaced"
            ),
        }
        Ok(Some(Place { expect, former: None, settled: false }))
    }

    /// Whether a lease stands. Asked by a write that does nothing: renewing it would keep it alive.
    async fn stands(&self, lease: LeaseId) -> Result<bool, Error> {
        let nothing = format!("{}/none", self.identity.machine);
        match self.machines.delete(&nothing, Expect::Any, Some(lease)).await {
            Ok(_) | Err(WriteError::Conflict { .. }) => Ok(true),
            Err(WriteError::LeaseLost) => Ok(false),
            Err(WriteError::NotDone(error) | WriteError::Unknown(error)) => Err(error),
        }
    }

    fn document(&self, info: &MachineInfo, lease: Lease, settled: bool) -> MachineDocument {
        MachineDocument {
            public_ip: info.public_ip.clone(),
            metadata: info.metadata.clone(),
            version: self.identity.version.clone(),
            token: self.identity.token.clone(),
            lease: lease.id,
            ttl_ms: u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX),
            settled,
        }
    }

    /// Writes what this machine says of itself whenever that changes, and once that it has settled.
    async fn update(
        &self,
        mut info: watch::Receiver<MachineInfo>,
        lease: Lease,
        mut settled: bool,
        mut membership: watch::Receiver<Membership>,
    ) {
        let mut settles = Instant::now() + lease.ttl;
        let (mut open, mut due) = (true, false);
        loop {
            if !std::mem::take(&mut due) {
                tokio::select! {
                    biased;
                    changed = info.changed(), if open => {
                        open = changed.is_ok();
                        if !open {
                            continue;
                        }
                    }
                    // The store was away, for others perhaps as well: it begins anew when that is over.
                    Ok(()) = membership.changed(), if !settled => {
                        settles = Instant::now() + lease.ttl;
                        continue;
                    }
                    () = tokio::time::sleep_until(settles), if !settled => {
                        if *membership.borrow() == Membership::Late {
                            settles = Instant::now() + lease.ttl;
                            continue;
                        }
                        settled = true;
                    }
                    else => return std::future::pending().await,
                }
            }
            let document = self.document(&info.borrow_and_update(), lease, settled);
            let id = &self.identity.machine.0;
            let written = self.machines.put(id, &document, Expect::Any, Some(lease.id), Some(lease.id)).await;
            // When the lease is over this machine registers again, with what it says of itself then.
            if let Err(error) = written {
                warn!(error = &error as &dyn std::error::Error, "the machine's document was not updated");
                due = true;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Stays registered until the lease is lost (`false`) or `stop` (`true`).
async fn stay(
    mut pulse: Pulse,
    updates: impl Future<Output = ()>,
    membership: &watch::Sender<Membership>,
    stop: &CancellationToken,
) -> bool {
    let member = membership.borrow().clone();
    tokio::pin!(updates);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return true,
            health = pulse.changed() => match health {
                Health::Held { .. } => {
                    membership.send_if_modified(|current| {
                        let was_late = *current == Membership::Late;
                        if was_late {
                            info!("the store answers again");
                            current.clone_from(&member);
                        }
                        was_late
                    });
                }
                Health::Late => {
                    warn!("Server monitor triggered: Monitor timed out before successful heartbeat");
                    membership.send_replace(Membership::Late);
                }
                Health::Lost => {
                    warn!("the store has given this machine up; registering again, units go on running");
                    return false;
                }
            },
            () = &mut updates => {}
        }
    }
}

/// Leaves the cluster: ends the presence lease, and with it everything that this machine published.
pub async fn leave(store: &dyn Store, lease: LeaseId) -> Result<(), Error> {
    store.revoke(lease).await
}
