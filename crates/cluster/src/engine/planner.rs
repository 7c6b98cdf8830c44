//! Deciding which machine runs which unit.
//!
//! The planner holds a picture of the cluster, is told what changed, and answers with the placements that
//! should change. It has no clock, no randomness and does no I/O: the same history gives the same plan.
//!
//! It is incremental: a change marks the units that it may touch, and only those are looked at again. What
//! must hold is that nothing is missed: a planner built afresh from the resulting state has nothing to add
//! (a property test holds it to that).
//!
//! Rules, in the order of their weight:
//! 1. A unit stays where it is while its constraints hold there (sticky, minimal movement).
//! 2. A unit on a machine that is away moves only when another machine can take it: otherwise nothing would
//!    be gained, and the machine may come back with the unit still running.
//! 3. A unit whose constraints no longer hold where it is goes elsewhere, or waits.
//! 4. A new unit goes to the machine with the fewest units that can run it; ties go to the smaller id.
//! 5. A unit that another one on its machine `Replaces` moves when another machine can take it, by its own
//!    constraints, without replacing anything there: so one replacement never causes a chain of them. Two
//!    units that replace each other never both run: the second waits.

mod picture;
mod placing;

use std::collections::{BTreeMap, BTreeSet};

use fleet_unit::{Requirements, UnitHash, UnitName};

use crate::documents::{
    Assignment, AssignmentDocument, GlobalAssignment, GlobalAssignmentDocument, MachineId, TargetState,
};

/// What the planner must know of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSpec {
    /// The hash of its file.
    pub hash: UnitHash,
    /// Its constraints, or why they cannot be read: such a unit is not moved and not placed.
    pub requirements: Result<Requirements, String>,
    /// What people want of it.
    pub target: TargetState,
    /// Where it is placed.
    pub machine: Option<MachineId>,
    /// See [`UnitDocument::restarts`](crate::documents::UnitDocument::restarts).
    pub restarts: u64,
}

impl UnitSpec {
    fn is_global(&self) -> bool {
        self.requirements.as_ref().is_ok_and(|requirements| requirements.global)
    }

    fn conflicts(&self) -> &[String] {
        self.requirements.as_ref().map_or(&[], |requirements| &requirements.conflicts)
    }

    fn replaces(&self) -> &[String] {
        self.requirements.as_ref().map_or(&[], |requirements| &requirements.replaces)
    }

    fn peers(&self) -> &[String] {
        self.requirements.as_ref().map_or(&[], |requirements| &requirements.machine_of)
    }
}

/// A placement that should change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The unit.
    pub unit: UnitName,
    /// Where it was placed.
    pub from: Option<MachineId>,
    /// Where it should be.
    pub to: Option<MachineId>,
}

/// A machine that is there, or that is away and still has units placed on it.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// `None`: it is away.
    pub(super) metadata: Option<BTreeMap<String, String>>,
    /// It is away, and its units are to wait for it.
    held: bool,
    /// Units that are placed on it.
    pub(super) placed: BTreeSet<UnitName>,
    /// Global units that it runs.
    pub(super) globals: BTreeSet<UnitName>,
    /// Those of both that have `Conflicts` of their own.
    pub(super) wary: BTreeSet<UnitName>,
    /// Those of `placed` that have `Replaces`.
    pub(super) pushing: BTreeSet<UnitName>,
}

impl Host {
    fn load(&self) -> usize {
        self.placed.len() + self.globals.len()
    }

