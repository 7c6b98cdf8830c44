//! Every agent that there is, in memory, and changing one.

mod entry;
mod facets;
mod known;
mod list;
mod scan;
mod slots;
mod view;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fleet_store::{
    Error, ErrorKind, Expect, LeaseId, Revision, Scope, Store, Typed, Versioned, Write, WriteError,
};

use crate::documents::{AGENT_DETAILS, AGENT_STATES, AGENTS, Agent, AgentDetails, AgentState};
use crate::feed::feed;
pub use entry::Snapshot;
pub use facets::Facets;
use known::Known;
pub use known::Progress;
pub use list::{AgentsPage, Order, PageRequest, Position, SortField, SortValue, UnknownSortField};
pub use scan::{Counts, Filter, Presence, Seen};
use view::{AgentsView, StatesView};

/// A change is tried so often when others change the same document.
const ATTEMPTS: usize = 8;

/// So many agents are read in one call of the store.
const READ_TOGETHER: usize = 500;

/// So many agents are changed in one call of the store.
const CHANGED_TOGETHER: usize = 500;

/// Is told of each agent whose [`Agent`] changed.
pub type Listener = Box<dyn Fn(&str) + Send + Sync>;

/// The agents. What it shows may be older than the store by the delay of a watch; its own writes it shows at
/// once.
pub struct Agents {
    agents: Typed<Agent>,
    states: Typed<AgentState>,
    details: Typed<AgentDetails>,
    known: RwLock<Known>,
    listener: Listener,
}

/// Why a state was not written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Somebody else wrote it meanwhile. What is known is up to date again: decide once more.
    #[error("the agent's state was changed meanwhile")]
    Changed,
    /// The store is in trouble.
    #[error("save the agent's state")]
    Store(#[source] WriteError),
}

