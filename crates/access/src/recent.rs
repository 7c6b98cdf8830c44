//! A short memory of what was read from the store.
//!
//! What this server changes it forgets at once; what others change is seen here when the memory ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At most `most` values, for at most `keep`.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    keep: Duration,
    most: usize,
    entries: Mutex<Entries<T>>,
}

#[derive(Debug)]
struct Entries<T> {
    values: HashMap<String, (Instant, Arc<T>)>,
    /// Counts what was forgotten on purpose.
    changes: u64,
}

/// When somebody began to read: what was read before a change is not remembered after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun(u64);

impl<T> Recent<T> {
    pub(crate) fn new(keep: Duration, most: usize) -> Recent<T> {
        let entries = Mutex::new(Entries { values: HashMap::new(), changes: 0 });
        Recent { keep, most: most.max(1), entries }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered; or the beginning of reading it.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<T>, Begun> {
        let entries = self.entries();
        match entries.values.get(id) {
            Some((until, value)) if Instant::now() < *until => Ok(Arc::clone(value)),
            _ => Err(Begun(entries.changes)),
        }
    }

    /// Remembers what was read, unless something was changed since.
    pub(crate) fn insert(&self, begun: Begun, id: &str, value: &Arc<T>) {
        let now = Instant::now();
        let mut entries = self.entries();
        if entries.changes != begun.0 {
            return;
        }
        if entries.values.len() >= self.most {
            entries.values.retain(|_, (until, _)| now < *until);
        }
        if entries.values.len() >= self.most {
            // All are in use: reading them again is cheaper than keeping an order of them.
            entries.values.clear();
        }
        entries.values.insert(id.to_owned(), (now + self.keep, Arc::clone(value)));
    }

    /// Forgets it: it was changed.
    pub(crate) fn forget(&self, id: &str) {
        let mut entries = self.entries();
        entries.changes += 1;
        entries.values.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(recent: &Recent<u8>, id: &str, value: u8) {
        let begun = recent.get(id).unwrap_err();
        recent.insert(begun, id, &Arc::new(value));
    }

    #[tokio::test(start_paused = true)]
    async fn it_forgets_what_is_old_and_what_was_changed() {
        let recent = Recent::new(Duration::from_secs(5), 10);
        insert(&recent, "a", 1);
        insert(&recent, "b", 2);
        assert_eq!(*recent.get("a").unwrap(), 1);
        recent.forget("a");
        assert!(recent.get("a").is_err());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(recent.get("b").is_err());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let recent = Recent::new(Duration::from_secs(5), 10);
        let begun = recent.get("a").unwrap_err();
        recent.forget("a");
        recent.insert(begun, "a", &Arc::new(1));
        assert!(recent.get("a").is_err());
    }

    #[test]
    fn it_holds_no_more_than_its_bound() {
        let recent = Recent::new(Duration::from_secs(5), 3);
        for number in 0..10 {
            insert(&recent, &number.to_string(), number);
            assert!(recent.entries().values.len() <= 3);
            assert_eq!(*recent.get(&number.to_string()).unwrap(), number);
        }
    }
}