    fn runs(&self, unit: &str) -> bool {
        self.placed.contains(unit) || self.globals.contains(unit)
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Planner {
    pub(super) units: BTreeMap<UnitName, UnitSpec>,
    pub(super) hosts: BTreeMap<MachineId, Host>,
    /// Global units that are to be loaded or launched.
    globals: BTreeSet<UnitName>,
    /// Units that have `Replaces`.
    replacers: BTreeSet<UnitName>,
    /// Peer to the units that name it in `MachineOf`.
    followers: BTreeMap<String, BTreeSet<UnitName>>,
    /// The machines that are there, the least loaded first.
    by_load: BTreeSet<(usize, MachineId)>,
    /// Units that are not where they should be: nowhere, on a machine that is away, or replaced in vain.
    pub(super) waiting: BTreeSet<UnitName>,
    /// Units to look at again.
    dirty: BTreeSet<UnitName>,
    /// Where the units that moved in this plan were before it.
    moved: BTreeMap<UnitName, Option<MachineId>>,
    /// Machines whose assignment document has to be derived again.
    stale: BTreeSet<MachineId>,
    globals_stale: bool,
}

impl Planner {
    /// A planner of an empty cluster.
    pub fn new() -> Planner {
        Planner::default()
    }

    /// A unit is there, or has changed.
    pub fn set_unit(&mut self, name: UnitName, spec: UnitSpec) {
        if self.units.get(&name) == Some(&spec) {
            return;
        }
        let keeps_place = self.units.get(&name).is_some_and(|old| {
            old.requirements == spec.requirements && old.target == spec.target && old.machine == spec.machine
        });
        if keeps_place {
            // Another file or a restart: nothing about placing.
            self.mark_stale(&name);
            self.units.insert(name, spec);
            return;
        }
        self.forget(&name);
        self.learn(name, spec);
    }

    /// A unit is gone.
    pub fn remove_unit(&mut self, name: &UnitName) {
        self.forget(name);
        self.dirty.remove(name);
        self.waiting.remove(name);
    }

    /// A machine is there, or its metadata has changed.
    pub fn set_machine(&mut self, id: &MachineId, metadata: BTreeMap<String, String>) {
        let host = self.hosts.entry(id.clone()).or_default();
        if host.metadata.as_ref() == Some(&metadata) {
            return;
        }
        if host.metadata.is_some() {
            self.by_load.remove(&(host.load(), id.clone()));
        }
        host.metadata = Some(metadata);
        host.held = false;
        self.by_load.insert((host.load(), id.clone()));
        self.dirty.extend(host.placed.iter().cloned());
        self.dirty.extend(self.waiting.iter().cloned());
        self.refresh_globals(id);
    }

    /// A machine is away: its units go elsewhere where they can.
    pub fn remove_machine(&mut self, id: &MachineId) {
        let Some(host) = self.hosts.get_mut(id) else { return };
        if host.metadata.take().is_none() {
            return;
        }
        self.by_load.remove(&(host.load(), id.clone()));
        let globals = std::mem::take(&mut host.globals);
        host.wary.retain(|name| host.placed.contains(name));
        self.dirty.extend(host.placed.iter().cloned());
        for name in globals {
            self.ripple(&name, true);
        }
        self.drop_idle_host(id);
    }

    /// A machine with units is away, but may well come back: its units wait for it, until
    /// [`Planner::release_machine`].
    pub fn hold_machine(&mut self, id: &MachineId) {
        if let Some(host) = self.hosts.get_mut(id).filter(|host| host.metadata.is_none()) {
            host.held = true;
        }
    }

    /// A held machine that has not come back is away for good: its units go elsewhere where they can.
    pub fn release_machine(&mut self, id: &MachineId) {
        if let Some(host) = self.hosts.get_mut(id).filter(|host| host.held) {
            host.held = false;
            self.dirty.extend(host.placed.iter().cloned());
        }
    }

    /// Marks every unit to be looked at again: the full pass.
    pub fn revisit(&mut self) {
        self.dirty.extend(self.units.keys().cloned());
    }

    /// Decides. The planner takes its decisions for carried out; tell it by [`Planner::set_unit`] if one was
    /// not. The decisions are in the order of the units' names.
    pub fn plan(&mut self) -> Vec<Decision> {
        // Each unit settles after few visits (see rule 5). The bound only keeps a mistake in that argument
        // from turning the engine into a busy loop; what is left over is taken up by the next pass.
        let mut visits = 16 * (self.units.len() + 16);
        while let Some(name) = self.dirty.pop_first() {
            self.settle(&name);
            visits -= 1;
            if visits == 0 {
                break;
            }
        }
        let moved = std::mem::take(&mut self.moved);
        moved
            .into_iter()
            .filter_map(|(unit, from)| {
                let to = self.units.get(&unit)?.machine.clone();
                (to != from).then_some(Decision { unit, from, to })
            })
            .collect()
    }

    /// The machines whose assignment has changed since the last call, and whether the global units' has.
    pub fn take_stale(&mut self) -> (BTreeSet<MachineId>, bool) {
        (std::mem::take(&mut self.stale), std::mem::take(&mut self.globals_stale))
    }

    /// What a machine is to run; `None` if nothing is placed on it.
    pub fn assignment(&self, machine: &MachineId) -> Option<AssignmentDocument> {
        let placed = &self.hosts.get(machine)?.placed;
        let assigned = placed.iter().filter_map(|name| {
            let spec = self.units.get(name)?;
            (spec.target != TargetState::Inactive).then(|| (name.clone(), assignment(spec)))
        });
        let units: BTreeMap<_, _> = assigned.collect();
        (!units.is_empty()).then_some(AssignmentDocument { units })
    }

    /// What every machine decides for itself; `None` if there is nothing to decide.
    pub fn global_assignment(&self) -> Option<GlobalAssignmentDocument> {
        let global = |name: &UnitName| {
            let spec = self.units.get(name)?;
            let requirements = spec.requirements.clone().ok()?;
            Some((name.clone(), GlobalAssignment { assignment: assignment(spec), requirements }))
        };
        let units: BTreeMap<_, _> = self.globals.iter().filter_map(global).collect();
        (!units.is_empty()).then_some(GlobalAssignmentDocument { units })
    }

    /// The machines that units are placed on.
    pub fn machines_with_units(&self) -> impl Iterator<Item = &MachineId> {
        self.hosts.iter().filter(|(_, host)| !host.placed.is_empty()).map(|(id, _)| id)
    }

    /// How many units are not where they should be.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What the planner knows of a unit.
    pub fn unit(&self, name: &UnitName) -> Option<&UnitSpec> {
        self.units.get(name)
    }
}

fn assignment(spec: &UnitSpec) -> Assignment {
    Assignment {
        hash: spec.hash,
        target: spec.target,
        restarts: spec.restarts,
        conflicts: spec.conflicts().to_vec(),
    }
}
