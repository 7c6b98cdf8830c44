//! What a leader makes of what the store holds: read once, then told by watches.

use std::collections::{BTreeMap, BTreeSet};

use fleet_store::{Collection, Error, LeaseId, Malformed, Scope, TypedChange, Versioned};
use fleet_unit::{Requirements, UnitName};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::planner::{Planner, UnitSpec};
use super::reconciler::{Engine, TermEnd};
use super::shelf::{self, Shelf};
use super::term::{Term, Watches};
use crate::documents::{
    AssignmentDocument, GLOBALS_ID, MACHINE_METADATA, MACHINES, MachineDocument, MachineId, MetadataDocument,
    UnitDocument,
};

impl<'a> Term<'a> {
    /// Reads everything. `elected` is when this leadership began.
    pub(super) async fn begin(
        engine: &'a Engine,
        lease: LeaseId,
        elected: Instant,
    ) -> Result<Term<'a>, TermEnd> {
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
            let watches = Watches {
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
            };
            Some(watches)
        } else {
            None
        };
        let mut term = Term::empty(engine, lease, watches);
        let document_max = engine.options.document_max;
        let (global_parts, mut globals) = shelf::read(globals, "the list of global units", document_max);
        term.global_parts = global_parts;
        term.unreadable_globals = !globals.unreadable.is_empty();
        term.published_globals = globals.sets.remove(GLOBALS_ID);
        machines.malformed.iter().for_each(|malformed| term.set_unreadable(malformed, &MACHINES));
        metadata.malformed.iter().for_each(|malformed| term.set_unreadable(malformed, &MACHINE_METADATA));
        for document in metadata.values {
            term.overrides.insert(MachineId(document.id), document.value);
        }
        let store_was_there = store_was_there(&engine.options.machine, &machines.values);
        for document in machines.values {
            term.set_machine(&MachineId(document.id), Some(document.value));
        }
        let (assignment_parts, assignments) =
            shelf::read(assignments, "a machine's assignment", document_max);
        term.assignment_parts = assignment_parts;
        term.unreadable_assignments = assignments.unreadable.into_iter().map(MachineId).collect();
        term.published = assignments.sets.into_iter().map(|(id, set)| (MachineId(id), set)).collect();
        term.unwritten.extend(term.unreadable_assignments.iter().chain(term.published.keys()).cloned());
        for malformed in &units.malformed {
            term.quarantine(malformed);
        }
        for document in units.values {
            term.set_unit(document, false);
        }
        term.hold_machines(elected, store_was_there);
        debug!(machines = term.machines.len(), units = term.revisions.len(), "the cluster was read");
        Ok(term)
    }

    fn empty(engine: &'a Engine, lease: LeaseId, watches: Option<Watches>) -> Term<'a> {
        Term {
            engine,
            lease,
            planner: Planner::new(),
            watches,
            revisions: BTreeMap::new(),
            fresh: BTreeMap::new(),
            machines: BTreeMap::new(),
            overrides: BTreeMap::new(),
            published: BTreeMap::new(),
            published_globals: None,
            assignment_parts: Shelf::new(engine.options.document_max),
            global_parts: Shelf::new(engine.options.document_max),
            quarantined: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            unreadable_assignments: BTreeSet::new(),
            unreadable_globals: false,
            unwritten: BTreeSet::new(),
            unwritten_globals: true,
            held_until: None,
        }
    }

    /// A leader that finds machines away may find them so because the store was away, for them as for
    /// everybody: they get time to come back before their units are moved. It suspects that when nobody shows that
    /// the store was there, when it is no member itself, and when most machines are away.
    fn hold_machines(&mut self, elected: Instant, store_was_there: bool) {
        let away: Vec<MachineId> = self
            .planner
            .machines_with_units()
            .filter(|id| !self.machines.contains_key(*id) || self.unreadable.contains_key(*id))
            .cloned()
            .collect();
        let is_member = self.machines.contains_key(&self.engine.options.machine);
        let suspicious = !store_was_there || !is_member || away.len() > self.machines.len();
        let until = elected + self.engine.options.grace;
        let waits = suspicious && !away.is_empty() && until > Instant::now();
        if waits {
            warn!(away = away.len(), there = self.machines.len(), "machines are away: waiting for them");
            self.held_until = Some(until);
        }
        for machine in away.iter().filter(|machine| waits || self.unreadable.contains_key(*machine)) {
            self.planner.hold_machine(machine);
        }
    }

    /// Machines that have not come back are not waited for any longer.
    pub(super) fn release_machines(&mut self) {
        self.held_until = None;
        let held: Vec<MachineId> = self
            .planner
            .machines_with_units()
            .filter(|id| !self.unreadable.contains_key(*id))
            .cloned()
            .collect();
        held.iter().for_each(|machine| self.planner.release_machine(machine));
    }

    pub(super) fn take_units(&mut self, changes: Vec<TypedChange<UnitDocument>>) {
        for change in changes {
            match change {
                TypedChange::Put(versioned) => self.set_unit(versioned, true),
                TypedChange::Delete { id } => self.remove_unit(&id),
                TypedChange::Malformed(malformed) => self.quarantine(&malformed),
            }
        }
    }

    /// Reads one unit again.
    pub(super) async fn read_unit(&mut self, name: &UnitName) -> Result<(), Error> {
        let found = self.engine.stores.units.list(Scope::Id(name.to_string())).await?;
        match (found.values.into_iter().next(), found.malformed.first()) {
            (Some(versioned), _) => self.set_unit_again(name, versioned),
            (None, Some(malformed)) => {
                self.revisions.remove(name);
                self.quarantine(malformed);
            }
            (None, None) => self.remove_unit(name.as_str()),
        }
        Ok(())
    }

    /// A unit was read again, because what was decided of it could not be written: it is as it was read, even
    /// if it has not changed.
    pub(super) fn set_unit_again(&mut self, name: &UnitName, versioned: Versioned<UnitDocument>) {
        self.revisions.remove(name);
        self.set_unit(versioned, true);
    }

    fn set_unit(&mut self, versioned: Versioned<UnitDocument>, keep: bool) {
        let Ok(name) = UnitName::parse(&versioned.id) else {
            error!(unit = versioned.id, "a unit's document has a name that no unit can have: ignored");
            return;
        };
        if self.revisions.get(&name).is_some_and(|seen| *seen >= versioned.revision) {
            return;
        }
        self.leave_quarantine(&name);
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

    fn remove_unit(&mut self, id: &str) {
        let Ok(name) = UnitName::parse(id) else { return };
        self.leave_quarantine(&name);
        self.revisions.remove(&name);
        self.fresh.remove(&name);
        self.planner.remove_unit(&name);
    }

    /// A unit whose document cannot be read is left as it is: whoever runs it goes on, and it is not moved. The
    /// planner goes on counting with it, or units that belong beside it would lose their place.
    fn quarantine(&mut self, malformed: &Malformed) {
        let Ok(name) = UnitName::parse(&malformed.id) else { return };
        if self.revisions.get(&name).is_some_and(|seen| *seen >= malformed.revision) {
            return;
        }
        tell(malformed, "a unit's document");
        self.revisions.insert(name.clone(), malformed.revision);
        self.fresh.remove(&name);
        self.quarantined.insert(malformed.id.clone());
        match self.last_known(&name) {
            Some(spec) => {
                let requirements = Err("its document cannot be read".to_owned());
                self.planner.set_unit(name, UnitSpec { requirements, ..spec });
            }
            None => self.planner.remove_unit(&name),
        }
    }

    /// What is known of a unit that is placed, other than by its document.
    fn last_known(&self, name: &UnitName) -> Option<UnitSpec> {
        if let Some(spec) = self.planner.unit(name).filter(|spec| spec.machine.is_some()) {
            return Some(spec.clone());
        }
        let published = |(machine, document): (&MachineId, &AssignmentDocument)| {
            let assignment = document.units.get(name)?;
            Some(UnitSpec {
                hash: assignment.hash,
                requirements: Ok(Requirements::default()),
                target: assignment.target,
                machine: Some(machine.clone()),
                restarts: assignment.restarts,
            })
        };
        self.published.iter().find_map(published)
    }

    /// Its document can be read again, or is gone: what was published of it is derived again.
    fn leave_quarantine(&mut self, name: &UnitName) {
        if !self.quarantined.remove(name.as_str()) {
            return;
        }
        self.unwritten.extend(self.unreadable_assignments.iter().cloned());
        self.unwritten_globals = true;
    }

    pub(super) fn take_machines(&mut self, changes: Vec<TypedChange<MachineDocument>>) {
        for change in changes {
            match change {
                TypedChange::Put(versioned) => {
                    let machine = MachineId(versioned.id);
                    if !self.machines.contains_key(&machine) {
                        info!(%machine, "machine is there");
                    }
                    self.set_machine(&machine, Some(versioned.value));
                }
                TypedChange::Delete { id } => {
                    let machine = MachineId(id);
                    info!(%machine, "machine is gone");
                    self.set_machine(&machine, None);
                }
                TypedChange::Malformed(malformed) => self.set_unreadable(&malformed, &MACHINES),
            }
        }
    }

    fn set_machine(&mut self, machine: &MachineId, document: Option<MachineDocument>) {
        match document {
            Some(document) => {
                self.set_readable(machine, &MACHINES);
                self.machines.insert(machine.clone(), document.metadata);
                self.apply_metadata(machine);
            }
            None => {
                self.machines.remove(machine);
                self.unreadable.remove(machine);
                self.planner.remove_machine(machine);
                self.planner.release_machine(machine);
            }
        }
    }

    /// Something of a machine cannot be read. What was known of it stays true; if nothing was, its units stay
    /// where they are.
    fn set_unreadable(&mut self, malformed: &Malformed, collection: &'static Collection) {
        tell(malformed, "a document about a machine");
        let machine = MachineId(malformed.id.clone());
        if !self.machines.contains_key(&machine) {
            self.planner.hold_machine(&machine);
            self.unreadable.insert(machine, collection);
        }
    }

    fn set_readable(&mut self, machine: &MachineId, collection: &'static Collection) {
        if self.unreadable.get(machine).is_some_and(|unreadable| *unreadable == collection) {
            self.unreadable.remove(machine);
        }
    }

    pub(super) fn take_metadata(&mut self, changes: Vec<TypedChange<MetadataDocument>>) {
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
                    self.set_unreadable(&malformed, &MACHINE_METADATA);
                    continue;
                }
            };
            self.set_readable(&machine, &MACHINE_METADATA);
            self.apply_metadata(&machine);
        }
    }

    fn apply_metadata(&mut self, machine: &MachineId) {
        if self.unreadable.contains_key(machine) {
            return;
        }
        if let Some(metadata) = self.machines.get(machine) {
            let merged = match self.overrides.get(machine) {
                Some(overrides) => overrides.apply(metadata),
                None => metadata.clone(),
            };
            self.planner.set_machine(machine, merged);
        }
    }
}

/// Whether this machine, or most of the others that are there, have been members for longer than a machine
/// that is only late would take: then who is away is not away because the store was.
fn store_was_there(me: &MachineId, machines: &[Versioned<MachineDocument>]) -> bool {
    let (mine, others): (Vec<_>, Vec<_>) = machines.iter().partition(|machine| machine.id == me.0);
    let settled = others.iter().filter(|machine| machine.value.settled).count();
    mine.iter().any(|machine| machine.value.settled) || settled * 2 > others.len()
}

fn tell(malformed: &Malformed, what: &str) {
    error!(id = malformed.id, error = %malformed.error, "{what} cannot be read: what runs goes on as it is");
}
