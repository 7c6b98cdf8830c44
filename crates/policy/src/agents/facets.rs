//! How often which values are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::scan::{Counts, Seen};

/// Counts of texts that many agents share: looked up by where they lie, which is nearly always the same place.
#[derive(Clone, Debug, Default)]
struct Texts(HashMap<usize, (Arc<str>, u64)>);

impl Texts {
    fn add(&mut self, text: &Arc<str>) {
        let (_, count) = self.0.entry(text.as_ptr().addr()).or_insert_with(|| (Arc::clone(text), 0));
        *count += 1;
    }

    fn by_text(&self) -> BTreeMap<Arc<str>, u64> {
        let mut counts = BTreeMap::new();
        for (text, count) in self.0.values() {
            *counts.entry(Arc::clone(text)).or_default() += count;
        }
        counts
    }
}

/// How often which values are, among some agents.
#[derive(Clone, Debug, Default)]
pub struct Facets {
    /// How they are.
    pub statuses: Counts,
    policies: Texts,
    versions: Texts,
    tags: Texts,
    platforms: Texts,
}

impl Facets {
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        self.statuses.add(seen.status);
        self.policies.add(&seen.agent.policy_id);
        self.versions.add(&seen.agent.agent.version);
        self.platforms.add(&seen.agent.host.platform);
        for tag in &seen.agent.tags {
            self.tags.add(tag);
        }
    }

    /// Their policies.
    #[must_use]
    pub fn policies(&self) -> BTreeMap<Arc<str>, u64> {
        self.policies.by_text()
    }

    /// Their versions.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<Arc<str>, u64> {
        self.versions.by_text()
    }

    /// Their tags.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<Arc<str>, u64> {
        self.tags.by_text()
    }

    /// The systems of their machines.
    #[must_use]
    pub fn platforms(&self) -> BTreeMap<Arc<str>, u64> {
        self.platforms.by_text()
    }
}
