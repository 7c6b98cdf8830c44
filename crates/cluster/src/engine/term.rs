//! One reading of the whole cluster by a leader, and what follows from it until it has to be read again.

use std::collections::{BTreeMap, BTreeSet};

use fleet_store::{LeaseId, Malformed, Revision, Scope, TypedChange, TypedWatch, Versioned, WatchError};
use fleet_unit::{Requirements, UnitName};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, error, info, warn};

use super::planner::{Planner, UnitSpec};
use super::reconciler::{Engine, TermEnd};
use crate::documents::{
    AssignmentDocument, GlobalAssignmentDocument, MachineDocument, MachineId, MetadataDocument, UnitDocument,
};

/// Everything is read again from the store after this many beats, in case a change was missed after all.
const BEATS_BETWEEN_READS: u32 = 30;
/// How often the store is asked to forget history.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(60);

/// The watches of a term. With `disable_watches` there are none.
struct Watches {
    units: TypedWatch<UnitDocument>,
    machines: TypedWatch<MachineDocument>,
    metadata: TypedWatch<MetadataDocument>,
}

/// One reading of the whole cluster, and what follows from it.
pub(super) struct Term<'a> {
    pub(super) engine: &'a Engine,
    pub(super) lease: LeaseId,
    pub(super) planner: Planner,
    watches: Option<Watches>,
    /// The newest revision seen of each unit: what a watch tells later may be older than what we wrote.
    pub(super) revisions: BTreeMap<UnitName, Revision>,
    /// Documents that were told since the last commit, so that they need not be read again to be written.
    pub(super) fresh: BTreeMap<UnitName, UnitDocument>,
    pub(super) machines: BTreeMap<MachineId, BTreeMap<String, String>>,
    pub(super) overrides: BTreeMap<MachineId, MetadataDocument>,
    /// What the store holds of the derived documents.
    pub(super) published: BTreeMap<MachineId, AssignmentDocument>,
    pub(super) published_globals: Option<GlobalAssignmentDocument>,
    /// Units whose documents cannot be read. What runs of them goes on running.
    pub(super) quarantined: BTreeSet<String>,
    /// Machines whose assignment could not be written yet.
    pub(super) unwritten: BTreeSet<MachineId>,
    pub(super) unwritten_globals: bool,
    pub(super) held_until: Option<Instant>,
}

