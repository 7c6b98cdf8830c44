//! Where a unit may run, and where it goes.

use fleet_unit::UnitName;

use super::{Host, Planner, UnitSpec};
use crate::documents::{MachineId, TargetState};
use crate::engine::constraints::{Unfit, any_matches, conflict, machine_id_fits, metadata_fits};

impl Planner {
    /// Whether `machine` may run `name` as things are.
    pub(in crate::engine) fn fit(
        &self,
        name: &UnitName,
        spec: &UnitSpec,
        machine: &MachineId,
    ) -> Result<(), Unfit> {
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
    pub(super) fn replaces(&self, one: &UnitName, other: &UnitName) -> bool {
        one != other && self.units.get(one).is_some_and(|spec| any_matches(spec.replaces(), other))
    }

    /// A unit that is placed, that this one replaces and that replaces it.
    pub(in crate::engine) fn circle(&self, name: &UnitName) -> Option<&UnitName> {
        if !self.replacers.contains(name) {
            return None;
        }
        self.replacers.iter().find(|other| {
            let placed = self.units.get(*other).is_some_and(|spec| spec.machine.is_some());
            placed && self.replaces(name, other) && self.replaces(other, name)
        })
    }

    /// Brings one unit to where it should be, if that is possible now.
    pub(super) fn settle(&mut self, name: &UnitName) {
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

    pub(super) fn is_present(&self, machine: &MachineId) -> bool {
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
}
