//! What processors of all streams share. What nobody uses any more ends.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::cache::Store;
use super::cloud::{Lookup, Way};
use super::docker::{Engine, Source};
use super::process::container::Rule;
use super::process::table::Table;

/// So many ways of asking clouds are remembered.
const MOST_CLOUDS: usize = 16;

/// Of one collector.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    caches: Used<String, Store>,
    processes: Used<String, Table>,
    engines: Used<Source, Engine>,
    /// Kept for good: what a cloud says of a machine stays true.
    clouds: Mutex<HashMap<Way, Arc<Lookup>>>,
}

impl Shared {
    /// The cache of this name.
    pub(super) fn cache(&self, id: &str) -> Arc<Store> {
        self.caches.get(id.to_owned(), |_| Store::default())
    }

    /// What came of asking for the cloud in this way.
    pub(super) fn cloud(&self, way: Way) -> Arc<Lookup> {
        let mut clouds = self.clouds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = clouds.get(&way) {
            return Arc::clone(lookup);
        }
        let lookup = Arc::new(Lookup::new(way.clone()));
        if clouds.len() < MOST_CLOUDS {
            clouds.insert(way, Arc::clone(&lookup));
        }
        lookup
    }

    /// The engine of containers.
    pub(super) fn engine(&self, source: Source) -> Arc<Engine> {
        self.engines.get(source, Engine::new)
    }

    /// The processes below this root.
    pub(super) fn processes(&self, root: &str) -> Arc<Table> {
        self.processes.get(root.to_owned(), |root| Table::new(root, Rule::default()))
    }
}

/// Things by their names, for as long as somebody has them.
#[derive(Debug)]
pub(super) struct Used<K, T> {
    by_name: Mutex<HashMap<K, Weak<T>>>,
}

impl<K, T> Default for Used<K, T> {
    fn default() -> Used<K, T> {
        Used { by_name: Mutex::default() }
    }
}

impl<K: Clone + Eq + Hash, T> Used<K, T> {
    /// The one of this name, which is made if there is none.
    fn get(&self, name: K, make: impl FnOnce(&K) -> T) -> Arc<T> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = by_name.get(&name).and_then(Weak::upgrade) {
            return there;
        }
        by_name.retain(|_, thing| thing.strong_count() > 0);
        let made = Arc::new(make(&name));
        by_name.insert(name, Arc::downgrade(&made));
        made
    }
}
