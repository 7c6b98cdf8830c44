//! The check-ins that are held, and who is next to be answered.
//!
//! A held check-in waits for its turn. Whatever may concern it (a revision of its policy, an action, a change
//! of the agent) only says "look again": what it is answered is decided when its turn comes, so that the newest
//! revision overtakes older ones that are still going out. Turns are given a few at a time, in the order in
//! which they were asked for: a roll-out to every agent leaves room for everything else, and one agent's
//! action does not wait behind it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::http::Turn;

/// So many answers are made and written at a time: enough that the acknowledgements that they provoke do not
/// hold back the rest, and no more than a moment's work, so that whoever comes meanwhile need not wait for all.
const TURNS: usize = 128;

/// A check-in that is held.
#[derive(Debug)]
struct Held {
    /// Tells this check-in from a later one of the same agent.
    number: u64,
    policy_id: Arc<str>,
    wake: oneshot::Sender<Turn>,
    /// Waits for a turn already.
    is_queued: bool,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<Arc<str>, Held>,
    /// By their numbers: who came first is first in every roll-out.
    in_order: BTreeMap<u64, Arc<str>>,
    /// One agent is concerned.
    single: VecDeque<Arc<str>>,
    /// Many agents are.
    bulk: VecDeque<Arc<str>>,
    next_number: u64,
}

/// The check-ins that are held at this server.
#[derive(Debug)]
pub struct Sessions {
    state: Mutex<State>,
    queued: Notify,
    turns: Arc<Semaphore>,
}

/// The place of a held check-in; it is given up when this is dropped.
#[derive(Debug)]
pub struct Place {
    sessions: Arc<Sessions>,
    agent_id: Arc<str>,
    number: u64,
    turn: oneshot::Receiver<Turn>,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions { state: Mutex::default(), queued: Notify::new(), turns: Arc::new(Semaphore::new(TURNS)) }
    }
}

impl Sessions {
    /// Holds a check-in. One that the same agent left behind ends: an agent has one.
    #[must_use]
    pub fn hold(self: &Arc<Sessions>, agent_id: &Arc<str>, policy_id: &Arc<str>) -> Place {
        let (wake, turn) = oneshot::channel();
        let mut state = self.lock();
        state.next_number += 1;
        let number = state.next_number;
        let held = Held { number, policy_id: Arc::clone(policy_id), wake, is_queued: false };
        if let Some(before) = state.held.insert(Arc::clone(agent_id), held) {
            state.in_order.remove(&before.number);
        }
        state.in_order.insert(number, Arc::clone(agent_id));
        Place { sessions: Arc::clone(self), agent_id: Arc::clone(agent_id), number, turn }
    }

