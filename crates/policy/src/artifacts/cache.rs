//! Artifacts in memory, up to a bound.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    since: Instant,
    /// When it was used last, by a count of uses.
    used: u64,
}

/// What was loaded. Over the bound, what was not used for longest goes.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<String, Entry>,
    size: usize,
    most: usize,
    keep: Duration,
    uses: u64,
}

impl Cache {
    pub(super) fn new(most: usize, keep: Duration) -> Cache {
        Cache { entries: HashMap::new(), size: 0, most, keep, uses: 0 }
    }

    pub(super) fn get(&mut self, id: &str) -> Option<Bytes> {
        self.uses += 1;
        let entry = self.entries.get_mut(id)?;
        if entry.since.elapsed() > self.keep {
            self.remove(id);
            return None;
        }
        entry.used = self.uses;
        Some(entry.bytes.clone())
    }

    /// Keeps what fits.
    pub(super) fn insert(&mut self, id: &str, bytes: &Bytes) {
        self.remove(id);
        if bytes.len() > self.most {
            return;
        }
        // There are few of them: looking through all is quick.
        while self.size + bytes.len() > self.most {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
        self.size += bytes.len();
        let entry = Entry { bytes: bytes.clone(), since: Instant::now(), used: self.uses };
        self.entries.insert(id.to_owned(), entry);
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(entry) = self.entries.remove(id) {
            self.size -= entry.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(size: usize) -> Bytes {
        vec![7; size].into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_for_longest_goes() {
        let mut cache = Cache::new(100, Duration::from_secs(60));
        cache.insert("a", &bytes(40));
        cache.insert("b", &bytes(40));
        assert!(cache.get("a").is_some());
        cache.insert("c", &bytes(40));
        assert!(cache.get("b").is_none());
        assert!(cache.get("a").is_some() && cache.get("c").is_some());
        cache.insert("d", &bytes(101));
        assert!(cache.get("d").is_none() && cache.get("a").is_some());
        cache.insert("e", &bytes(100));
        assert_eq!((cache.entries.len(), cache.size), (1, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_for_ever() {
        let mut cache = Cache::new(100, Duration::from_secs(60));
        cache.insert("a", &bytes(40));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(cache.get("a").is_none());
        assert_eq!(cache.size, 0);
    }
}
