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

use std::collections::{BTreeMap, BTreeSet};

use fleet_unit::{Requirements, UnitHash, UnitName};

use super::constraints::{Unfit, any_matches, conflict, globals_here, machine_id_fits, metadata_fits};
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
    /// How many restarts have been asked for.
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
    /// [`Planner::release_machines`].
    pub fn hold_machine(&mut self, id: &MachineId) {
        if let Some(host) = self.hosts.get_mut(id).filter(|host| host.metadata.is_none()) {
            host.held = true;
        }
    }

    /// Held machines that have not come back are away for good: their units go elsewhere where they can.
    pub fn release_machines(&mut self) {
        for host in self.hosts.values_mut().filter(|host| host.held) {
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

    /// Whether `machine` may run `name` as things are.
    pub(super) fn fit(&self, name: &UnitName, spec: &UnitSpec, machine: &MachineId) -> Result<(), Unfit> {
        let Some(host) = self.hosts.get(machine) else { return Ok(()) };
        let Ok(requirements) = &spec.requirements else { return Ok(()) };
        machine_id_fits(requirements, machine)?;
        if let Some(metadata) = &host.metadata {
            metadata_fits(requirements, metadata)?;
        }
        if let Some(peer) = requirements.machine_of.iter().find(|peer| !host.runs(peer)) {
            return Err(Unfit::PeerElsewhere { peer: peer.clone() });
        }
        if let Some(with) = self.conflict_on(name, spec, host) {
            return Err(Unfit::Conflict { with });
        }
        match host.pushing.iter().find(|other| self.replaces(other, name) && !self.replaces(name, other)) {
            Some(by) => Err(Unfit::Replaced { by: by.clone() }),
            None => Ok(()),
        }
    }

    fn conflict_on(&self, name: &UnitName, spec: &UnitSpec, host: &Host) -> Option<UnitName> {
        let clashes = |other: &&UnitName| {
            let theirs = self.units.get(*other).map_or(&[][..], UnitSpec::conflicts);
            conflict(name, spec.conflicts(), other, theirs)
        };
        if spec.conflicts().is_empty() {
            // The usual case: only those who mind others have to be asked.
            return host.wary.iter().find(clashes).cloned();
        }
        host.placed.iter().chain(&host.globals).find(clashes).cloned()
    }

    /// Whether `one` says that it replaces `other`.
    fn replaces(&self, one: &UnitName, other: &UnitName) -> bool {
        one != other && self.units.get(one).is_some_and(|spec| any_matches(spec.replaces(), other))
    }

    /// A unit that is placed, that this one replaces and that replaces it.
    pub(super) fn circle(&self, name: &UnitName) -> Option<&UnitName> {
        if !self.replacers.contains(name) {
            return None;
        }
        self.replacers.iter().find(|other| {
            let placed = self.units.get(*other).is_some_and(|spec| spec.machine.is_some());
            placed && self.replaces(name, other) && self.replaces(other, name)
        })
    }

    /// Brings one unit to where it should be, if that is possible now.
    fn settle(&mut self, name: &UnitName) {
        let Some(spec) = self.units.get(name) else { return };
        if spec.target == TargetState::Inactive || spec.is_global() || name.is_template() {
            self.waiting.remove(name);
            self.place(name, None);
            return;
        }
        if spec.requirements.is_err() {
            self.waiting.insert(name.clone());
            return;
        }
        let here = spec.machine.clone();
        if here.as_ref().is_some_and(|id| self.hosts.get(id).is_some_and(|host| host.held)) {
            self.waiting.insert(name.clone());
            return;
        }
        let present = here.as_ref().is_some_and(|id| self.is_present(id));
        let verdict = match &here {
            Some(machine) if present => self.fit(name, spec, machine),
            _ => Ok(()),
        };
        let replaced = matches!(verdict, Err(Unfit::Replaced { .. }));
        if present && verdict.is_ok() {
            self.waiting.remove(name);
            return;
        }
        match self.choose(name, replaced) {
            Some(machine) => {
                self.waiting.remove(name);
                self.place(name, Some(machine));
            }
            None => {
                self.waiting.insert(name.clone());
                if present && !replaced {
                    self.place(name, None);
                }
            }
        }
    }

    /// The machine for a unit. `quiet`: one where it replaces nothing.
    fn choose(&self, name: &UnitName, quiet: bool) -> Option<MachineId> {
        let spec = self.units.get(name)?;
        let requirements = spec.requirements.as_ref().ok()?;
        if spec.machine.is_none() && self.circle(name).is_some() {
            return None;
        }
        let able = |id: &MachineId| {
            self.is_present(id)
                && spec.machine.as_ref() != Some(id)
                && self.fit(name, spec, id).is_ok()
                && !(quiet && self.would_replace(name, id))
        };
        if let Some(wanted) = &requirements.machine_id {
            let from = MachineId(wanted.clone());
            let mut named =
                self.hosts.range(from..).map(|(id, _)| id).take_while(|id| id.is_named_by(wanted));
            return named.find(|id| able(id)).cloned();
        }
        let peer = requirements.machine_of.iter().find_map(|peer| self.units.get(peer.as_str()));
        if let Some(machine) = peer.and_then(|peer| peer.machine.as_ref()) {
            return able(machine).then(|| machine.clone());
        }
        self.by_load.iter().map(|(_, id)| id).find(|id| able(id)).cloned()
    }

    fn would_replace(&self, name: &UnitName, machine: &MachineId) -> bool {
        let Some(host) = self.hosts.get(machine) else { return false };
        self.replacers.contains(name) && host.placed.iter().any(|other| self.replaces(name, other))
    }

    fn is_present(&self, machine: &MachineId) -> bool {
        self.hosts.get(machine).is_some_and(|host| host.metadata.is_some())
    }

    /// Moves a unit in the picture, remembers where it was, and marks whom that concerns.
    fn place(&mut self, name: &UnitName, to: Option<MachineId>) {
        let Some(spec) = self.units.get(name) else { return };
        if spec.machine == to {
            return;
        }
        let mut spec = spec.clone();
        self.moved.entry(name.clone()).or_insert_with(|| spec.machine.clone());
        spec.machine = to;
        self.forget(name);
        self.learn(name.clone(), spec);
        // It has just been settled.
        self.dirty.remove(name);
    }

    /// Takes a unit out of the picture and marks whom that concerns.
    fn forget(&mut self, name: &UnitName) {
        let Some(spec) = self.units.remove(name) else { return };
        for peer in spec.peers() {
            if let Some(followers) = self.followers.get_mut(peer) {
                followers.remove(name);
                if followers.is_empty() {
                    self.followers.remove(peer);
                }
            }
        }
        let was_global = self.globals.remove(name);
        // Its relations are still known here: who conflicted with it must be asked before they are gone.
        self.ripple_with(name, &spec);
        self.replacers.remove(name);
        if let Some(machine) = &spec.machine {
            self.change_host(machine, |host| {
                host.placed.remove(name);
                host.wary.remove(name);
                host.pushing.remove(name);
            });
            self.stale.insert(machine.clone());
            self.refresh_globals(machine);
            self.drop_idle_host(machine);
        }
        if was_global {
            self.globals_stale = true;
            self.refresh_all_globals();
        }
    }

    /// Brings a unit into the picture, marks it and whom it concerns.
    fn learn(&mut self, name: UnitName, spec: UnitSpec) {
        for peer in spec.peers() {
            self.followers.entry(peer.clone()).or_default().insert(name.clone());
        }
        if !spec.replaces().is_empty() {
            self.replacers.insert(name.clone());
        }
        let is_global = spec.is_global() && spec.target != TargetState::Inactive && !name.is_template();
        let machine = spec.machine.clone();
        if let Some(machine) = &machine {
            let (wary, pushing) = (!spec.conflicts().is_empty(), !spec.replaces().is_empty());
            self.change_host(machine, |host| {
                host.placed.insert(name.clone());
                if wary {
                    host.wary.insert(name.clone());
                }
                if pushing {
                    host.pushing.insert(name.clone());
                }
            });
            self.stale.insert(machine.clone());
        }
        self.units.insert(name.clone(), spec);
        if is_global {
            self.globals.insert(name.clone());
            self.globals_stale = true;
            self.refresh_all_globals();
        }
        if let Some(machine) = &machine {
            self.refresh_globals(machine);
            self.mark_replaced_by(&name, machine);
        }
        self.mark_followers(&name);
        self.dirty.insert(name);
    }

    /// Changes a host and keeps its place in the order of loads.
    fn change_host(&mut self, machine: &MachineId, change: impl FnOnce(&mut Host)) {
        let host = self.hosts.entry(machine.clone()).or_default();
        let before = host.load();
        change(host);
        if host.metadata.is_some() && host.load() != before {
            self.by_load.remove(&(before, machine.clone()));
            self.by_load.insert((host.load(), machine.clone()));
        }
    }

    fn drop_idle_host(&mut self, machine: &MachineId) {
        if self.hosts.get(machine).is_some_and(|host| host.metadata.is_none() && host.placed.is_empty()) {
            self.hosts.remove(machine);
        }
    }

    fn refresh_all_globals(&mut self) {
        let machines: Vec<MachineId> = self.hosts.keys().cloned().collect();
        for machine in machines {
            self.refresh_globals(&machine);
        }
    }

    /// Works out again which global units a machine runs, and marks whom a difference concerns.
    fn refresh_globals(&mut self, machine: &MachineId) {
        let Some(host) = self.hosts.get(machine) else { return };
        if self.globals.is_empty() && host.globals.is_empty() {
            return;
        }
        let Some(metadata) = &host.metadata else { return };
        let conflicts = |name| self.units.get(name).map_or(&[][..], UnitSpec::conflicts);
        let placed: Vec<_> = host.placed.iter().map(|name| (name, conflicts(name))).collect();
        let globals = self
            .globals
            .iter()
            .filter_map(|name| Some((name, self.units.get(name)?.requirements.as_ref().ok()?)));
        let now: BTreeSet<UnitName> = globals_here(metadata, &placed, globals).into_iter().cloned().collect();
        if now == host.globals {
            return;
        }
        let changed: Vec<UnitName> = now.symmetric_difference(&host.globals).cloned().collect();
        let wary: BTreeSet<UnitName> =
            host.placed.iter().chain(&now).filter(|name| !conflicts(name).is_empty()).cloned().collect();
        self.change_host(machine, |host| {
            host.globals = now;
            host.wary = wary;
        });
        for name in changed {
            self.ripple(&name, true);
        }
    }

    fn ripple(&mut self, name: &UnitName, left: bool) {
        if left && let Some(spec) = self.units.get(name).cloned() {
            self.ripple_with(name, &spec);
        }
        self.mark_followers(name);
    }

    /// `name` leaves where it was: marks its followers, and the waiting units that it may have kept out.
    fn ripple_with(&mut self, name: &UnitName, spec: &UnitSpec) {
        self.mark_followers(name);
        let freed = self.waiting.iter().filter(|other| {
            self.units.get(*other).is_some_and(|theirs| {
                conflict(name, spec.conflicts(), other, theirs.conflicts())
                    || any_matches(spec.replaces(), other)
                    || any_matches(theirs.replaces(), name)
            })
        });
        let freed: Vec<UnitName> = freed.cloned().collect();
        self.dirty.extend(freed);
    }

    fn mark_followers(&mut self, name: &UnitName) {
        if let Some(followers) = self.followers.get(name.as_str()) {
            self.dirty.extend(followers.iter().cloned());
        }
    }

    fn mark_replaced_by(&mut self, name: &UnitName, machine: &MachineId) {
        if !self.replacers.contains(name) {
            return;
        }
        let Some(host) = self.hosts.get(machine) else { return };
        let replaced: Vec<UnitName> =
            host.placed.iter().filter(|other| self.replaces(name, other)).cloned().collect();
        self.dirty.extend(replaced);
    }

    fn mark_stale(&mut self, name: &UnitName) {
        if self.globals.contains(name) {
            self.globals_stale = true;
        }
        if let Some(machine) = self.units.get(name).and_then(|spec| spec.machine.clone()) {
            self.stale.insert(machine);
        }
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
