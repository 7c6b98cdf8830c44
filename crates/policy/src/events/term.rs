//! The time during which one server is the keeper, as far as events are concerned.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Expect, LeaseId, Typed, Write, WriteError};
use tracing::{debug, info};

use super::event::{EVENTS, Event, EventId, Ids};
use super::ledger::{Head, Ledger, SHARDS, shard_of};
use super::watcher::Watcher;
use crate::status::OFFLINE_AFTER;
use crate::timestamp::Timestamp;

/// So many pieces of news are told in one round; the rest waits for the next one. What 100 000 agents that fall silent
/// at once take in memory and in one go of the store stays small.
const ROUND_MAX: usize = 2_000;
/// Events that are written together: one transaction, so that they are seen in their order.
const TOGETHER: usize = 100;
/// The keeper says this often that somebody looks.
const HEAD_EVERY: Duration = Duration::from_secs(30);
/// Nobody has looked for longer than this: agents may not have been heard because nobody listened.
const GAP: Duration = Duration::from_secs(90);
/// A new keeper calls nobody silent until servers have written who is there: they do so every 10 s.
const SETTLE: Duration = Duration::from_secs(30);
/// Old events that are removed in one round.
const TIDY: usize = 2 * ROUND_MAX;

/// What has happened since the last round.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) agents: HashSet<Arc<str>>,
    pub(super) policies: BTreeSet<String>,
}

/// What is known and to be done.
#[derive(Debug)]
pub(super) struct Term<'a> {
    pub(super) watcher: &'a Watcher<'a>,
    lease: LeaseId,
    pub(super) ledger: Ledger,
    events: Typed<Event>,
    pub(super) ids: Ids,
    /// Before this nobody is called silent.
    pub(super) settled_at: Timestamp,
    /// By shard.
    work: BTreeMap<usize, Work>,
    /// When agents are to be looked at again: once each, as a rule.
    pub(super) due: BinaryHeap<Reverse<(Timestamp, Arc<str>)>>,
    /// How often an agent was put off, because what it told was not there yet.
    pub(super) put_off: HashMap<Arc<str>, u8>,
}

impl<'a> Term<'a> {
    /// Takes over: what the keeper before may have left unwritten is written.
    pub(super) async fn begin(watcher: &'a Watcher<'a>, lease: LeaseId) -> Result<Term<'a>, WriteError> {
        let store = watcher.agents.store();
        let ledger = Ledger::load(store, watcher.agents).await.map_err(WriteError::NotDone)?;
        let now = (watcher.now)();
        let gap = ledger.head.map_or(Duration::MAX, |head| head.watched_until.until(now));
        let settle = if gap > GAP { OFFLINE_AFTER } else { SETTLE };
        let ids = Ids::after(ledger.last_id().max(watcher.events.newest()));
        let unwritten = ledger.unwritten();
        let mut term = Term {
            watcher,
            lease,
            ledger,
            events: Typed::new(Arc::clone(store), &EVENTS),
            ids,
            settled_at: now + settle,
            work: (0..SHARDS).map(|number| (number, Work::default())).collect(),
            due: BinaryHeap::new(),
            put_off: HashMap::new(),
        };
        debug!(unwritten = unwritten.len(), "this server tells what happens");
        term.write_events(&unwritten).await?;
        // Who is in the ledger and nowhere else is gone.
        for (number, shard) in term.ledger.content.iter().enumerate() {
            if let Some(work) = term.work.get_mut(&number) {
                work.agents.extend(shard.agents.keys().cloned());
            }
        }
        let written = term.ledger.last_id();
        if term.ledger.head.is_some() {
            term.ledger.write_head(Head { watched_until: now, written }, lease).await?;
        }
        Ok(term)
    }

    /// Tells what has happened. Returns whether there is more to be told at once.
    pub(super) async fn round(&mut self) -> Result<bool, WriteError> {
        let now = (self.watcher.now)();
        self.gather(now);
        let mut numbers = Vec::new();
        let mut told: Vec<Event> = Vec::new();
        let mut rest = BTreeMap::new();
        while told.len() < ROUND_MAX
            && let Some((number, work)) = self.work.pop_first()
        {
            let done = self.shard(number, work, now).await?;
            if done.is_changed {
                numbers.push(number);
                self.ledger.content[number].outbox.clone_from(&done.events);
                told.extend(done.events);
            }
            if !done.rest.is_empty() {
                rest.insert(number, Work { agents: done.rest, ..Work::default() });
            }
        }
        self.work.append(&mut rest);
        if !numbers.is_empty() {
            self.ledger.write(&numbers, self.lease).await?;
            self.write_events(&told).await?;
        }
        self.write_head(now, told.last().map(|event| event.id)).await?;
        self.tidy(now).await?;
        Ok(!told.is_empty() && !self.work.is_empty())
    }

    /// What is to be looked at: agents that changed, agents whose time has come, policies with another revision.
    fn gather(&mut self, now: Timestamp) {
        for id in self.watcher.agents.take_changes() {
            self.work.entry(shard_of(&id)).or_default().agents.insert(id);
        }
        while let Some(Reverse((moment, _))) = self.due.peek()
            && *moment <= now
            && let Some(Reverse((moment, id))) = self.due.pop()
        {
            let number = shard_of(&id);
            if let Some(seen) = self.ledger.content[number].agents.get_mut(&id)
                && seen.due.is_some_and(|due| due <= moment)
            {
                seen.due = None;
            }
            self.work.entry(number).or_default().agents.insert(id);
        }
        self.watcher.policies.for_each_revision(|id, document, _| {
            let number = shard_of(id);
            let told = self.ledger.content[number].policies.get(id);
            if told.is_none_or(|told| told.document < document) {
                self.work.entry(number).or_default().policies.insert(id.to_owned());
            }
        });
    }

    /// Writes events in their order; those that are there are left as they are.
    async fn write_events(&mut self, events: &[Event]) -> Result<(), WriteError> {
        for events in events.chunks(TOGETHER) {
            let encode = |event: &Event| {
                let id = event.id.to_string();
                self.events.encode(&id, event, Expect::Absent, None).map_err(WriteError::NotDone)
            };
            let writes: Vec<Write> = events.iter().map(encode).collect::<Result<_, _>>()?;
            for outcome in self.events.write_many(writes, Some(self.lease)).await {
                match outcome {
                    Ok(_) | Err(WriteError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn write_head(&mut self, now: Timestamp, last: Option<EventId>) -> Result<(), WriteError> {
        let head = self.ledger.head;
        let is_old = head.is_none_or(|head| head.watched_until.until(now) >= HEAD_EVERY);
        // The first one says that all there is was taken as it is.
        let is_first = head.is_none() && !self.work.is_empty();
        if is_first || (last.is_none() && !is_old) {
            return Ok(());
        }
        let written = last.or(head.and_then(|head| head.written));
        self.ledger.write_head(Head { watched_until: now, written }, self.lease).await
    }

    /// Removes some of the oldest events, if there are too many or they are too old.
    async fn tidy(&self, now: Timestamp) -> Result<(), WriteError> {
        let bounds = self.watcher.bounds;
        let oldest = EventId::before(now - bounds.oldest);
        let beyond = self.watcher.events.beyond(bounds.most, oldest, TIDY);
        if beyond.is_empty() {
            return Ok(());
        }
        let writes = beyond.iter().map(|id| Write::delete(id.to_string(), Expect::Any)).collect();
        for outcome in self.events.write_many(writes, Some(self.lease)).await {
            outcome?;
        }
        info!(events = beyond.len(), "old events are removed");
        Ok(())
    }
}
