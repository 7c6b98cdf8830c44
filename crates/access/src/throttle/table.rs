//! Strikes of many, within a bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use super::strikes::{Limit, Strikes};

/// Strikes by what they are counted for.
#[derive(Debug)]
pub(super) struct Table<K> {
    most: usize,
    entries: HashMap<K, Entry>,
}

#[derive(Debug)]
struct Entry {
    strikes: Strikes,
    /// Attempts that are being checked.
    under_way: u32,
}

impl<K: Clone + Eq + Hash> Table<K> {
    pub(super) fn new(most: usize) -> Table<K> {
        Table { most: most.max(1), entries: HashMap::new() }
    }

    /// How long nothing may be tried.
    pub(super) fn wait(&self, key: &K, now: Instant) -> Duration {
        self.entries.get(key).map_or(Duration::ZERO, |entry| entry.strikes.wait(now))
    }

    /// Begins an attempt. `false`: after failures, as many as are free still are under way, or one where none is.
    pub(super) fn enter(&mut self, key: &K, limit: Limit) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return true };
        if entry.under_way >= limit.free.saturating_sub(entry.strikes.count).max(1) {
            return false;
        }
        entry.under_way += 1;
        true
    }

    /// Ends an attempt.
    pub(super) fn leave(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.under_way = entry.under_way.saturating_sub(1);
        }
    }

    /// One more failure.
    pub(super) fn strike(&mut self, key: &K, limit: Limit, now: Instant) {
        if !self.entries.contains_key(key) && self.entries.len() >= self.most {
            self.make_room(limit, now);
        }
        let fresh = Entry { strikes: Strikes::none(now), under_way: 0 };
        self.entries.entry(key.clone()).or_insert(fresh).strikes.strike(limit, now);
    }

    /// Forgets the failures of one.
    pub(super) fn clear(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// Forgets what is long ago; if that is nothing, whoever has failed least: many that failed once must not
    /// drive out the one that is being guessed.
    fn make_room(&mut self, limit: Limit, now: Instant) {
        self.entries.retain(|_, entry| !entry.strikes.is_forgotten(limit, now));
        if self.entries.len() < self.most {
            return;
        }
        let least = self.entries.iter().min_by_key(|(_, entry)| (entry.strikes.count, entry.strikes.last));
        if let Some(least) = least.map(|(key, _)| key.clone()) {
            self.entries.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        free: 2,
        first: Duration::from_secs(10),
        longest: Duration::from_secs(60),
        forget: Duration::from_secs(600),
    };

    #[test]
    fn many_that_fail_once_do_not_drive_out_one_that_is_guessed() {
        let now = Instant::now();
        let mut table = Table::new(10);
        for _ in 0..4 {
            table.strike(&0, LIMIT, now);
        }
        for key in 1..1000 {
            table.strike(&key, LIMIT, now + Duration::from_millis(key));
            assert!(table.entries.len() <= 10);
        }
        assert_eq!(table.wait(&0, now), Duration::from_secs(40));
        // What is long ago goes first.
        table.strike(&1000, LIMIT, now + LIMIT.forget);
        assert!(!table.entries.contains_key(&0));
    }

    #[test]
    fn whoever_has_failed_is_checked_a_few_at_a_time() {
        let now = Instant::now();
        let limit = Limit { free: 3, ..LIMIT };
        let mut table = Table::new(10);
        assert!((0..100).all(|_| table.enter(&0, limit)));
        table.strike(&0, limit, now);
        assert!(table.enter(&0, limit) && table.enter(&0, limit));
        assert!(!table.enter(&0, limit));
        table.leave(&0);
        assert!(table.enter(&0, limit));
        for _ in 0..10 {
            table.strike(&0, limit, now);
            table.leave(&0);
        }
        assert!(table.enter(&0, limit));
        assert!(!table.enter(&0, limit));
        table.clear(&0);
        assert!(table.enter(&0, limit) && table.enter(&0, limit));
    }
}
