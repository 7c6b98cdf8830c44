//! One reading of the whole cluster by a leader, and what follows from it until it has to be read again.

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use fleet_store::{Collection, LeaseId, Revision, TypedChange, TypedWatch, WatchError};
use fleet_unit::UnitName;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::debug;

use super::planner::Planner;
use super::reconciler::{Engine, TermEnd};
use super::shelf::Shelf;
use crate::documents::{
    AssignmentDocument, GlobalAssignmentDocument, MachineDocument, MachineId, MetadataDocument, UnitDocument,
};

/// Everything is read again from the store after this many beats, in case a change was missed after all.
const BEATS_BETWEEN_READS: u32 = 30;
/// How often the store is asked to forget history.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(60);

/// The watches of a term. With `disable_watches` there are none.
pub(super) struct Watches {
    pub(super) units: TypedWatch<UnitDocument>,
    pub(super) machines: TypedWatch<MachineDocument>,
    pub(super) metadata: TypedWatch<MetadataDocument>,
}

/// One reading of the whole cluster, and what follows from it.
pub(super) struct Term<'a> {
    pub(super) engine: &'a Engine,
    pub(super) lease: LeaseId,
    pub(super) planner: Planner,
    pub(super) watches: Option<Watches>,
    /// The newest revision seen of each unit: what a watch tells later may be older than what we wrote.
    pub(super) revisions: BTreeMap<UnitName, Revision>,
    /// Documents that were told since the last commit, so that they need not be read again to be written.
    pub(super) fresh: BTreeMap<UnitName, UnitDocument>,
    pub(super) machines: BTreeMap<MachineId, BTreeMap<String, String>>,
    pub(super) overrides: BTreeMap<MachineId, MetadataDocument>,
    /// What the store holds of the derived documents.
    pub(super) published: BTreeMap<MachineId, AssignmentDocument>,
    pub(super) published_globals: Option<GlobalAssignmentDocument>,
    /// What the store holds of them beside their heads.
    pub(super) assignment_parts: Shelf,
    pub(super) global_parts: Shelf,
    /// Units whose documents cannot be read. What runs of them goes on running.
    pub(super) quarantined: BTreeSet<String>,
    /// Machines of which something cannot be read, and in which collection: their units stay where they are,
    /// and no others come.
    pub(super) unreadable: BTreeMap<MachineId, &'static Collection>,
    /// Machines whose assignment cannot be read. They go on with what they knew.
    pub(super) unreadable_assignments: BTreeSet<MachineId>,
    pub(super) unreadable_globals: bool,
    /// Machines whose assignment could not be written yet.
    pub(super) unwritten: BTreeSet<MachineId>,
    pub(super) unwritten_globals: bool,
    /// Until when units of machines that are away wait for them.
    pub(super) held_until: Option<Instant>,
}

/// Why everything has to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It is time to.
    Beat,
    /// A watch is over.
    WatchEnded,
}

impl Term<'_> {
    /// Runs until everything has to be read again or the term is over.
    pub(super) async fn run(&mut self) -> Result<Again, TermEnd> {
        let mut beat = tokio::time::interval(self.engine.options.interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.tick().await;
        let mut compaction = tokio::time::interval(COMPACTION_INTERVAL);
        compaction.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beats = 0;
        loop {
            self.round().await?;
            let held = self.held_until;
            let wake = tokio::select! {
                biased;
                _ = beat.tick() => Wake::Beat,
                _ = compaction.tick() => Wake::Compact,
                () = sleep_until(held) => Wake::Released,
                wake = next_change(self.watches.as_mut()) => wake,
            };
            match wake {
                Wake::Units(Ok(changes)) => self.take_units(changes),
                Wake::Machines(Ok(changes)) => self.take_machines(changes),
                Wake::Metadata(Ok(changes)) => self.take_metadata(changes),
                Wake::Units(Err(error)) | Wake::Machines(Err(error)) | Wake::Metadata(Err(error)) => {
                    debug!(error = &error as &dyn std::error::Error, "a watch ended");
                    return Ok(Again::WatchEnded);
                }
                Wake::Ended => return Ok(Again::WatchEnded),
                Wake::Beat => {
                    beats += 1;
                    if self.watches.is_none() || beats >= BEATS_BETWEEN_READS {
                        return Ok(Again::Beat);
                    }
                    self.planner.revisit();
                }
                Wake::Compact => self.compact().await,
                Wake::Released => self.release_machines(),
            }
            if !self.take_what_has_arrived() {
                return Ok(Again::WatchEnded);
            }
        }
    }

    /// Takes what else has arrived, so that many changes make one plan. `false`: a watch is over.
    fn take_what_has_arrived(&mut self) -> bool {
        while let Some(change) = self.watches.as_mut().and_then(|watches| watches.units.try_next()) {
            let Ok((_, changes)) = change else { return false };
            self.take_units(changes);
        }
        while let Some(change) = self.watches.as_mut().and_then(|watches| watches.machines.try_next()) {
            let Ok((_, changes)) = change else { return false };
            self.take_machines(changes);
        }
        while let Some(change) = self.watches.as_mut().and_then(|watches| watches.metadata.try_next()) {
            let Ok((_, changes)) = change else { return false };
            self.take_metadata(changes);
        }
        true
    }

    /// Plans and writes until there is nothing left to do.
    async fn round(&mut self) -> Result<(), TermEnd> {
        let started = Instant::now();
        // A conflict means that somebody changed the unit meanwhile: it is read again and planned again.
        for _ in 0..8 {
            let decisions = self.planner.plan();
            let settled = self.commit(decisions).await?;
            self.derive().await?;
            if settled {
                break;
            }
        }
        self.fresh.clear();
        let metrics = &self.engine.metrics;
        metrics.waiting.set(self.planner.waiting() as u64);
        metrics.round(started.elapsed());
        Ok(())
    }

    async fn compact(&self) {
        let Some(history) = self.engine.options.history else { return };
        if let Err(error) = self.engine.stores.units.store().compact(history).await {
            debug!(error = &error as &dyn std::error::Error, "history not compacted");
        }
    }
}

enum Wake {
    Units(Result<Vec<TypedChange<UnitDocument>>, WatchError>),
    Machines(Result<Vec<TypedChange<MachineDocument>>, WatchError>),
    Metadata(Result<Vec<TypedChange<MetadataDocument>>, WatchError>),
    Ended,
    Beat,
    Compact,
    Released,
}

async fn next_change(watches: Option<&mut Watches>) -> Wake {
    let Some(watches) = watches else { return std::future::pending().await };
    tokio::select! {
        biased;
        change = watches.units.next() => {
            change.map_or(Wake::Ended, |change| Wake::Units(change.map(|(_, changes)| changes)))
        }
        change = watches.machines.next() => {
            change.map_or(Wake::Ended, |change| Wake::Machines(change.map(|(_, changes)| changes)))
        }
        change = watches.metadata.next() => {
            change.map_or(Wake::Ended, |change| Wake::Metadata(change.map(|(_, changes)| changes)))
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
