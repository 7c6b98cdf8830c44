//! Every agent in memory, with what it is found by.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use fleet_store::{Listing, Malformed, Revision, Versioned};

use super::entry::{Entry, Kept, Snapshot};
use crate::documents::{AGENT_STATES, Agent, AgentState};

/// How far the agents of an action are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Agents that told that it is done.
    pub acked: u64,
    /// Agents that told that it failed.
    pub failed: u64,
}

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

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug, Default)]
pub(super) struct Known {
    entries: HashMap<Arc<str>, Entry>,
    /// By the hashes of their keys' ids: the ids themselves are in the agents.
    by_key: HashMap<u64, Arc<str>>,
    by_enrollment: HashMap<Box<str>, Arc<str>>,
    progress: HashMap<u64, Progress>,
    /// Documents that cannot be read, by collection and id: why.
    pub(super) malformed: BTreeMap<(&'static str, String), String>,
    interner: Interner,
}

impl Known {
    pub(super) fn get(&self, id: &str) -> Option<Snapshot> {
        let (id, entry) = self.entries.get_key_value(id)?;
        entry.snapshot(id)
    }

    pub(super) fn state(&self, id: &str) -> Option<&AgentState> {
        Some(&self.entries.get(id)?.state.as_ref()?.value)
    }

    pub(super) fn by_key(&self, key_id: &str) -> Option<Snapshot> {
        let found = self.get(self.by_key.get(&hash(key_id))?)?;
        (*found.agent.access_api_key_id == *key_id).then_some(found)
    }

    pub(super) fn by_enrollment(&self, enrollment_id: &str) -> Option<Snapshot> {
        self.get(self.by_enrollment.get(enrollment_id)?)
    }

    pub(super) fn progress(&self, seq_no: u64) -> Progress {
        self.progress.get(&seq_no).copied().unwrap_or_default()
    }

    pub(super) fn snapshots(&self) -> impl Iterator<Item = Snapshot> {
        self.entries.iter().filter_map(|(id, entry)| entry.snapshot(id))
    }

    /// Whether it was news.
    pub(super) fn put_agent(&mut self, versioned: Versioned<Agent>) -> bool {
        let Versioned { id, revision, value: mut agent } = versioned;
        let id = self.id(&id);
        let entry = self.entries.entry(Arc::clone(&id)).or_default();
        let before = entry.agent.as_ref();
        if before.is_some_and(|before| before.revision >= revision) {
            return false;
        }
        if let Some(before) = before {
            if before.value.access_api_key_id != agent.access_api_key_id {
                self.by_key.remove(&hash(&before.value.access_api_key_id));
            }
            if let Some(enrollment_id) = &before.value.enrollment_id
                && before.value.enrollment_id != agent.enrollment_id
            {
                self.by_enrollment.remove(enrollment_id);
            }
        }
        self.interner.intern(&mut agent.policy_id);
        self.interner.intern(&mut agent.agent.version);
        self.interner.intern(&mut agent.host.platform);
        self.interner.intern(&mut agent.host.architecture);
        for text in agent.tags.iter_mut().chain(&mut agent.namespaces).chain(&mut agent.enrollment_key_id) {
            self.interner.intern(text);
        }
        if !agent.access_api_key_id.is_empty() {
            self.by_key.insert(hash(&agent.access_api_key_id), Arc::clone(&id));
        }
        if let Some(enrollment_id) = &agent.enrollment_id {
            self.by_enrollment.insert(enrollment_id.clone(), Arc::clone(&id));
        }
        entry.agent = Some(Kept { revision, value: Arc::new(agent) });
        true
    }

    /// Whether it was news.
    pub(super) fn put_state(&mut self, versioned: Versioned<AgentState>) -> bool {
        let Versioned { id, revision, value: mut state } = versioned;
        let id = self.id(&id);
        let entry = self.entries.entry(id).or_default();
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
        let id = self.id(&id);
        let entry = self.entries.entry(id).or_default();
        if entry.state.as_ref().is_none_or(|state| state.revision < revision) {
            let value = entry.state.take().map(|state| state.value).unwrap_or_default();
            entry.state = Some(Kept { revision, value });
        }
    }

    /// Whether it was news.
    pub(super) fn delete_agent(&mut self, id: &str, revision: Revision) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let Some(agent) = entry.agent.take_if(|agent| agent.revision <= revision) else { return false };
        let key = hash(&agent.value.access_api_key_id);
        if self.by_key.get(&key).is_some_and(|owner| **owner == *id) {
            self.by_key.remove(&key);
        }
        if let Some(enrollment_id) = &agent.value.enrollment_id
            && self.by_enrollment.get(enrollment_id).is_some_and(|owner| **owner == *id)
        {
            self.by_enrollment.remove(enrollment_id);
        }
        self.tidy(id);
        true
    }

    pub(super) fn delete_state(&mut self, id: &str, revision: Revision) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state.take_if(|state| state.revision <= revision);
            self.tidy(id);
        }
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
        let gone = self.entries.iter().filter(|(id, entry)| !ids.contains(&***id) && is_old(entry));
        gone.map(|(id, _)| Arc::clone(id)).collect()
    }

    pub(super) fn forget_progress(&mut self, is_over: impl Fn(u64) -> bool) {
        self.progress.retain(|seq_no, _| !is_over(*seq_no));
    }

    fn tidy(&mut self, id: &str) {
        if self.entries.get(id).is_some_and(|entry| entry.agent.is_none() && entry.state.is_none()) {
            self.entries.remove(id);
        }
    }

    fn id(&self, id: &str) -> Arc<str> {
        self.entries.get_key_value(id).map_or_else(|| Arc::from(id), |(known, _)| Arc::clone(known))
    }
}
