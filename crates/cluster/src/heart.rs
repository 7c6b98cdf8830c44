//! Keeping leases alive, apart from all other work.
//!
//! A late heartbeat costs a machine its units, so renewing runs where nothing else can hold it up: fleetd
//! gives the heart a thread, a runtime and a store connection of its own. The rest of the daemon holds a
//! [`Pulse`] per lease and reads from it whether the lease still stands.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Lease, LeaseId, RenewError, Store};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// At most this many leases wait to be taken up; there are two, presence and leadership.
const QUEUE: usize = 8;
/// Failed renewals do not follow each other faster than this.
const HURRIED_MIN: Duration = Duration::from_millis(50);

/// What is known of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// By this machine's monotonic clock it stands until then at least.
    Held {
        /// The start of the last successful renewal plus the time to live.
        until: Instant,
    },
    /// Not renewed in time: it may stand or not. It is still being renewed.
    Late,
    /// Over for good.
    Lost,
}

/// Hands leases to the heart.
#[derive(Clone, Debug)]
pub struct Heart {
    requests: mpsc::Sender<Keep>,
}

#[derive(Debug)]
struct Keep {
    lease: Lease,
    since: Instant,
    health: watch::Sender<Health>,
    released: CancellationToken,
}

/// The half of the heart that beats: run it where nothing else runs.
#[derive(Debug)]
pub struct Beating {
    requests: mpsc::Receiver<Keep>,
}

/// A lease that is being kept. Dropping it stops the renewing; the lease then runs out.
#[derive(Debug)]
pub struct Pulse {
    lease: LeaseId,
    health: watch::Receiver<Health>,
    released: CancellationToken,
}

/// A heart and the half of it that beats.
pub fn heart() -> (Heart, Beating) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Heart { requests: sender }, Beating { requests: receiver })
}

impl Heart {
    /// Keeps `lease`, which was granted or renewed at `since` or later, until the pulse is dropped.
    pub async fn keep(&self, lease: Lease, since: Instant) -> Pulse {
        let (sender, receiver) = watch::channel(Health::Held { until: since + lease.ttl });
        let released = CancellationToken::new();
        let keep = Keep { lease, since, health: sender, released: released.clone() };
        // If nothing beats any more the sender is dropped here, and the pulse says that the lease is lost.
        let _ = self.requests.send(keep).await;
        Pulse { lease: lease.id, health: receiver, released }
    }

    /// Waits until nothing beats any more. Cancel-safe.
    pub async fn stopped(&self) {
        self.requests.closed().await;
    }
}

impl Pulse {
    /// The lease.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// What is known of it now.
    pub fn health(&self) -> Health {
        if self.health.has_changed().is_err() {
            return Health::Lost;
        }
        *self.health.borrow()
    }

    /// Waits until the health is another one than when this was last called. Cancel-safe.
    pub async fn changed(&mut self) -> Health {
        match self.health.changed().await {
            Ok(()) => *self.health.borrow_and_update(),
            Err(_) => Health::Lost,
        }
    }

    /// Waits until the lease is not known to stand any more: late or lost. Cancel-safe.
    pub async fn faltered(&mut self) {
        let _ = self.health.wait_for(|health| !matches!(health, Health::Held { .. })).await;
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.released.cancel();
    }
}

impl Beating {
    /// Renews what it is handed, until every [`Heart`] is dropped.
    pub async fn run(mut self, store: Arc<dyn Store>) {
        let mut keepers = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(keep) => { keepers.spawn(beat(Arc::clone(&store), keep)); }
                    None => break,
                },
                Some(_) = keepers.join_next() => {}
            }
        }
    }
}

async fn beat(store: Arc<dyn Store>, keep: Keep) {
    let Keep { lease, since, health, released } = keep;
    tokio::select! {
        biased;
        () = released.cancelled() => {}
        () = renew_until_lost(&*store, lease, since, &health) => {}
    }
}

/// A lease is renewed after a third of its time, so that one failure leaves time for more attempts; those
/// begin a twelfth apart. An attempt without an answer is given up after a third.
async fn renew_until_lost(store: &dyn Store, lease: Lease, since: Instant, health: &watch::Sender<Health>) {
    let regular = lease.ttl / 3;
    let hurried = (lease.ttl / 12).max(HURRIED_MIN);
    let mut held_until = since + lease.ttl;
    let mut next = since + regular;
    loop {
        or_late(tokio::time::sleep_until(next), held_until, health).await;
        let started = Instant::now();
        let attempt = tokio::time::timeout(regular.max(hurried), store.renew(lease.id));
        match or_late(attempt, held_until, health).await {
            Ok(Ok(())) => {
                held_until = started + lease.ttl;
                next = started + regular;
                health.send_replace(Health::Held { until: held_until });
            }
            Ok(Err(RenewError::Lost)) => {
                health.send_replace(Health::Lost);
                return;
            }
            Ok(Err(RenewError::Failed(_))) | Err(_) => {
                next = (started + hurried).max(Instant::now() + HURRIED_MIN);
            }
        }
    }
}

/// Does something, and tells in the moment when the lease may have run out meanwhile.
async fn or_late<T>(work: impl Future<Output = T>, held_until: Instant, health: &watch::Sender<Health>) -> T {
    tokio::pin!(work);
    if *health.borrow() != Health::Late {
        tokio::select! {
            biased;
            answer = &mut work => return answer,
            () = tokio::time::sleep_until(held_until) => health.send_replace(Health::Late),
        };
    }
    work.await
}
