//! What was read, the latest used of it, up to a bound.

use std::collections::HashMap;

#[derive(Debug)]
struct Entry<T> {
    value: T,
    size: usize,
    /// When it was used last, by a count of uses.
    used: u64,
}

/// Values by keys. Over the bound, what was not used for longest goes.
#[derive(Debug)]
pub(super) struct Cache<T> {
    entries: HashMap<String, Entry<T>>,
    size: usize,
    most: usize,
    uses: u64,
}

impl<T: Clone> Cache<T> {
    /// One that holds `most` bytes.
    pub(super) fn new(most: usize) -> Cache<T> {
        Cache { entries: HashMap::new(), size: 0, most, uses: 0 }
    }

    pub(super) fn get(&mut self, key: &str) -> Option<T> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.value.clone())
    }

    /// Keeps a value that takes about `size` bytes, if it fits.
    pub(super) fn insert(&mut self, key: String, value: T, size: usize) {
        self.remove(&key);
        if size > self.most {
            return;
        }
        // There are at most some thousands: looking through all is quick beside what was done to have them.
        while self.size + size > self.most {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
        self.uses += 1;
        self.size += size;
        self.entries.insert(key, Entry { value, size, used: self.uses });
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.size -= entry.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut cache = Cache::new(100);
        cache.insert("a".to_owned(), 1, 40);
        cache.insert("b".to_owned(), 2, 40);
        assert_eq!(cache.get("a"), Some(1));
        cache.insert("c".to_owned(), 3, 40);
        assert_eq!((cache.get("a"), cache.get("b"), cache.get("c")), (Some(1), None, Some(3)));
        cache.insert("d".to_owned(), 4, 101);
        assert_eq!((cache.get("d"), cache.size), (None, 80));
        cache.insert("c".to_owned(), 5, 100);
        assert_eq!((cache.entries.len(), cache.size, cache.get("c")), (1, 100, Some(5)));
    }
}
