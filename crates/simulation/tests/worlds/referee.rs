//! Watches every write to the store, and remembers what must never be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fleet_cluster::documents::{
    ASSIGNMENTS, AssignmentDocument, ENGINE, GLOBALS, LEADER, MACHINES, STATES, split_state_id,
};
use fleet_simulation::memory::{Deed, Memory};
use fleet_store::{Change, LeaseId, Revision};
use fleet_unit::UnitName;

/// What it has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What must not be, in words.
    pub(crate) violations: Vec<String>,
    /// Machines whose registration ended, in order.
    pub(crate) lost: Vec<String>,
    /// How many leaders there were.
    pub(crate) leaders: usize,
    /// How many writes of states there were.
    pub(crate) states: usize,
    /// How many writes of assignments and globals there were.
    pub(crate) derived: usize,
    leader: Option<LeaseId>,
    assigned: BTreeMap<String, BTreeSet<UnitName>>,
    revision: Revision,
}

/// A referee of one store. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Referee {
    seen: Arc<Mutex<Seen>>,
}

impl Referee {
    pub(crate) fn new(memory: &Memory) -> Referee {
        let referee = Referee::default();
        let seen = Arc::clone(&referee.seen);
        memory.observe(Box::new(move |deed| seen.lock().unwrap().take(deed)));
        referee
    }

    pub(crate) fn ask<T>(&self, question: impl FnOnce(&mut Seen) -> T) -> T {
        question(&mut self.seen.lock().unwrap())
    }
}

impl Seen {
    fn take(&mut self, deed: &Deed) {
        if deed.revision > self.revision {
            self.check_assigned();
            self.revision = deed.revision;
        }
        let id = deed.change.id();
        if deed.collection == ENGINE.name && id == LEADER {
            self.leader = deed.lives_on.filter(|_| matches!(deed.change, Change::Put(_)));
            self.leaders += usize::from(self.leader.is_some());
        } else if deed.collection == ASSIGNMENTS.name || deed.collection == GLOBALS.name {
            self.derived += 1;
            if deed.fence.is_none() || deed.fence != self.leader {
                self.violations.push(format!("{deed:?} is not by the leader {:?}", self.leader));
            }
            if deed.collection == ASSIGNMENTS.name {
                self.assign(id, &deed.change);
            }
        } else if deed.collection == MACHINES.name && matches!(deed.change, Change::Delete { .. }) {
            self.lost.push(id.to_owned());
        } else if deed.collection == STATES.name {
            self.states += 1;
            if split_state_id(id).is_none() {
                self.violations.push(format!("{id} is no state's id"));
            }
        }
    }

    fn assign(&mut self, machine: &str, change: &Change) {
        let units = match change {
            Change::Put(document) => match serde_json::from_slice::<AssignmentDocument>(&document.body) {
                Ok(document) => document.units.into_keys().collect(),
                Err(error) => {
                    self.violations.push(format!("{machine}: {error}"));
                    return;
                }
            },
            Change::Delete { .. } => BTreeSet::new(),
        };
        self.assigned.insert(machine.to_owned(), units);
    }

    /// A unit is assigned to one machine at most.
    pub(crate) fn check_assigned(&mut self) {
        let mut owners: BTreeMap<&UnitName, &str> = BTreeMap::new();
        for (machine, units) in &self.assigned {
            for unit in units {
                if let Some(other) = owners.insert(unit, machine) {
                    let text = format!("{unit} is assigned to {other} and {machine} at {}", self.revision);
                    self.violations.push(text);
                }
            }
        }
    }
}
