//! Watches every write to the store, and remembers what must never be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fleet_cluster::documents::{
    ASSIGNMENTS, Assignment, AssignmentDocument, ENGINE, GLOBALS, LEADER, MACHINES, STATES, split_state_id,
};
use fleet_cluster::sets::{Head, assemble, part_id, set_of_part};
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
    /// Parts of assignments, and which of them heads name.
    parts: BTreeMap<String, AssignmentDocument>,
    named: BTreeMap<String, BTreeSet<String>>,
    /// Whether an assignment was ever too large for one document.
    pub(crate) split: bool,
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

    /// Notes what a machine is to run, by heads and the parts that they name.
    fn assign(&mut self, id: &str, change: &Change) {
        let head = match change {
            Change::Put(document) => match serde_json::from_slice::<Head<Assignment>>(&document.body) {
                Ok(head) => Some(head),
                Err(error) => {
                    self.violations.push(format!("{id}: {error}"));
                    return;
                }
            },
            Change::Delete { .. } => None,
        };
        if let Some(set) = set_of_part(id) {
            let part = match head {
                Some(Head::Whole(part)) => Some(part),
                _ => None,
            };
            let is_named = self.named.get(set).is_some_and(|named| named.contains(id));
            if is_named && part.as_ref() != self.parts.get(id) {
                self.violations.push(format!("{id} was changed while its head names it"));
            }
            match part {
                Some(part) => self.parts.insert(id.to_owned(), part),
                None => self.parts.remove(id),
            };
            return;
        }
        let named = match &head {
            Some(Head::Split { parts }) => parts.iter().map(|part| part_id(id, part)).collect(),
            _ => BTreeSet::new(),
        };
        self.split |= !named.is_empty();
        self.named.insert(id.to_owned(), named);
        let set = match head {
            Some(head) => assemble(head, |part| self.parts.get(&part_id(id, part)).cloned()),
            None => Some(AssignmentDocument::default()),
        };
        match set {
            Some(set) => {
                self.assigned.insert(id.to_owned(), set.units.into_keys().collect());
            }
            None => self.violations.push(format!("{id} lacks a part")),
        }
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
