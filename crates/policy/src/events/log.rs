//! The newest events in memory, the ids of all, and reading on from any of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fleet_store::{Error, Listing, Revision, Store, Typed, TypedChange};
use tokio::sync::watch;

use super::event::{EVENTS, Event, EventId};
use crate::feed::{View, feed};

/// So many events are kept whole, the newest: some 500 bytes each. Older ones are read from the store by whoever
/// asks for them.
const RECENT: usize = 4096;

#[derive(Debug, Default)]
struct Known {
    /// 16 bytes for each event that there is.
    ids: BTreeSet<EventId>,
    recent: BTreeMap<EventId, Arc<Event>>,
}

impl Known {
    fn put(&mut self, event: Event) {
        let id = event.id;
        self.ids.insert(id);
        self.recent.insert(id, Arc::new(event));
        if self.recent.len() > RECENT {
            self.recent.pop_first();
        }
    }

    fn remove(&mut self, id: EventId) {
        self.ids.remove(&id);
        self.recent.remove(&id);
    }
}

/// The events. What it shows may be older than the store by the delay of a watch.
#[derive(Debug)]
pub struct Events {
    documents: Typed<Event>,
    known: RwLock<Known>,
    newest: watch::Sender<Option<EventId>>,
}

/// Events one after the other.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// In the order that was asked for. Those that were removed meanwhile, or cannot be read, are left out.
    pub events: Vec<Arc<Event>>,
    /// The last one that was looked at: whoever goes on does so from here. `None`: there are no more.
    pub reached: Option<EventId>,
}

impl Events {
    /// The events in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Events {
        let documents = Typed::new(Arc::clone(store), &EVENTS);
        Events { documents, known: RwLock::default(), newest: watch::Sender::new(None) }
    }

    /// Follows the events in the store, for ever.
    pub async fn follow(&self, ready: impl FnOnce() + Send) {
        feed(self.documents.clone(), self, ready).await;
    }

    /// Tells of the newest event, whenever there is another one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<EventId>> {
        self.newest.subscribe()
    }

    /// The newest event that there is.
    #[must_use]
    pub fn newest(&self) -> Option<EventId> {
        self.read().ids.last().copied()
    }

    /// Whether there is this event still.
    #[must_use]
    pub fn contains(&self, id: EventId) -> bool {
        self.read().ids.contains(&id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().ids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most `most` events after this one, oldest first.
    ///
    /// # Errors
    /// They are no longer in memory, and the store does not answer.
    pub async fn after(&self, after: EventId, most: usize) -> Result<Stretch, Error> {
        let ids: Vec<EventId> = {
            let known = self.read();
            let range = known.ids.range((Bound::Excluded(after), Bound::Unbounded));
            range.take(most).copied().collect()
        };
        self.stretch(ids).await
    }

    /// At most `most` events before this one, or the newest ones, newest first.
    ///
    /// # Errors
    /// They are no longer in memory, and the store does not answer.
    pub async fn before(&self, before: Option<EventId>, most: usize) -> Result<Stretch, Error> {
        let ids: Vec<EventId> = {
            let known = self.read();
            let end = before.map_or(Bound::Unbounded, Bound::Excluded);
            known.ids.range((Bound::Unbounded, end)).rev().take(most).copied().collect()
        };
        self.stretch(ids).await
    }

    /// The oldest events that are beyond what may be kept: older than `oldest`, or more than `most`.
    pub(super) fn beyond(&self, most: usize, oldest: EventId, limit: usize) -> Vec<EventId> {
        let known = self.read();
        let excess = known.ids.len().saturating_sub(most);
        let beyond = known.ids.iter().enumerate().take_while(|(index, id)| *index < excess || **id < oldest);
        beyond.map(|(_, id)| *id).take(limit).collect()
    }

    async fn stretch(&self, ids: Vec<EventId>) -> Result<Stretch, Error> {
        let reached = ids.last().copied();
        let mut found: Vec<Option<Arc<Event>>> = {
            let known = self.read();
            ids.iter().map(|id| known.recent.get(id).cloned()).collect()
        };
        let is_missing =
            |(id, event): (&EventId, &Option<Arc<Event>>)| event.is_none().then(|| id.to_string());
        let missing: Vec<String> = ids.iter().zip(&found).filter_map(is_missing).collect();
        if !missing.is_empty() {
            let read = self.documents.get_many(&missing).await?;
            let places = found.iter_mut().filter(|event| event.is_none());
            for (place, read) in places.zip(read) {
                *place = read.map(|read| Arc::new(read.value));
            }
        }
        Ok(Stretch { events: found.into_iter().flatten().collect(), reached })
    }

    fn tell(&self) {
        let newest = self.newest();
        self.newest.send_if_modified(|told| {
            let is_news = *told < newest;
            *told = newest.max(*told);
            is_news
        });
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View<Event> for Events {
    async fn page(&self, listing: Listing<Event>) -> Result<(), Error> {
        {
            let mut known = self.write();
            listing.values.into_iter().for_each(|found| known.put(found.value));
        }
        self.tell();
        Ok(())
    }

    fn listed(&self, ids: &HashSet<String>, revision: Revision) {
        // An event is written once: what is not listed and yet known was removed, or is newer than the list.
        let _ = revision;
        let listed: BTreeSet<EventId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let Some(last) = listed.last().copied() else { return };
        let mut known = self.write();
        let gone: Vec<EventId> = known.ids.range(..last).filter(|id| !listed.contains(id)).copied().collect();
        gone.into_iter().for_each(|id| known.remove(id));
    }

    async fn change(&self, _: Revision, change: TypedChange<Event>) -> Result<(), Error> {
        match change {
            TypedChange::Put(found) => {
                self.write().put(found.value);
                self.tell();
            }
            TypedChange::Delete { id } => {
                if let Ok(id) = id.parse() {
                    self.write().remove(id);
                }
            }
            // Nobody can be told of it.
            TypedChange::Malformed(_) => {}
        }
        Ok(())
    }
}
