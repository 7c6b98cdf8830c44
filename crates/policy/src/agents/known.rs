//! Every agent in memory, with what it is found by.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use fleet_store::{Listing, Malformed, Revision, Versioned};

use super::entry::{Entry, Kept, Row, Snapshot};
use super::slots::{Lookup, Slots};
use crate::documents::{AGENT_STATES, Agent, AgentState};
use crate::status::Status;

/// How far the agents of an action are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Agents that told that it is done.
    pub acked: u64,
    /// Agents that told that it failed.
    pub failed: u64,
}

/// What an agent that has never reported reports.
pub(super) static NOTHING: LazyLock<AgentState> = LazyLock::new(AgentState::default);

/// Texts that many agents share are kept once.
#[derive(Debug, Default)]
struct Interner {
    texts: HashSet<Arc<str>>,
}

impl Interner {
    /// More different texts than this are not worth finding again.
    const MOST: usize = 10_000;

    fn intern(&mut self, text: &mut Arc<str>) {
        if let Some(known) = self.texts.get(text) {
            *text = Arc::clone(known);
        } else if self.texts.len() < Self::MOST {
            self.texts.insert(Arc::clone(text));
        }
    }
}

/// The policies that agents have, numbered in the order in which they were met. None is forgotten: people make
/// them, and not in a loop.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    numbers: HashMap<Arc<str>, u32>,
    policies: Vec<AssignedPolicy>,
}

#[derive(Debug)]
pub(super) struct AssignedPolicy {
    pub(super) id: Arc<str>,
    /// Agents of it that have not left.
    pub(super) agents: u64,
}

impl Assigned {
    fn number(&mut self, id: &mut Arc<str>) -> u32 {
        if let Some((known, number)) = self.numbers.get_key_value(id) {
            *id = Arc::clone(known);
            return *number;
        }
        let number = u32::try_from(self.policies.len()).unwrap_or(u32::MAX);
        self.numbers.insert(Arc::clone(id), number);
        self.policies.push(AssignedPolicy { id: Arc::clone(id), agents: 0 });
        number
    }

    pub(super) fn by_number(&self) -> &[AssignedPolicy] {
        &self.policies
    }

    fn find(&self, id: &str) -> Option<&AssignedPolicy> {
        self.policies.get(usize::try_from(*self.numbers.get(id)?).ok()?)
    }