    /// How many are held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().held.len()
    }

    /// Whether this agent's check-in is held here.
    #[must_use]
    pub fn is_held(&self, agent_id: &str) -> bool {
        self.lock().held.contains_key(agent_id)
    }

    /// The agents whose check-ins are held here.
    #[must_use]
    pub fn agents(&self) -> Vec<Arc<str>> {
        self.lock().in_order.values().cloned().collect()
    }

    /// One agent is to look again.
    pub fn wake(&self, agent_id: &str) {
        let mut state = self.lock();
        let State { held, single, .. } = &mut *state;
        if let Some(held) = held.get_mut(agent_id)
            && !held.is_queued
        {
            held.is_queued = true;
            single.push_back(Arc::from(agent_id));
        }
        drop(state);
        self.queued.notify_one();
    }

    /// These agents are to look again.
    pub fn wake_all<'a>(&self, agents: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut state = self.lock();
        let State { held, bulk, .. } = &mut *state;
        for id in agents {
            if let Some(held) = held.get_mut(id)
                && !held.is_queued
            {
                held.is_queued = true;
                bulk.push_back(Arc::clone(id));
            }
        }
        drop(state);
        self.queued.notify_one();
    }

    /// All agents of this policy are to look again.
    pub fn wake_policy(&self, policy_id: &str) {
        let mut state = self.lock();
        let State { held, bulk, in_order, .. } = &mut *state;
        for id in in_order.values() {
            if let Some(held) = held.get_mut(id)
                && *held.policy_id == *policy_id
                && !held.is_queued
            {
                held.is_queued = true;
                bulk.push_back(Arc::clone(id));
            }
        }
        drop(state);
        self.queued.notify_one();
    }

    /// Gives turns to those who wait for one, for ever.
    pub async fn give_turns(&self) {
        let mut bulk_first = false;
        loop {
            let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return };
            let held = loop {
                if let Some(held) = self.next(bulk_first) {
                    break held;
                }
                self.queued.notified().await;
            };
            bulk_first = !bulk_first;
            // Nobody waits any more when the client is gone; the turn comes back.
            let _ = held.wake.send(turn);
        }
    }

    /// The next one to be answered: of both queues in turn.
    fn next(&self, bulk_first: bool) -> Option<Held> {
        let mut state = self.lock();
        let State { held, single, bulk, in_order, .. } = &mut *state;
        let (first, second) = if bulk_first { (bulk, single) } else { (single, bulk) };
        while let Some(id) = first.pop_front().or_else(|| second.pop_front()) {
            // An agent that came back since is not queued: it has looked already.
            if held.get(&id).is_some_and(|held| held.is_queued) {
                let held = held.remove(&id)?;
                in_order.remove(&held.number);
                return Some(held);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The turn of this check-in. `None`: another one of this agent has taken its place. Cancel-safe.
    pub async fn turn(&mut self) -> Option<Turn> {
        (&mut self.turn).await.ok()
    }

    /// Whether it is still held, for this policy.
    #[must_use]
    pub fn is_of(&self, policy_id: &str) -> bool {
        let state = self.sessions.lock();
        state
            .held
            .get(&self.agent_id)
            .is_some_and(|held| held.number == self.number && *held.policy_id == *policy_id)
    }

    /// Whether another check-in of this agent has taken its place. Must not be asked after [`Place::turn`].
    pub fn is_taken(&mut self) -> bool {
        matches!(self.turn.try_recv(), Err(TryRecvError::Closed))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.sessions.lock();
        if state.held.get(&self.agent_id).is_some_and(|held| held.number == self.number) {
            state.held.remove(&self.agent_id);
            state.in_order.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn id(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    async fn has_turn(place: &mut Place) -> bool {
        matches!(timeout(Duration::from_secs(1), place.turn()).await, Ok(Some(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn only_those_who_are_concerned_get_a_turn() {
        let sessions = Arc::new(Sessions::default());
        let giving = tokio::spawn({
            let sessions = Arc::clone(&sessions);
            async move { sessions.give_turns().await }
        });
        let mut a = sessions.hold(&id("a"), &id("p"));
        let mut b = sessions.hold(&id("b"), &id("q"));
        sessions.wake_policy("p");
        assert!(has_turn(&mut a).await);
        assert!(!has_turn(&mut b).await);
        sessions.wake("b");
        assert!(has_turn(&mut b).await);
        assert_eq!(sessions.count(), 0);
        giving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_check_in_takes_the_place() {
        let sessions = Arc::new(Sessions::default());
        let mut first = sessions.hold(&id("a"), &id("p"));
        let second = sessions.hold(&id("a"), &id("p"));
        assert!(first.turn().await.is_none());
        drop(first);
        assert_eq!(sessions.count(), 1);
        drop(second);
        assert_eq!(sessions.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_agent_does_not_wait_behind_all_others() {
        let sessions = Arc::new(Sessions::default());
        let ids: Vec<Arc<str>> = (0..1000).map(|n| id(&format!("agent-{n}"))).collect();
        let mut places: Vec<Place> = ids.iter().map(|id| sessions.hold(id, &self::id("p"))).collect();
        let mut single = sessions.hold(&id("single"), &id("q"));
        sessions.wake_policy("p");
        sessions.wake("single");
        let giving = tokio::spawn({
            let sessions = Arc::clone(&sessions);
            async move { sessions.give_turns().await }
        });
        let turn = timeout(Duration::from_secs(1), single.turn()).await.unwrap();
        assert!(turn.is_some());
        assert!(sessions.count() > 400, "the others still wait");
        drop(turn);
        let turns = futures_util::future::join_all(places.iter_mut().map(has_turn)).await;
        assert!(turns.into_iter().all(|has_turn| has_turn));
        giving.abort();
    }
}
