//! One shard of the ledger in one round: what changed of its agents and policies, as events.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fleet_store::WriteError;

use super::event::{Event, EventKind};
use super::ledger::{Seen, SeenPolicy};
use super::look::{self, Look, Moment, News, shorten};
use super::term::{Term, Work};
use crate::actions::StoredAction;
use crate::agents::Snapshot;
use crate::timestamp::Timestamp;

/// So much is told of one shard in a round: it lies in the shard's document, which must not outgrow the store's bound.
const SHARD_MAX: usize = 400;
/// What an agent told of a failed action may lie in the store a moment later than that it failed. It is waited for in
/// so many rounds.
const PATIENCE: u8 = 5;

/// What came of one shard.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Whether it must be written.
    pub(super) is_changed: bool,
    pub(super) events: Vec<Event>,
    /// Agents that wait for the next round.
    pub(super) rest: HashSet<Arc<str>>,
}

/// An agent, and the revision of an action of its.
type Which = (Arc<str>, u64);

/// Failed actions, and what their agents told of them.
#[derive(Debug, Default)]
struct Failed(HashMap<Which, (Arc<StoredAction>, Option<String>)>);

impl Term<'_> {
    /// Looks at what is to be looked at in one shard, and takes into it what is news.
    pub(super) async fn shard(
        &mut self,
        number: usize,
        work: Work,
        now: Timestamp,
    ) -> Result<Done, WriteError> {
        let mut done = Done::default();
        for id in &work.policies {
            self.policy(number, id, now, &mut done);
        }
        let mut looks = Vec::new();
        let mut count = 0;
        let mut agents = work.agents.into_iter();
        for id in agents.by_ref() {
            let Some(agent) = self.watcher.agents.get(&id) else {
                self.missing(number, &id, now, &mut done).await?;
                continue;
            };
            if let Some(look) = self.look(number, &agent, now) {
                count += look.news.len();
                looks.push((agent, look));
            }
            if count + done.events.len() >= SHARD_MAX {
                break;
            }
        }
        done.rest = agents.collect();
        if done.rest.is_empty() {
            self.ledger.content[number].adopts = false;
        }
        let failed = self.failed(&looks).await?;
        for (agent, look) in looks {
            if self.is_too_early(&agent, &look.news, &failed) {
                self.due.push(Reverse((now, agent.id)));
            } else {
                self.take(number, &agent, look, now, &failed, &mut done);
            }
        }
        Ok(done)
    }

    fn policy(&mut self, number: usize, id: &str, now: Timestamp, done: &mut Done) {
        let Some(head) = self.watcher.policies.head(id) else { return };
        let revision = head.rendered.revision;
        let shard = &mut self.ledger.content[number];
        let before = shard.policies.insert(id.to_owned(), SeenPolicy { document: head.revision, revision });
        done.is_changed = true;
        if !shard.adopts && before.is_none_or(|before| before.revision != revision) {
            let mut event = Event::new(self.ids.next(now), now, EventKind::PolicyRevision);
            (event.policy_id, event.revision) = (Some(id.to_owned()), Some(revision));
            done.events.push(event);
        }
    }

    /// An agent that is not known here: it was removed, or this server has not heard of it yet.
    async fn missing(
        &mut self,
        number: usize,
        id: &Arc<str>,
        now: Timestamp,
        done: &mut Done,
    ) -> Result<(), WriteError> {
        let Some(seen) = self.ledger.content[number].agents.get(id) else { return Ok(()) };
        // The keeper before may have known agents that this server's view does not show yet.
        if now < self.settled_at {
            let found = self.watcher.agents.refresh(id).await.map_err(WriteError::NotDone)?;
            if found.is_some() {
                return Ok(());
            }
        }
        if let Some(news) = look::gone(seen) {
            let mut event = Event::new(self.ids.next(now), now, news.kind());
            event.agent_id = Some(id.to_string());
            describe(&mut event, news);
            done.events.push(event);
        }
        self.ledger.content[number].agents.remove(id);
        done.is_changed = true;
        Ok(())
    }

    fn look(&self, number: usize, agent: &Snapshot, now: Timestamp) -> Option<Look> {
        let shard = &self.ledger.content[number];
        let inactivity_timeout = self.watcher.policies.inactivity_timeout(&agent.agent.policy_id);
        let moment = Moment { now, settled_at: self.settled_at, inactivity_timeout };
        look::look(agent, shard.agents.get(&agent.id), shard.adopts, moment)
    }

    /// What is known of the actions that failed, read together.
    async fn failed(&self, looks: &[(Snapshot, Look)]) -> Result<Failed, WriteError> {
        let mut failed = Vec::new();
        for (agent, look) in looks {
            for news in &look.news {
                if let News::ActionFailed { seq_no } = news
                    && let Some(action) = self.watcher.actions.at(*seq_no)
                {
                    failed.push((Arc::clone(&agent.id), *seq_no, action));
                }
            }
        }
        if failed.is_empty() {
            return Ok(Failed::default());
        }
        let pairs = failed.iter().map(|(id, _, action)| (action.action.action_id.as_str(), &**id));
        let results = self.watcher.actions.told_of(pairs).await.map_err(WriteError::NotDone)?;
        let found = failed.into_iter().zip(results).map(|((id, seq_no, action), result)| {
            ((id, seq_no), (action, result.map(|result| result.error.unwrap_or_default())))
        });
        Ok(Failed(found.collect()))
    }

    /// Whether an action failed of which this server has not heard yet, or not why it failed.
    fn is_too_early(&mut self, agent: &Snapshot, news: &[News], failed: &Failed) -> bool {
        let is_missing = news.iter().any(|news| match news {
            News::ActionFailed { seq_no } => match failed.0.get(&(Arc::clone(&agent.id), *seq_no)) {
                Some((_, error)) => error.is_none(),
                None => !self.watcher.actions.is_over(*seq_no),
            },
            _ => false,
        });
        let rounds = self.put_off.get(&agent.id).copied().unwrap_or_default();
        if is_missing && rounds < PATIENCE {
            self.put_off.insert(Arc::clone(&agent.id), rounds + 1);
            return true;
        }
        self.put_off.remove(&agent.id);
        false
    }

    /// Takes into the ledger what was found of an agent.
    fn take(
        &mut self,
        number: usize,
        agent: &Snapshot,
        look: Look,
        now: Timestamp,
        failed: &Failed,
        done: &mut Done,
    ) {
        let mut seen = look.seen;
        if let Some(next) = look.next
            && seen.due.is_none_or(|due| next < due)
        {
            seen.due = Some(next);
            self.due.push(Reverse((next, Arc::clone(&agent.id))));
        }
        let agents = &mut self.ledger.content[number].agents;
        done.is_changed |= agents.get(&agent.id).is_none_or(|before| is_other(before, &seen));
        agents.insert(Arc::clone(&agent.id), seen);
        for news in look.news {
            let mut event = Event::new(self.ids.next(now), now, news.kind());
            event.agent_id = Some(agent.id.to_string());
            event.hostname = Some(agent.agent.host.hostname.to_string());
            event.policy_id = Some(agent.agent.policy_id.to_string());
            if let News::ActionFailed { seq_no } = news {
                // One that is over for everybody is nobody's business any more.
                let Some((action, error)) = failed.0.get(&(Arc::clone(&agent.id), seq_no)) else { continue };
                event.action_id = Some(action.action.action_id.clone());
                event.action_type = Some(action.kind.to_string());
                event.error = error.as_deref().map(shorten);
            } else {
                describe(&mut event, news);
            }
            done.events.push(event);
        }
    }
}

/// Whether it is worth a write: revisions alone are not.
fn is_other(before: &Seen, after: &Seen) -> bool {
    let of = |seen: &Seen| (seen.status, seen.enrolled_at, seen.told.clone());
    of(before) != of(after)
}

fn describe(event: &mut Event, news: News) {
    match news {
        News::Enrolled { to } => event.to = Some(to),
        News::Unenrolled { from, reason } => {
            (event.from, event.reason) = (from, Some(reason));
        }
        News::Status { from, to, reason } => {
            (event.from, event.to) = (Some(from), Some(to));
            event.reason = Some(reason).filter(|reason| !reason.is_empty());
        }
        News::UpgradeFailed { action_id, error } => {
            event.action_id = Some(action_id).filter(|id| !id.is_empty());
            event.action_type = Some("UPGRADE".to_owned());
            event.error = Some(error).filter(|error| !error.is_empty());
        }
        News::PolicyFailed { policy_id, revision, error } => {
            event.policy_id = Some(policy_id.to_string());
            (event.revision, event.error) = (Some(revision), Some(error));
        }
        News::ActionFailed { .. } => {}
    }
}
