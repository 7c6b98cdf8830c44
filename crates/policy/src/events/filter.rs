//! Which events somebody wants.

use std::collections::BTreeSet;

use super::event::{Event, EventKind};

/// Which events are wanted; what is empty asks for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these kinds.
    pub kinds: BTreeSet<EventKind>,
    /// About one of these policies, or their agents.
    pub policies: BTreeSet<String>,
    /// About this agent.
    pub agent_id: Option<String>,
}

impl Filter {
    /// Whether this event is one of them.
    #[must_use]
    pub fn holds(&self, event: &Event) -> bool {
        let is_policy = |id: &String| self.policies.contains(id);
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.policies.is_empty() || event.policy_id.as_ref().is_some_and(is_policy))
            && (self.agent_id.is_none() || self.agent_id == event.agent_id)
    }
}
