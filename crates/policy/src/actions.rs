//! The actions that are not over, and whom they are for.

mod index;
mod results;
mod secrets;
mod stored;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use fleet_store::{
    Error, Expect, LeaseId, ListRequest, Listing, Revision, Scope, Store, Typed, TypedChange, Write,
    WriteError,
};
use tracing::error;

use crate::documents::{
    ACTION_RESULTS, ACTION_TARGETS, ACTIONS, Action, ActionResult, ActionTargets, INLINE_TARGETS,
    TARGETS_PER_DOCUMENT, targets_id,
};
use crate::feed::{View, feed};
use crate::policies::Secrets;
use crate::timestamp::Timestamp;
use index::Index;
pub use secrets::reference;
pub use stored::{Due, StoredAction};

/// The longest id of an action in bytes.
const LONGEST_ID: usize = 256;
/// So many results are removed in one call of the store.
const REMOVED_TOGETHER: usize = 500;

/// Is told of the agents of each action that appears.
pub type Listener = Box<dyn Fn(&StoredAction) + Send + Sync>;

/// The actions.
pub struct Actions {
    actions: Typed<Action>,
    targets: Typed<ActionTargets>,
    results: Typed<ActionResult>,
    index: RwLock<Index>,
    secrets: Option<Box<dyn Secrets>>,
    listener: Listener,
}