impl Agents {
    /// The agents in `store`. `listener` is told of changes; it must not call back.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, listener: Listener) -> Agents {
        Agents {
            agents: Typed::new(Arc::clone(store), &AGENTS),
            states: Typed::new(Arc::clone(store), &AGENT_STATES),
            details: Typed::new(Arc::clone(store), &AGENT_DETAILS),
            known: RwLock::default(),
            listener,
        }
    }

    /// Where they lie.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        self.agents.store()
    }

    /// Follows the agents in the store, for ever.
    pub async fn follow_agents(&self, ready: impl FnOnce() + Send) {
        feed(self.agents.clone(), &AgentsView(self), ready).await;
    }

    /// Follows their states in the store, for ever.
    pub async fn follow_states(&self, ready: impl FnOnce() + Send) {
        feed(self.states.clone(), &StatesView(self), ready).await;
    }

    /// The agent with this id, as far as is known here.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Snapshot> {
        self.read().get(id)
    }

    /// The agent with this id. Asks the store when it is not known here: it may just have enrolled elsewhere.
    pub async fn find(&self, id: &str) -> Result<Option<Snapshot>, Error> {
        match self.get(id) {
            Some(snapshot) => Ok(Some(snapshot)),
            None => self.refresh(id).await,
        }
    }

    /// Asks the store about those of `ids` that are not known here: they may just have enrolled elsewhere.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn learn(&self, ids: impl IntoIterator<Item = &str>) -> Result<(), Error> {
        let unknown: Vec<String> = {
            let known = self.read();
            ids.into_iter().filter(|id| known.get(id).is_none()).map(str::to_owned).collect()
        };
        for ids in unknown.chunks(READ_TOGETHER) {
            let (agents, states) = tokio::try_join!(self.agents.get_many(ids), self.states.get_many(ids))?;
            let mut known = self.write();
            agents.into_iter().flatten().for_each(|agent| _ = known.put_agent(agent));
            states.into_iter().flatten().for_each(|state| _ = known.put_state(state));
        }
        Ok(())
    }

    /// The agent whose key has this id, as far as is known here.
    #[must_use]
    pub fn by_key(&self, key_id: &str) -> Option<Snapshot> {
        self.read().by_key(key_id)
    }

    /// The agent that enrolled in this attempt, as far as is known here.
    #[must_use]
    pub fn by_enrollment(&self, enrollment_id: &str) -> Option<Snapshot> {
        self.read().by_enrollment(enrollment_id)
    }

    /// Reads the agent from the store.
    pub async fn refresh(&self, id: &str) -> Result<Option<Snapshot>, Error> {
        let scope = Scope::Id(id.to_owned());
        let (agent, states) = tokio::try_join!(self.agents.get(id), self.states.list(scope))?;
        let mut known = self.write();
        match agent {
            Some(agent) => known.put_agent(agent),
            None => return Ok(None),
        };
        known.put_states(states);
        Ok(known.get(id))
    }

    /// Those of `ids` whose state is one that is asked for.
    #[must_use]
    pub fn with_state(&self, ids: &[Arc<str>], is_asked_for: impl Fn(&AgentState) -> bool) -> Vec<Snapshot> {
        let known = self.read();
        let found = ids.iter().filter(|id| known.state(id).is_some_and(&is_asked_for));
        found.filter_map(|id| known.get(id)).collect()
    }

    /// Whether `is` holds of any of these agents.
    #[must_use]
    pub fn any_of(&self, ids: &[Arc<str>], is: impl Fn(&Agent) -> bool) -> bool {
        ids.chunks(CHANGED_TOGETHER).any(|ids| {
            let known = self.read();
            let agents = ids.iter().filter_map(|id| known.entry(id)?.agent.as_ref());
            let mut agents = agents.map(|agent| &agent.value);
            agents.any(|agent| is(agent))
        })
    }

    /// Calls `each` with every agent.
    pub fn for_each(&self, mut each: impl FnMut(&Snapshot)) {
        for snapshot in self.read().snapshots() {
            each(&snapshot);
        }
    }

    /// From now on it is noted which agents change; at first that is all of them. One at a time can want that.
    pub fn track_changes(&self) {
        self.write().track_changes();
    }

    /// Nobody wants to know which agents change any more.
    pub fn forget_changes(&self) {
        self.write().forget_changes();
    }

    /// The agents of which something changed since this was asked last, whatever it was; see
    /// [`Agents::track_changes`].
    #[must_use]
    pub fn take_changes(&self) -> HashSet<Arc<str>> {
        self.write().take_changes()
    }

    /// How far the action with this revision is.
    #[must_use]
    pub fn progress(&self, seq_no: u64) -> Progress {
        self.read().progress(seq_no)
    }

    /// Forgets how far actions are that are over.
    pub fn forget_progress(&self, is_over: impl Fn(u64) -> bool) {
        self.write().forget_progress(is_over);
    }

    /// Documents that cannot be read, by collection and id, and why.
    #[must_use]
    pub fn malformed(&self) -> Vec<(&'static str, String, String)> {
        let known = self.read();
        let entries = known.malformed.iter();
        entries.map(|((collection, id), error)| (*collection, id.clone(), error.clone())).collect()
    }

    /// Writes an agent that must be new (`expect` [`Expect::Absent`]) or as it was read.
    pub async fn put(&self, id: &str, agent: Agent, expect: Expect) -> Result<Snapshot, WriteError> {
        let revision = self.agents.put(id, &agent, expect, None, None).await?;
        let mut known = self.write();
        known.put_agent(Versioned { id: id.to_owned(), revision, value: agent });
        let snapshot = known.get(id);
        drop(known);
        (self.listener)(id);
        snapshot.ok_or_else(|| {
            let message = format!("agent {id} was removed as it was written");
            WriteError::NotDone(Error::new(ErrorKind::Unavailable, message))
        })
    }

    /// Changes an agent: `change` is given what it is, and says whether it is to be written; it is called again
    /// when somebody else was faster. `None`: there is no such agent.
    pub async fn change(
        &self,
        id: &str,
        mut change: impl FnMut(&mut Agent) -> bool,
    ) -> Result<Option<Snapshot>, WriteError> {
        let mut found = self.find(id).await.map_err(WriteError::NotDone)?;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let Some(snapshot) = found else { return Ok(None) };
            let mut agent = (*snapshot.agent).clone();
            if !change(&mut agent) {
                return Ok(Some(snapshot));
            }
            match self.put(id, agent, Expect::Revision(snapshot.agent_revision)).await {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(error @ WriteError::Conflict { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
            found = self.refresh(id).await.map_err(WriteError::NotDone)?;
        }
        Err(last.unwrap_or_else(|| {
            WriteError::NotDone(Error::new(ErrorKind::Unavailable, format!("agent {id} changes too often")))
        }))
    }

    /// Changes many agents, in few round trips; see [`Agents::change`]. Those that are not there are left out.
    /// With `while_held`, only while that lease is held; those that others change meanwhile are then left for
    /// the next time.
    pub async fn change_many(
        &self,
        ids: &[String],
        mut change: impl FnMut(&mut Agent) -> bool,
        while_held: Option<LeaseId>,
    ) -> Result<(), WriteError> {
        for ids in ids.chunks(CHANGED_TOGETHER) {
            let mut changed: Vec<(String, Agent)> = Vec::with_capacity(ids.len());
            let mut writes = Vec::with_capacity(ids.len());
            for id in ids {
                let Some(before) = self.get(id) else { continue };
                let mut agent = (*before.agent).clone();
                if change(&mut agent) {
                    let expect = Expect::Revision(before.agent_revision);
                    writes.push(self.agents.encode(id, &agent, expect, None).map_err(WriteError::NotDone)?);
                    changed.push((id.clone(), agent));
                }
            }
            let answers = self.agents.write_many(writes, while_held).await;
            for ((id, agent), answer) in changed.into_iter().zip(answers) {
                match answer {
                    Ok(revision) => {
                        self.write().put_agent(Versioned { id: id.clone(), revision, value: agent });
                        (self.listener)(&id);
                    }
                    Err(WriteError::Conflict { .. }) => {
                        self.refresh(&id).await.map_err(WriteError::NotDone)?;
                        if while_held.is_none() {
                            self.change(&id, &mut change).await?;
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Replaces the state that `before` shows.
    pub async fn save_state(&self, before: &Snapshot, state: AgentState) -> Result<Snapshot, SaveError> {
        let expect = match before.state_revision {
            Revision::ZERO => Expect::Absent,
            revision => Expect::Revision(revision),
        };
        match self.states.put(&before.id, &state, expect, None, None).await {
            Ok(revision) => Ok(self.saved(before, revision, state)),
            Err(WriteError::Conflict { .. }) => {
                self.refresh(&before.id)
                    .await
                    .map_err(|error| SaveError::Store(WriteError::NotDone(error)))?;
                Err(SaveError::Changed)
            }
            Err(error) => Err(SaveError::Store(error)),
        }
    }

    /// Replaces many states, best effort: what was changed meanwhile stays.
    pub async fn save_states(&self, states: Vec<(Snapshot, AgentState)>) -> Result<(), WriteError> {
        let mut writes: Vec<Write> = Vec::with_capacity(states.len());
        for (before, state) in &states {
            let expect = match before.state_revision {
                Revision::ZERO => Expect::Absent,
                revision => Expect::Revision(revision),
            };
            writes.push(self.states.encode(&before.id, state, expect, None).map_err(WriteError::NotDone)?);
        }
        let answers = self.states.write_many(writes, None).await;
        let mut trouble = None;
        for ((before, state), answer) in states.into_iter().zip(answers) {
            match answer {
                Ok(revision) => drop(self.saved(&before, revision, state)),
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => trouble = Some(error),
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    fn saved(&self, before: &Snapshot, revision: Revision, state: AgentState) -> Snapshot {
        let mut known = self.write();
        known.put_state(Versioned { id: before.id.to_string(), revision, value: state });
        known.get(&before.id).unwrap_or_else(|| before.clone())
    }

    /// The large part of what an agent reports.
    pub async fn details(&self, id: &str) -> Result<Option<AgentDetails>, Error> {
        Ok(self.details.get(id).await?.map(|versioned| versioned.value))
    }

    /// Replaces the large part of what an agent reports.
    pub async fn put_details(&self, id: &str, details: &AgentDetails) -> Result<(), WriteError> {
        self.details.put(id, details, Expect::Any, None, None).await.map(drop)
    }

    /// Changes the large part of what an agent reports; `change` is called again when somebody else was faster.
    pub async fn change_details(
        &self,
        id: &str,
        mut change: impl FnMut(&mut AgentDetails),
    ) -> Result<(), WriteError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let found = self.details.get(id).await.map_err(WriteError::NotDone)?;
            let (mut details, expect) = match found {
                Some(found) => (found.value, Expect::Revision(found.revision)),
                None => (AgentDetails::default(), Expect::Absent),
            };
            change(&mut details);
            match self.details.put(id, &details, expect, None, None).await {
                Ok(_) => return Ok(()),
                Err(error @ WriteError::Conflict { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        last.map_or(Ok(()), Err)
    }

    /// Removes an agent and all that it reported.
    pub async fn delete(&self, snapshot: &Snapshot) -> Result<(), WriteError> {
        let id = &*snapshot.id;
        let revision = self.agents.delete(id, Expect::Revision(snapshot.agent_revision), None).await?;
        self.write().delete_agent(id, revision);
        (self.listener)(id);
        let revision = self.states.delete(id, Expect::Any, None).await?;
        self.write().delete_state(id, revision);
        self.details.delete(id, Expect::Any, None).await.map(drop)
    }

    /// Removes agents and all that they reported, as long as nobody changes them; only while the lease is held.
    /// Returns how many are gone.
    pub async fn delete_many(&self, gone: &[Snapshot], lease: LeaseId) -> Result<usize, WriteError> {
        let mut count = 0;
        for chunk in gone.chunks(CHANGED_TOGETHER) {
            // The agent last: what is left of a removal that was cut short is found again.
            let any = |snapshot: &Snapshot| Write::delete(&*snapshot.id, Expect::Any);
            for answer in self.details.write_many(chunk.iter().map(any).collect(), Some(lease)).await {
                answer?;
            }
            let answers = self.states.write_many(chunk.iter().map(any).collect(), Some(lease)).await;
            for (snapshot, answer) in chunk.iter().zip(answers) {
                self.write().delete_state(&snapshot.id, answer?);
            }
            let unchanged =
                |snapshot: &Snapshot| Write::delete(&*snapshot.id, Expect::Revision(snapshot.agent_revision));
            let answers = self.agents.write_many(chunk.iter().map(unchanged).collect(), Some(lease)).await;
            for (snapshot, answer) in chunk.iter().zip(answers) {
                match answer {
                    Ok(revision) => {
                        self.write().delete_agent(&snapshot.id, revision);
                        (self.listener)(&snapshot.id);
                        count += 1;
                    }
                    Err(WriteError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(count)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Agents {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Agents").finish_non_exhaustive()
    }
}
