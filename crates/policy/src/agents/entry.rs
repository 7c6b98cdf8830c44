//! What is known of one agent.

use std::sync::Arc;

use fleet_store::Revision;

use crate::documents::{Agent, AgentState};

/// A document with its revision; [`Revision::ZERO`]: there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept<T> {
    pub(crate) revision: Revision,
    pub(crate) value: Arc<T>,
}

/// An agent's documents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) agent: Option<Kept<Agent>>,
    pub(crate) state: Option<Kept<AgentState>>,
}

/// An agent as it was at a moment: the documents may have changed since, which a write with their revisions
/// finds out.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The agent's id.
    pub id: Arc<str>,
    /// What was decided about it.
    pub agent: Arc<Agent>,
    /// The revision of `agent`.
    pub agent_revision: Revision,
    /// What it reported.
    pub state: Arc<AgentState>,
    /// The revision of `state`; [`Revision::ZERO`]: it has never reported.
    pub state_revision: Revision,
}

impl Entry {
    pub(crate) fn snapshot(&self, id: &Arc<str>) -> Option<Snapshot> {
        let agent = self.agent.clone()?;
        let state = self.state.clone().unwrap_or_default();
        Some(Snapshot {
            id: Arc::clone(id),
            agent: agent.value,
            agent_revision: agent.revision,
            state: state.value,
            state_revision: state.revision,
        })
    }
}
