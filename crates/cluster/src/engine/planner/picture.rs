//! The picture of the cluster, and whom a change in it concerns.

use std::collections::BTreeSet;

use fleet_unit::UnitName;

use super::{Host, Planner, UnitSpec};
use crate::documents::{MachineId, TargetState};
use crate::engine::constraints::{any_matches, conflict, globals_here};

impl Planner {
    /// Takes a unit out of the picture and marks whom that concerns.
    pub(super) fn forget(&mut self, name: &UnitName) {
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
    pub(super) fn learn(&mut self, name: UnitName, spec: UnitSpec) {
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
    pub(super) fn change_host(&mut self, machine: &MachineId, change: impl FnOnce(&mut Host)) {
        let host = self.hosts.entry(machine.clone()).or_default();
        let before = host.load();
        change(host);
        if host.metadata.is_some() && host.load() != before {
            self.by_load.remove(&(before, machine.clone()));
            self.by_load.insert((host.load(), machine.clone()));
        }
    }

    pub(super) fn drop_idle_host(&mut self, machine: &MachineId) {
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
    pub(super) fn refresh_globals(&mut self, machine: &MachineId) {
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

    pub(super) fn ripple(&mut self, name: &UnitName, left: bool) {
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

    pub(super) fn mark_followers(&mut self, name: &UnitName) {
        if let Some(followers) = self.followers.get(name.as_str()) {
            self.dirty.extend(followers.iter().cloned());
        }
    }

    pub(super) fn mark_replaced_by(&mut self, name: &UnitName, machine: &MachineId) {
        if !self.replacers.contains(name) {
            return;
        }
        let Some(host) = self.hosts.get(machine) else { return };
        let replaced: Vec<UnitName> =
            host.placed.iter().filter(|other| self.replaces(name, other)).cloned().collect();
        self.dirty.extend(replaced);
    }

    pub(super) fn mark_stale(&mut self, name: &UnitName) {
        if self.globals.contains(name) {
            self.globals_stale = true;
        }
        if let Some(machine) = self.units.get(name).and_then(|spec| spec.machine.clone()) {
            self.stale.insert(machine);
        }
    }
}
