//! The thin shell around the planner: reads what changed, writes what was decided.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Error, LeaseId, Store, Typed};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::leadership::{self, Leadership};
use super::metrics::Metrics;
use super::term::{Again, Term};
use crate::documents::{
    ASSIGNMENTS, Assignment, ENGINE, GLOBALS, GlobalAssignment, LeaderDocument, MACHINE_METADATA, MACHINES,
    MachineDocument, MachineId, MetadataDocument, UNITS, UnitDocument,
};
use crate::environment::Environment;
use crate::heart::Heart;
use crate::presence::Membership;
use crate::sets::Head;

/// After trouble with the store the election starts again after up to this long.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// After a watch has failed everything is read again after up to this long; it doubles with each failure …
const REREAD_PAUSE_MIN: Duration = Duration::from_millis(50);
/// … up to this: so long a unit may wait for its place while every watch fails.
const REREAD_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Watches that have stood for so long are steady again.
const STEADY: Duration = Duration::from_secs(5);

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// This machine.
    pub machine: MachineId,
    /// This fleetd's version.
    pub version: String,
    /// The beat of the full pass.
    pub interval: Duration,
    /// Whether changes are watched; otherwise they are only read at each beat.
    pub watches: bool,
    /// How long a leader that has reason to think that machines will be back waits for them.
    pub grace: Duration,
    /// How much history the store keeps; `None`: somebody else sees to that.
    pub history: Option<Duration>,
    /// The largest document that it writes, in bytes; at most what the store takes.
    pub document_max: usize,
}

/// An engine that takes part in the election and, when it leads, keeps placements true.
#[derive(Debug)]
pub struct Engine {
    pub(super) options: Options,
    heart: Heart,
    environment: Arc<Environment>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stores: Stores,
}

#[derive(Debug)]
pub(super) struct Stores {
    engine: Typed<LeaderDocument>,
    pub(super) units: Typed<UnitDocument>,
    pub(super) machines: Typed<MachineDocument>,
    pub(super) metadata: Typed<MetadataDocument>,
    pub(super) assignments: Typed<Head<Assignment>>,
    pub(super) globals: Typed<Head<GlobalAssignment>>,
}

/// Why a term ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum TermEnd {
    #[error("the leadership lease was not renewed in time")]
    Deposed,
    #[error("the store failed")]
    Store(#[source] Error),
}

impl Engine {
    /// An engine over `store`.
    pub fn new(
        store: &Arc<dyn Store>,
        options: Options,
        heart: Heart,
        environment: Arc<Environment>,
        metrics: Arc<Metrics>,
    ) -> Engine {
        let stores = Stores {
            engine: Typed::new(Arc::clone(store), &ENGINE),
            units: Typed::new(Arc::clone(store), &UNITS),
            machines: Typed::new(Arc::clone(store), &MACHINES),
            metadata: Typed::new(Arc::clone(store), &MACHINE_METADATA),
            assignments: Typed::new(Arc::clone(store), &ASSIGNMENTS),
            globals: Typed::new(Arc::clone(store), &GLOBALS),
        };
        Engine { options, heart, environment, metrics, stores }
    }

    /// Runs until `stop` is done, then gives the leadership back if it has it.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let Options { machine, version, .. } = &self.options;
            let (heart, environment) = (&self.heart, &self.environment);
            let campaign = leadership::campaign(&self.stores.engine, machine, version, heart, environment);
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = campaign => outcome,
            };
            match outcome {
                Ok(leadership) => self.serve(leadership, &stop).await,
                Err(error) => debug!(error = &error as &dyn std::error::Error, "no election now"),
            }
            if stop.is_cancelled() {
                return;
            }
            self.environment.pause_up_to(TROUBLE_PAUSE).await;
        }
    }

    /// Runs an engine of its own for each time that this machine is a member, until `stop`: a machine that is
    /// refused must not decide for others.
    pub async fn run_while_member(
        make: impl Fn() -> Engine,
        mut membership: watch::Receiver<Membership>,
        stop: CancellationToken,
    ) {
        loop {
            let joined = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                joined = membership.wait_for(|now| lease_of(now).is_some()) => joined.map(|now| lease_of(&now)),
            };
            let Ok(lease) = joined else { return };
            let term = stop.child_token();
            let running = make().run(term.clone());
            tokio::pin!(running);
            // A machine that was given up and has come back within a moment shows that by its lease alone.
            let left = membership.wait_for(|now| *now != Membership::Late && lease_of(now) != lease);
            tokio::select! {
                biased;
                () = &mut running => return,
                _ = left => {}
            }
            term.cancel();
            running.await;
        }
    }

    async fn serve(&self, mut leadership: Leadership, stop: &CancellationToken) {
        info!("this machine is the leader now");
        self.metrics.lead(true);
        let lease = leadership.lease();
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = leadership.pulse.faltered() => Some(TermEnd::Deposed),
            end = Box::pin(self.lead(lease)) => Some(end),
        };
        self.metrics.lead(false);
        if let Some(end) = &end {
            self.metrics.store_failures.add(1);
            warn!(error = end as &dyn std::error::Error, "this machine is no longer the leader");
        }
        let resigned = tokio::time::timeout(
            Duration::from_secs(1),
            leadership::resign(&**self.stores.engine.store(), leadership),
        );
        if resigned.await.is_err() {
            debug!("the leadership lease was not given back; it runs out by itself");
        }
    }

    async fn lead(&self, lease: LeaseId) -> TermEnd {
        let elected = Instant::now();
        let mut pause = REREAD_PAUSE_MIN;
        loop {
            let begun = Instant::now();
            let outcome = match Term::begin(self, lease, elected).await {
                Ok(mut term) => term.run().await,
                Err(end) => return end,
            };
            match outcome {
                Ok(Again::Beat) => pause = REREAD_PAUSE_MIN,
                // One watch that fails is read after at once; watches that fail again and again must not keep
                // leader and store busy with reading everything.
                Ok(Again::WatchEnded) => {
                    if begun.elapsed() >= STEADY {
                        pause = REREAD_PAUSE_MIN;
                    }
                    self.environment.pause_up_to(pause).await;
                    pause = (pause * 2).min(REREAD_PAUSE_MAX);
                }
                Err(end) => return end,
            }
            debug!("reading everything again");
        }
    }
}

fn lease_of(membership: &Membership) -> Option<LeaseId> {
    match membership {
        Membership::Member { lease, .. } => Some(*lease),
        Membership::Joining | Membership::Refused | Membership::Late => None,
    }
}
