//! The actions by what they are found by.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use super::stored::{Due, StoredAction};
use crate::timestamp::Timestamp;

/// How many documents that cannot be delivered are remembered.
const MOST_QUARANTINED: usize = 1_000;

/// One action of an agent.
#[derive(Clone, Copy, Debug)]
struct Assignment {
    seq_no: u64,
    /// The agent's place among the agents of the action.
    index: u32,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    actions: BTreeMap<u64, Arc<StoredAction>>,
    by_document: HashMap<String, u64>,
    by_agent: HashMap<Arc<str>, Vec<Assignment>>,
    quarantined: BTreeMap<String, String>,
    /// Every action up to this revision is here.
    reached: u64,
}

impl Index {
    /// Every action up to `revision` is here now. Returns those that may be handed out from now on.
    pub(super) fn reach(&mut self, revision: u64) -> Vec<Arc<StoredAction>> {
        let before = std::mem::replace(&mut self.reached, revision);
        if before >= revision {
            return Vec::new();
        }
        let news = self.actions.range((Bound::Excluded(before), Bound::Included(revision)));
        news.map(|(_, action)| Arc::clone(action)).collect()
    }

    /// Whether the action with this revision is one of those that may be handed out, or was one.
    pub(super) fn has_reached(&self, seq_no: u64) -> bool {
        seq_no <= self.reached
    }

    pub(super) fn get(&self, seq_no: u64) -> Option<&Arc<StoredAction>> {
        self.actions.get(&seq_no)
    }

    pub(super) fn newest(&self) -> u64 {
        self.actions.last_key_value().map_or(0, |(seq_no, _)| *seq_no)
    }

    pub(super) fn seq_no(&self, document_id: &str) -> Option<u64> {
        self.by_document.get(document_id).copied()
    }

    pub(super) fn all(&self) -> Vec<Arc<StoredAction>> {
        self.actions.values().cloned().collect()
    }

    pub(super) fn quarantined(&self) -> Vec<(String, String)> {
        self.quarantined.iter().map(|(id, reason)| (id.clone(), reason.clone())).collect()
    }

    pub(super) fn quarantine(&mut self, document_id: String, reason: String) {
        if self.quarantined.len() < MOST_QUARANTINED || self.quarantined.contains_key(&document_id) {
            self.quarantined.insert(document_id, reason);
        }
    }

    /// The document of the action with this revision, if it is another one than `document_id`.
    pub(super) fn other_at(&self, seq_no: u64, document_id: &str) -> Option<&str> {
        let known = self.actions.get(&seq_no).filter(|known| known.document_id != document_id)?;
        Some(&known.document_id)
    }

    /// Whether it was news.
    pub(super) fn insert(&mut self, action: Arc<StoredAction>) -> bool {
        self.quarantined.remove(&action.document_id);
        match self.by_document.get(&action.document_id) {
            Some(known) if *known >= action.seq_no => return false,
            Some(_) => self.remove(&action.document_id.clone()),
            None => {}
        }
        self.by_document.insert(action.document_id.clone(), action.seq_no);
        if action.kind.is_delivered() {
            for (agent, index) in action.agents.iter().zip(0..) {
                let assignment = Assignment { seq_no: action.seq_no, index };
                match self.by_agent.get_mut(agent) {
                    Some(assignments) => {
                        let at = assignments.partition_point(|other| other.seq_no < action.seq_no);
                        assignments.insert(at, assignment);
                    }
                    None => drop(self.by_agent.insert(Arc::clone(agent), vec![assignment])),
                }
            }
        }
        self.actions.insert(action.seq_no, action);
        true
    }

    pub(super) fn remove(&mut self, document_id: &str) {
        self.quarantined.remove(document_id);
        let Some(seq_no) = self.by_document.remove(document_id) else { return };
        let Some(action) = self.actions.remove(&seq_no) else { return };
        for agent in &action.agents {
            if let Some(assignments) = self.by_agent.get_mut(agent) {
                assignments.retain(|assignment| assignment.seq_no != seq_no);
                if assignments.is_empty() {
                    self.by_agent.remove(agent);
                }
            }
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str, u64) -> bool) {
        let gone: Vec<String> = self
            .by_document
            .iter()
            .filter(|(document_id, seq_no)| !keep(document_id, **seq_no))
            .map(|(document_id, _)| document_id.clone())
            .collect();
        for document_id in gone {
            self.remove(&document_id);
        }
    }

    pub(super) fn expired_before(&self, moment: Timestamp) -> Vec<Arc<StoredAction>> {
        self.actions.values().filter(|action| action.is_expired(moment)).cloned().collect()
    }

    pub(super) fn of_agent(&self, action_id: &str, agent_id: &str) -> Option<Arc<StoredAction>> {
        let assignments = self.by_agent.get(agent_id)?.iter().rev();
        let mut actions = assignments.filter_map(|assignment| self.actions.get(&assignment.seq_no));
        actions.find(|action| action.action.action_id == action_id).cloned()
    }

    pub(super) fn due(
        &self,
        agent_id: &str,
        received: u64,
        is_acked: impl Fn(u64) -> bool,
        now: Timestamp,
        most: usize,
    ) -> Vec<Due> {
        let Some(assignments) = self.by_agent.get(agent_id) else { return Vec::new() };
        let first = assignments.partition_point(|assignment| assignment.seq_no <= received);
        // A token stands for all actions up to its own: one that is handed out before an older one is here would
        // take the older one from the agent.
        let pending: Vec<(&Assignment, &Arc<StoredAction>)> = assignments[first..]
            .iter()
            .take_while(|assignment| self.has_reached(assignment.seq_no))
            .filter(|assignment| !is_acked(assignment.seq_no))
            .filter_map(|assignment| Some((assignment, self.actions.get(&assignment.seq_no)?)))
            .filter(|(_, action)| !action.is_expired(now))
            .collect();
        // What is taken back before the agent has heard of it, it need not hear of.
        let cancelled: HashSet<&str> =
            pending.iter().filter_map(|(_, action)| action.cancels.as_deref()).collect();
        pending
            .into_iter()
            .filter(|(_, action)| !cancelled.contains(action.action.action_id.as_str()))
            .take(most)
            .map(|(assignment, action)| Due {
                action: Arc::clone(action),
                start_time: action.start_time(assignment.index),
            })
            .collect()
    }
}
