//! What the store remembers: every change of every document, until it is compacted.

use std::collections::{BTreeMap, VecDeque};

use fleet_store::{Change, Changes, Document, Revision, Scope};
use tokio::time::Instant;

/// A document's name: its collection and its id.
pub(crate) type Name = (&'static str, String);

/// One change.
#[derive(Debug)]
struct Entry {
    at: Instant,
    revision: u64,
    collection: &'static str,
    change: Change,
}

/// Every change since the last compaction, and every version of a document that a list may still ask for.
#[derive(Debug, Default)]
pub(crate) struct History {
    log: VecDeque<Entry>,
    /// By document, the oldest first. `None`: there was none from then on.
    versions: BTreeMap<Name, Vec<(u64, Option<Document>)>>,
    /// Lists and watches of this revision and older ones are refused.
    forgotten: u64,
    /// How far the running watches have got, by the watch's number: what they still need is kept.
    watches: BTreeMap<u64, u64>,
    next_watch: u64,
}

/// The revision asked for is forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forgotten;

impl History {
    /// Notes a change.
    pub(crate) fn note(&mut self, collection: &'static str, revision: u64, change: Change) {
        let document = match &change {
            Change::Put(document) => Some(document.clone()),
            Change::Delete { .. } => None,
        };
        let versions = self.versions.entry((collection, change.id().to_owned())).or_default();
        versions.push((revision, document));
        self.log.push_back(Entry { at: Instant::now(), revision, collection, change });
    }

    /// The document as it is now.
    pub(crate) fn newest(&self, collection: &'static str, id: &str) -> Option<&Document> {
        self.versions.get(&(collection, id.to_owned()))?.last()?.1.as_ref()
    }

    /// The documents of a collection as they were at `revision`, in the order of their ids.
    pub(crate) fn at(
        &self,
        collection: &'static str,
        revision: u64,
    ) -> Result<impl Iterator<Item = &Document>, Forgotten> {
        if revision < self.forgotten {
            return Err(Forgotten);
        }
        let all = self.versions.range((collection, String::new())..);
        Ok(all
            .take_while(move |((of, _), _)| *of == collection)
            .filter_map(move |(_, versions)| versions.iter().rfind(|(at, _)| *at <= revision)?.1.as_ref()))
    }

    /// Begins a watch after `after`.
    pub(crate) fn begin_watch(&mut self, after: u64) -> Result<u64, Forgotten> {
        if after < self.forgotten {
            return Err(Forgotten);
        }
        self.next_watch += 1;
        self.watches.insert(self.next_watch, after);
        Ok(self.next_watch)
    }

    /// A watch is over.
    pub(crate) fn end_watch(&mut self, watch: u64) {
        self.watches.remove(&watch);
    }

    /// A watch is cut off: what it needs is no longer kept for it.
    pub(crate) fn orphan_watch(&mut self, watch: u64) -> Option<u64> {
        self.watches.remove(&watch)
    }

    /// The next changes for a watch, if there are any.
    pub(crate) fn next(&mut self, watch: u64, collection: &'static str, scope: &Scope) -> Option<Changes> {
        let after = *self.watches.get(&watch)?;
        let start = self.log.partition_point(|entry| entry.revision <= after);
        let wanted = |entry: &&Entry| entry.collection == collection && scope.contains(entry.change.id());
        let first = self.log.range(start..).find(wanted).map(|entry| entry.revision);
        let reached = first.or(self.log.back().map(|entry| entry.revision)).unwrap_or(after);
        self.watches.insert(watch, reached.max(after));
        let revision = first?;
        let of_revision = self.log.range(start..).take_while(|entry| entry.revision <= revision);
        let changes = of_revision.filter(wanted).map(|entry| entry.change.clone()).collect();
        Some(Changes { revision: Revision(revision), changes })
    }

    /// Forgets what was before `horizon`. The current documents stay, and what running watches need.
    pub(crate) fn compact(&mut self, horizon: Instant, current: u64) {
        let kept = self.log.iter().find(|entry| entry.at > horizon);
        self.forgotten = self.forgotten.max(kept.map_or(current, |entry| entry.revision - 1));
        let needed = self.watches.values().copied().min().unwrap_or(u64::MAX).min(self.forgotten);
        while self.log.front().is_some_and(|entry| entry.revision <= needed) {
            self.log.pop_front();
        }
        let forgotten = self.forgotten;
        self.versions.retain(|_, versions| {
            let last_old = versions.iter().rposition(|(at, _)| *at <= forgotten).unwrap_or(0);
            versions.drain(..last_old);
            !matches!(versions.as_slice(), [(at, None)] if *at <= forgotten)
        });
    }
}