impl<'a> Term<'a> {
    pub(super) async fn begin(engine: &'a Engine, lease: LeaseId) -> Result<Term<'a>, TermEnd> {
        let stores = &engine.stores;
        let (units, machines, metadata, assignments, globals) = tokio::try_join!(
            stores.units.list(Scope::All),
            stores.machines.list(Scope::All),
            stores.metadata.list(Scope::All),
            stores.assignments.list(Scope::All),
            stores.globals.list(Scope::All),
        )
        .map_err(TermEnd::Store)?;
        let watches = if engine.options.watches {
            Some(Watches {
                units: stores.units.watch(Scope::All, units.revision).await.map_err(TermEnd::Store)?,
                machines: stores
                    .machines
                    .watch(Scope::All, machines.revision)
                    .await
                    .map_err(TermEnd::Store)?,
                metadata: stores
                    .metadata
                    .watch(Scope::All, metadata.revision)
                    .await
                    .map_err(TermEnd::Store)?,
            })
        } else {
            None
        };
        let mut term = Term {
            engine,
            lease,
            planner: Planner::new(),
            watches,
            revisions: BTreeMap::new(),
            fresh: BTreeMap::new(),
            machines: BTreeMap::new(),
            overrides: BTreeMap::new(),
            published: BTreeMap::new(),
            published_globals: globals.values.into_iter().next().map(|versioned| versioned.value),
            quarantined: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            unwritten_globals: true,
            held_until: None,
        };
        for document in metadata.values {
            term.overrides.insert(MachineId(document.id), document.value);
        }
        for document in machines.values {
            term.set_machine(&MachineId(document.id), Some(document.value));
        }
        for document in assignments.values {
            let machine = MachineId(document.id);
            term.unwritten.insert(machine.clone());
            term.published.insert(machine, document.value);
        }
        for malformed in units.malformed {
            term.quarantine(&malformed);
        }
        for document in units.values {
            term.set_unit(document, false);
        }
        term.hold_if_most_are_away();
        Ok(term)
    }

    /// A leader that takes over and finds most machines away suspects that it was the store that was away:
    /// they get time to come back before their units are moved.
    fn hold_if_most_are_away(&mut self) {
        let away: Vec<MachineId> = self
            .planner
            .machines_with_units()
            .filter(|id| !self.machines.contains_key(*id))
            .cloned()
            .collect();
        if away.len() <= self.machines.len() {
            return;
        }
        warn!(away = away.len(), there = self.machines.len(), "most machines are away: waiting for them");
        for machine in &away {
            self.planner.hold_machine(machine);
        }
        self.held_until = Some(Instant::now() + self.engine.options.grace);
    }

    /// Runs until everything has to be read again (`Ok`) or the term is over.
    pub(super) async fn run(&mut self) -> Result<(), TermEnd> {
        let mut beat = tokio::time::interval(self.engine.options.interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.tick().await;
        let mut compaction = tokio::time::interval(COMPACTION_INTERVAL);
        compaction.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beats = 0;
        loop {
            self.round().await?;
            let wake = tokio::select! {
                wake = next_change(self.watches.as_mut()) => wake,
                _ = beat.tick() => Wake::Beat,
                _ = compaction.tick() => Wake::Compact,
            };
            match wake {
                Wake::Units(Ok(changes)) => self.take_units(changes),
                Wake::Machines(Ok(changes)) => self.take_machines(changes),
                Wake::Metadata(Ok(changes)) => self.take_metadata(changes),
                Wake::Units(Err(error)) | Wake::Machines(Err(error)) | Wake::Metadata(Err(error)) => {
                    debug!(error = &error as &dyn std::error::Error, "a watch ended");
                    return Ok(());
                }
                Wake::Ended => return Ok(()),
                Wake::Beat => {
                    beats += 1;
                    if self.watches.is_none() || beats >= BEATS_BETWEEN_READS {
                        return Ok(());
                    }
                    self.planner.revisit();
                }
                Wake::Compact => self.compact().await,
            }
            if !self.take_what_has_arrived() {
                return Ok(());
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
        if self.held_until.is_some_and(|until| started >= until) {
            self.held_until = None;
            self.planner.release_machines();
        }
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

    fn take_units(&mut self, changes: Vec<TypedChange<UnitDocument>>) {
        for change in changes {
            match change {
                TypedChange::Put(versioned) => self.set_unit(versioned, true),
                TypedChange::Delete { id } => self.remove_unit(&id),
                TypedChange::Malformed(malformed) => self.quarantine(&malformed),
            }
        }
    }

    pub(super) fn set_unit(&mut self, versioned: Versioned<UnitDocument>, keep: bool) {
        let Ok(name) = UnitName::parse(&versioned.id) else {
            error!(unit = versioned.id, "a unit's document has a name that no unit can have: ignored");
            return;
        };
        if self.revisions.get(&name).is_some_and(|seen| *seen >= versioned.revision) {
            return;
        }
        self.quarantined.remove(name.as_str());
        self.revisions.insert(name.clone(), versioned.revision);
        let document = versioned.value;
        let file = document.file();
        let spec = UnitSpec {
            hash: file.hash(),
            requirements: Requirements::of(&name, &file).map_err(|error| error.to_string()),
            target: document.desired_state,
            machine: document.machine.clone(),
            restarts: document.restarts,
        };
        if keep {
            self.fresh.insert(name.clone(), document);
        }
        self.planner.set_unit(name, spec);
    }

    pub(super) fn remove_unit(&mut self, id: &str) {
        self.quarantined.remove(id);
        if let Ok(name) = UnitName::parse(id) {
            self.revisions.remove(&name);
            self.fresh.remove(&name);
            self.planner.remove_unit(&name);
        }
    }

    fn quarantine(&mut self, malformed: &Malformed) {
        error!(unit = malformed.id, error = %malformed.error, "a unit's document cannot be read: it is left as it is");
        self.quarantined.insert(malformed.id.clone());
    }

    fn take_machines(&mut self, changes: Vec<TypedChange<MachineDocument>>) {
        for change in changes {
            match change {
                TypedChange::Put(versioned) => {
                    self.set_machine(&MachineId(versioned.id), Some(versioned.value));
                }
                TypedChange::Delete { id } => self.set_machine(&MachineId(id), None),
                TypedChange::Malformed(malformed) => {
                    error!(machine = malformed.id, error = %malformed.error, "a machine's document cannot be read");
                }
            }
        }
    }

    fn set_machine(&mut self, machine: &MachineId, document: Option<MachineDocument>) {
        match document {
            Some(document) => {
                if !self.machines.contains_key(machine) {
                    info!(%machine, "machine is there");
                }
                self.machines.insert(machine.clone(), document.metadata);
                self.apply_metadata(machine);
            }
            None => {
                info!(%machine, "machine is gone");
                self.machines.remove(machine);
                self.planner.remove_machine(machine);
            }
        }
    }

    fn take_metadata(&mut self, changes: Vec<TypedChange<MetadataDocument>>) {
        for change in changes {
            let machine = match change {
                TypedChange::Put(versioned) => {
                    let machine = MachineId(versioned.id);
                    self.overrides.insert(machine.clone(), versioned.value);
                    machine
                }
                TypedChange::Delete { id } => {
                    let machine = MachineId(id);
                    self.overrides.remove(&machine);
                    machine
                }
                TypedChange::Malformed(malformed) => {
                    error!(machine = malformed.id, error = %malformed.error, "machine metadata cannot be read");
                    continue;
                }
            };
            self.apply_metadata(&machine);
        }
    }

    fn apply_metadata(&mut self, machine: &MachineId) {
        if let Some(metadata) = self.machines.get(machine) {
            let merged = match self.overrides.get(machine) {
                Some(overrides) => overrides.apply(metadata),
                None => metadata.clone(),
            };
            self.planner.set_machine(machine, merged);
        }
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
}

async fn next_change(watches: Option<&mut Watches>) -> Wake {
    let Some(watches) = watches else { return std::future::pending().await };
    tokio::select! {
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