    fn count(&mut self, row: Row, change: impl FnOnce(&mut u64)) {
        if row.base != Status::Unenrolled
            && let Some(policy) = usize::try_from(row.policy).ok().and_then(|at| self.policies.get_mut(at))
        {
            change(&mut policy.agents);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) slots: Slots,
    by_id: Lookup,
    by_key: Lookup,
    by_enrollment: Lookup,
    pub(super) assigned: Assigned,
    progress: HashMap<u64, Progress>,
    /// Documents that cannot be read, by collection and id: why.
    pub(super) malformed: BTreeMap<(&'static str, String), String>,
    interner: Interner,
    changed: Changed,
}

/// The agents of which something changed since somebody asked last, if somebody wants to know.
#[derive(Debug, Default)]
struct Changed(Option<HashSet<Arc<str>>>);

impl Changed {
    fn note(&mut self, id: &Arc<str>) {
        if let Some(changed) = &mut self.0 {
            changed.insert(Arc::clone(id));
        }
    }
}

fn id_of(entry: &Entry) -> Option<&str> {
    Some(&entry.id)
}

fn key_of(entry: &Entry) -> Option<&str> {
    Some(&entry.agent.as_ref()?.value.access_api_key_id)
}

fn enrollment_of(entry: &Entry) -> Option<&str> {
    entry.agent.as_ref()?.value.enrollment_id.as_deref()
}

impl Known {
    fn slot(&self, id: &str) -> Option<u32> {
        self.by_id.get(id, &self.slots, id_of)
    }

    pub(super) fn entry(&self, id: &str) -> Option<&Entry> {
        self.slots.get(self.slot(id)?)
    }

    /// From now on it is noted which agents change; at first that is all of them.
    pub(super) fn track_changes(&mut self) {
        self.changed.0 = Some(self.slots.iter().map(|entry| Arc::clone(&entry.id)).collect());
    }

    pub(super) fn forget_changes(&mut self) {
        self.changed.0 = None;
    }

    /// The agents that have changed since this was asked last.
    pub(super) fn take_changes(&mut self) -> HashSet<Arc<str>> {
        self.changed.0.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn get(&self, id: &str) -> Option<Snapshot> {
        self.entry(id)?.snapshot()
    }

    pub(super) fn state(&self, id: &str) -> Option<&AgentState> {
        Some(&self.entry(id)?.state.as_ref()?.value)
    }

    pub(super) fn by_key(&self, key_id: &str) -> Option<Snapshot> {
        self.slots.get(self.by_key.get(key_id, &self.slots, key_of)?)?.snapshot()
    }

    pub(super) fn by_enrollment(&self, enrollment_id: &str) -> Option<Snapshot> {
        let slot = self.by_enrollment.get(enrollment_id, &self.slots, enrollment_of)?;
        self.slots.get(slot)?.snapshot()
    }

    pub(super) fn assigned_to(&self, policy_id: &str) -> u64 {
        self.assigned.find(policy_id).map_or(0, |policy| policy.agents)
    }

    pub(super) fn progress(&self, seq_no: u64) -> Progress {
        self.progress.get(&seq_no).copied().unwrap_or_default()
    }

    pub(super) fn snapshots(&self) -> impl Iterator<Item = Snapshot> {
        self.slots.iter().filter_map(Entry::snapshot)
    }

    /// Whether it was news.
    pub(super) fn put_agent(&mut self, versioned: Versioned<Agent>) -> bool {
        let Versioned { id, revision, value: mut agent } = versioned;
        let slot = self.make(&id);
        let before = self.slots.get(slot).and_then(|entry| entry.agent.clone());
        if before.as_ref().is_some_and(|before| before.revision >= revision) {
            return false;
        }
        if let Some(before) = &before {
            if before.value.access_api_key_id != agent.access_api_key_id {
                self.by_key.remove(&before.value.access_api_key_id, slot);
            }
            if let Some(enrollment_id) = &before.value.enrollment_id
                && before.value.enrollment_id != agent.enrollment_id
            {
                self.by_enrollment.remove(enrollment_id, slot);
            }
        }
        let policy = self.assigned.number(&mut agent.policy_id);
        self.interner.intern(&mut agent.agent.version);
        self.interner.intern(&mut agent.host.platform);
        self.interner.intern(&mut agent.host.architecture);
        for text in agent.tags.iter_mut().chain(&mut agent.namespaces).chain(&mut agent.enrollment_key_id) {
            self.interner.intern(text);
        }
        let agent = Arc::new(agent);
        let Some(entry) = self.slots.get_mut(slot) else { return false };
        if before.is_some() {
            self.assigned.count(entry.row, |agents| *agents -= 1);
        }
        self.changed.note(&entry.id);
        let state = entry.state.as_ref().map_or(&*NOTHING, |state| &*state.value);
        entry.row = Row::of(&agent, state, policy);
        self.assigned.count(entry.row, |agents| *agents += 1);
        entry.agent = Some(Kept { revision, value: Arc::clone(&agent) });
        if !agent.access_api_key_id.is_empty() {
            self.by_key.insert(&agent.access_api_key_id, slot, &self.slots, key_of);
        }
        if let Some(enrollment_id) = &agent.enrollment_id {
            self.by_enrollment.insert(enrollment_id, slot, &self.slots, enrollment_of);
        }
        true
    }

    /// Whether it was news.
    pub(super) fn put_state(&mut self, versioned: Versioned<AgentState>) -> bool {
        let Versioned { id, revision, value: mut state } = versioned;
        let slot = self.make(&id);
        let Some(entry) = self.slots.get_mut(slot) else { return false };
        let before = entry.state.as_ref();
        if before.is_some_and(|before| before.revision >= revision) {
            return false;
        }
        self.interner.intern(&mut state.last_checkin_message);
        if let Some(policy_id) = &mut state.agent_policy_id {
            self.interner.intern(policy_id);
        }
        let counted = before.map_or(&[][..], |before| before.value.acked_actions.as_slice());
        for acked in &state.acked_actions {
            if !counted.iter().any(|other| other.seq_no == acked.seq_no) {
                let progress = self.progress.entry(acked.seq_no).or_default();
                if acked.failed {
                    progress.failed += 1;
                } else {
                    progress.acked += 1;
                }
            }
        }
        if let Some(agent) = &entry.agent {
            entry.row = Row::of(&agent.value, &state, entry.row.policy);
        }
        self.changed.note(&entry.id);
        entry.state = Some(Kept { revision, value: Arc::new(state) });
        true
    }

    pub(super) fn put_states(&mut self, listing: Listing<AgentState>) {
        for malformed in listing.malformed {
            self.put_malformed_state(malformed);
        }
        for versioned in listing.values {
            self.put_state(versioned);
        }
    }

    /// The agent goes on with an empty state in its place, which its next check-in writes.
    pub(super) fn put_malformed_state(&mut self, malformed: Malformed) {
        let Malformed { id, revision, error } = malformed;
        self.malformed.insert((AGENT_STATES.name, id.clone()), error.to_string());
        let slot = self.make(&id);
        let Some(entry) = self.slots.get_mut(slot) else { return };
        if entry.state.as_ref().is_none_or(|state| state.revision < revision) {
            let value = entry.state.take().map(|state| state.value).unwrap_or_default();
            entry.state = Some(Kept { revision, value });
        }
    }

    /// Whether it was news.
    pub(super) fn delete_agent(&mut self, id: &str, revision: Revision) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        let Some(entry) = self.slots.get_mut(slot) else { return false };
        let Some(agent) = entry.agent.take_if(|agent| agent.revision <= revision) else { return false };
        self.changed.note(&entry.id);
        self.assigned.count(entry.row, |agents| *agents -= 1);
        self.by_key.remove(&agent.value.access_api_key_id, slot);
        if let Some(enrollment_id) = &agent.value.enrollment_id {
            self.by_enrollment.remove(enrollment_id, slot);
        }
        self.tidy(slot);
        true
    }

    pub(super) fn delete_state(&mut self, id: &str, revision: Revision) {
        let Some(slot) = self.slot(id) else { return };
        let Some(entry) = self.slots.get_mut(slot) else { return };
        if entry.state.take_if(|state| state.revision <= revision).is_some()
            && let Some(agent) = &entry.agent
        {
            entry.row = Row::of(&agent.value, &NOTHING, entry.row.policy);
        }
        self.tidy(slot);
    }

    /// Agents that are not in `ids`, and not newer than `revision`.
    pub(super) fn agents_beside(&self, ids: &HashSet<String>, revision: Revision) -> Vec<Arc<str>> {
        self.beside(ids, |entry| entry.agent.as_ref().is_some_and(|agent| agent.revision <= revision))
    }

    /// The same for states.
    pub(super) fn states_beside(&self, ids: &HashSet<String>, revision: Revision) -> Vec<Arc<str>> {
        self.beside(ids, |entry| entry.state.as_ref().is_some_and(|state| state.revision <= revision))
    }

    fn beside(&self, ids: &HashSet<String>, is_old: impl Fn(&Entry) -> bool) -> Vec<Arc<str>> {
        let gone = self.slots.iter().filter(|entry| !ids.contains(&*entry.id) && is_old(entry));
        gone.map(|entry| Arc::clone(&entry.id)).collect()
    }

    pub(super) fn forget_progress(&mut self, is_over: impl Fn(u64) -> bool) {
        self.progress.retain(|seq_no, _| !is_over(*seq_no));
    }

    /// Frees the place of an entry that holds nothing more.
    fn tidy(&mut self, slot: u32) {
        if self.slots.get(slot).is_some_and(|entry| entry.agent.is_none() && entry.state.is_none())
            && let Some(entry) = self.slots.remove(slot)
        {
            self.by_id.remove(&entry.id, slot);
        }
    }

    /// The place of the agent with this id, made if there is none.
    fn make(&mut self, id: &str) -> u32 {
        if let Some(slot) = self.slot(id) {
            return slot;
        }
        let slot = self.slots.insert(Entry::new(Arc::from(id)));
        self.by_id.insert(id, slot, &self.slots, id_of);
        slot
    }
}
