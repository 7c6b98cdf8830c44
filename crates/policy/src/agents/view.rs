//! Taking in what the watches of agents and their states tell.

use std::collections::HashSet;

use fleet_store::{Error, Listing, Revision, TypedChange};

use super::Agents;
use crate::documents::{AGENT_STATES, AGENTS, Agent, AgentState};
use crate::feed::View;

pub(super) struct AgentsView<'a>(pub(super) &'a Agents);

impl View<Agent> for AgentsView<'_> {
    async fn page(&self, listing: Listing<Agent>) -> Result<(), Error> {
        let changed: Vec<String> = {
            let mut known = self.0.write();
            for malformed in listing.malformed {
                known.malformed.insert((AGENTS.name, malformed.id), malformed.error.to_string());
            }
            let values = listing.values.into_iter();
            values
                .filter_map(|value| {
                    let id = value.id.clone();
                    known.put_agent(value).then_some(id)
                })
                .collect()
        };
        for id in changed {
            (self.0.listener)(&id);
        }
        Ok(())
    }

    fn listed(&self, ids: &HashSet<String>, revision: Revision) {
        let gone = self.0.read().agents_beside(ids, revision);
        for id in gone {
            self.0.write().delete_agent(&id, revision);
            (self.0.listener)(&id);
        }
    }

    async fn change(&self, revision: Revision, change: TypedChange<Agent>) -> Result<(), Error> {
        let (id, news) = {
            let mut known = self.0.write();
            match change {
                TypedChange::Put(value) => {
                    known.malformed.remove(&(AGENTS.name, value.id.clone()));
                    (value.id.clone(), known.put_agent(value))
                }
                TypedChange::Delete { id } => {
                    known.malformed.remove(&(AGENTS.name, id.clone()));
                    let news = known.delete_agent(&id, revision);
                    (id, news)
                }
                // The agent goes on as it was known last.
                TypedChange::Malformed(malformed) => {
                    let id = malformed.id.clone();
                    known.malformed.insert((AGENTS.name, malformed.id), malformed.error.to_string());
                    (id, false)
                }
            }
        };
        if news {
            (self.0.listener)(&id);
        }
        Ok(())
    }
}

pub(super) struct StatesView<'a>(pub(super) &'a Agents);

impl View<AgentState> for StatesView<'_> {
    async fn page(&self, listing: Listing<AgentState>) -> Result<(), Error> {
        self.0.write().put_states(listing);
        Ok(())
    }

    fn listed(&self, ids: &HashSet<String>, revision: Revision) {
        let gone = self.0.read().states_beside(ids, revision);
        let mut known = self.0.write();
        for id in gone {
            known.delete_state(&id, revision);
        }
    }

    async fn change(&self, revision: Revision, change: TypedChange<AgentState>) -> Result<(), Error> {
        let mut known = self.0.write();
        match change {
            TypedChange::Put(value) => {
                known.malformed.remove(&(AGENT_STATES.name, value.id.clone()));
                known.put_state(value);
            }
            TypedChange::Delete { id } => {
                known.malformed.remove(&(AGENT_STATES.name, id.clone()));
                known.delete_state(&id, revision);
            }
            TypedChange::Malformed(malformed) => known.put_malformed_state(malformed),
        }
        Ok(())
    }
}