impl Actions {
    /// The actions in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, listener: Listener) -> Actions {
        Actions {
            actions: Typed::new(Arc::clone(store), &ACTIONS),
            targets: Typed::new(Arc::clone(store), &ACTION_TARGETS),
            results: Typed::new(Arc::clone(store), &ACTION_RESULTS),
            index: RwLock::default(),
            secrets: None,
            listener,
        }
    }

    /// Opens the secrets that actions refer to. Without it, such actions are set aside.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Box<dyn Secrets>) -> Actions {
        self.secrets = Some(secrets);
        self
    }

    /// Follows the actions in the store, for ever.
    pub async fn follow(&self, ready: impl FnOnce() + Send) {
        feed(self.actions.clone(), &ActionsView(self), ready).await;
    }

    /// Stores an action for `agents`, in the order in which they are to start. It is delivered from the moment
    /// that this is done.
    pub async fn create(
        &self,
        document_id: &str,
        action: Action,
        agents: Vec<String>,
    ) -> Result<(), WriteError> {
        self.create_while(document_id, action, agents, None).await
    }

    /// The same; only while the lease is held, if one is given.
    pub async fn create_while(
        &self,
        document_id: &str,
        mut action: Action,
        agents: Vec<String>,
        lease: Option<LeaseId>,
    ) -> Result<(), WriteError> {
        action.total = agents.len() as u64;
        if agents.len() <= INLINE_TARGETS {
            action.agents = agents;
        } else {
            let parts = agents.chunks(TARGETS_PER_DOCUMENT).zip(0..);
            let mut writes = Vec::new();
            for (part, number) in parts {
                let targets = ActionTargets { agents: part.to_vec() };
                let id = targets_id(document_id, number);
                writes.push(
                    self.targets.encode(&id, &targets, Expect::Any, None).map_err(WriteError::NotDone)?,
                );
            }
            action.agents = Vec::new();
            action.target_documents = u32::try_from(writes.len()).ok();
            for answer in self.targets.write_many(writes, lease).await {
                answer?;
            }
        }
        // Its revision is its place in the order of actions and must be its alone: a store that gathers single
        // writes would give one to several actions, so this is a batch by itself.
        let write = self.actions.encode(document_id, &action, Expect::Absent, None);
        let answers = self.actions.write_many(vec![write.map_err(WriteError::NotDone)?], lease).await;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// What the agent is to do that it has not received: actions later than `received`, oldest first, at most
    /// `most`. `is_acked` tells of which it has told how they ended.
    #[must_use]
    pub fn due(
        &self,
        agent_id: &str,
        received: u64,
        is_acked: impl Fn(u64) -> bool,
        now: Timestamp,
        most: usize,
    ) -> Vec<Due> {
        self.read().due(agent_id, received, is_acked, now, most)
    }

    /// The action of this agent with this id; of several the newest.
    #[must_use]
    pub fn of_agent(&self, action_id: &str, agent_id: &str) -> Option<Arc<StoredAction>> {
        self.read().of_agent(action_id, agent_id)
    }

    /// The same. Asks the store when it is not known here: another server may just have handed it out. The
    /// documents of an action have its id, or begin with it.
    pub async fn find_of_agent(
        &self,
        action_id: &str,
        agent_id: &str,
    ) -> Result<Option<Arc<StoredAction>>, Error> {
        if let Some(action) = self.of_agent(action_id, agent_id) {
            return Ok(Some(action));
        }
        if action_id.is_empty() || action_id.len() > LONGEST_ID {
            return Ok(None);
        }
        let listing = self.actions.list(Scope::Prefix(action_id.to_owned())).await?;
        // It is not listed here: that is for the watch, in its order. An agent that was handed an action before
        // an older one would never hear of that.
        for found in listing.values.into_iter().filter(|found| found.value.action_id == action_id) {
            if let Ok(stored) = self.stored(found.id, found.revision, found.value).await?
                && stored.agents.iter().any(|id| **id == *agent_id)
            {
                return Ok(Some(Arc::new(stored)));
            }
        }
        Ok(None)
    }

    /// The revision of the action whose document has this id: what a token stands for. Asks the store when it
    /// is not known here. `None`: there is no such action any more.
    pub async fn seq_no(&self, document_id: &str) -> Result<Option<u64>, Error> {
        if let Some(seq_no) = self.read().seq_no(document_id) {
            return Ok(Some(seq_no));
        }
        if document_id.len() > LONGEST_ID {
            return Ok(None);
        }
        let found = self.actions.store().get(&ACTIONS, document_id).await?;
        Ok(found.map(|found| found.revision.0))
    }

    /// Whether the action with this revision has been removed. One that this server may not have heard of yet is
    /// not.
    #[must_use]
    pub fn is_over(&self, seq_no: u64) -> bool {
        let index = self.read();
        index.has_reached(seq_no) && index.get(seq_no).is_none()
    }

    /// The action with this revision, as far as it is known here.
    #[must_use]
    pub fn at(&self, seq_no: u64) -> Option<Arc<StoredAction>> {
        self.read().get(seq_no).cloned()
    }

    /// What agents told of actions, by the pairs of action and agent.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn told_of<'a>(
        &self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<Option<ActionResult>>, Error> {
        let ids: Vec<String> = pairs.into_iter().map(|(action, agent)| format!("{action}:{agent}")).collect();
        let found = self.results.get_many(&ids).await?;
        Ok(found.into_iter().map(|found| found.map(|found| found.value)).collect())
    }

    /// The revision of the newest action that is known here. 0: there is none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.read().newest()
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<StoredAction>> {
        self.read().all()
    }

    /// Documents that cannot be delivered, and why.
    #[must_use]
    pub fn quarantined(&self) -> Vec<(String, String)> {
        self.read().quarantined()
    }

    /// Removes what is over since before `moment`: actions whose expiration has passed, with their targets and
    /// results. Only while the lease is held, if one is given.
    pub async fn clean_up(&self, moment: Timestamp, lease: Option<LeaseId>) -> Result<usize, WriteError> {
        let over = self.read().expired_before(moment);
        for action in &over {
            self.remove_results(&action.action.action_id, lease).await?;
            for part in 0..action.action.target_documents.unwrap_or(0) {
                self.targets.delete(&targets_id(&action.document_id, part), Expect::Any, lease).await?;
            }
            // Last, so that what is left of a clean-up that was cut short is found again.
            self.actions.delete(&action.document_id, Expect::Any, lease).await?;
        }
        Ok(over.len())
    }

    async fn remove_results(&self, action_id: &str, lease: Option<LeaseId>) -> Result<(), WriteError> {
        loop {
            let request =
                ListRequest { limit: Some(REMOVED_TOGETHER), ..ListRequest::prefix(format!("{action_id}:")) };
            let (listing, next) = self.results.page(request).await.map_err(WriteError::NotDone)?;
            let ids = listing.values.into_iter().map(|result| result.id);
            let ids = ids.chain(listing.malformed.into_iter().map(|malformed| malformed.id));
            let writes = ids.map(|id| Write::delete(id, Expect::Any)).collect();
            for answer in self.results.write_many(writes, lease).await {
                answer?;
            }
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Lists an action. It is handed out when every older one is listed too, see [`Index::reach`].
    async fn admit(&self, document_id: String, revision: Revision, action: Action) -> Result<(), Error> {
        match self.stored(document_id, revision, action).await? {
            Ok(stored) => {
                let stored = Arc::new(stored);
                let mut index = self.write();
                if let Some(other) = index.other_at(stored.seq_no, &stored.document_id) {
                    let reason = format!("the action {other} has the same revision: write it alone");
                    drop(index);
                    self.quarantine(stored.document_id.clone(), reason);
                    return Ok(());
                }
                let is_late = index.insert(Arc::clone(&stored)) && index.has_reached(stored.seq_no);
                drop(index);
                if is_late {
                    self.tell(&stored);
                }
            }
            Err((document_id, reason)) => self.quarantine(document_id, reason),
        }
        Ok(())
    }

    fn tell(&self, action: &StoredAction) {
        if action.kind.is_delivered() {
            (self.listener)(action);
        }
    }

    /// Reads whom an action is for. The inner error is the document's id, and why it cannot be delivered.
    async fn stored(
        &self,
        document_id: String,
        revision: Revision,
        mut action: Action,
    ) -> Result<Result<StoredAction, (String, String)>, Error> {
        if let Err(reason) = self.open_secrets(&mut action).await? {
            return Ok(Err((document_id, reason)));
        }
        let mut agents: Vec<Arc<str>> = action.agents.iter().map(|id| Arc::from(id.as_str())).collect();
        if let Some(count) = action.target_documents {
            let ids: Vec<String> = (0..count).map(|part| targets_id(&document_id, part)).collect();
            for part in self.targets.get_many(&ids).await? {
                let Some(part) = part else {
                    let reason = "a document of its targets is missing or cannot be read".to_owned();
                    return Ok(Err((document_id, reason)));
                };
                agents.extend(part.value.agents.iter().map(|id| Arc::from(id.as_str())));
            }
        }
        Ok(StoredAction::new(document_id, revision.0, action, agents))
    }

    fn quarantine(&self, document_id: String, reason: String) {
        error!(action = document_id, reason, "an action cannot be delivered: it is set aside");
        self.write().quarantine(document_id, reason);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Actions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Actions").finish_non_exhaustive()
    }
}

struct ActionsView<'a>(&'a Actions);

impl View<Action> for ActionsView<'_> {
    async fn page(&self, listing: Listing<Action>) -> Result<(), Error> {
        for malformed in listing.malformed {
            self.0.quarantine(malformed.id, malformed.error.to_string());
        }
        for versioned in listing.values {
            self.0.admit(versioned.id, versioned.revision, versioned.value).await?;
        }
        Ok(())
    }

    fn listed(&self, ids: &HashSet<String>, revision: Revision) {
        self.0.write().retain(|document_id, seq_no| ids.contains(document_id) || seq_no > revision.0);
    }

    fn reached(&self, revision: Revision) {
        let news = self.0.write().reach(revision.0);
        news.iter().for_each(|action| self.0.tell(action));
    }

    async fn change(&self, _: Revision, change: TypedChange<Action>) -> Result<(), Error> {
        match change {
            TypedChange::Put(versioned) => {
                self.0.admit(versioned.id, versioned.revision, versioned.value).await?;
            }
            TypedChange::Delete { id } => self.0.write().remove(&id),
            TypedChange::Malformed(malformed) => {
                self.0.write().remove(&malformed.id);
                self.0.quarantine(malformed.id, malformed.error.to_string());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
