//! A short memory of passwords that were verified.
//!
//! It holds no password, only a tag: an HMAC of user, password and stored hash with a key that lives as long as
//! the process. A user whose password changes has another stored hash, so what was remembered fits no more.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring::hmac;
use tokio::time::Instant;

use crate::random::{self, RandomError};

/// What stands for a verified password.
pub(super) type Tag = [u8; 32];

pub(super) struct Cache {
    key: hmac::Key,
    remember: Duration,
    most: NonZeroUsize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    until: HashMap<Tag, Instant>,
    /// Tags in the order of their coming, which is that of their ends.
    order: VecDeque<(Instant, Tag)>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    pub(super) fn new(remember: Duration, most: NonZeroUsize) -> Result<Cache, RandomError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()?);
        Ok(Cache { key, remember, most, entries: Mutex::default() })
    }

    pub(super) fn tag(&self, user: &str, password: &str, stored: &str) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user, password, stored] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    pub(super) fn contains(&self, tag: &Tag) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.until.get(tag).is_some_and(|until| Instant::now() < *until)
    }

    /// Remembers it from now on; the oldest gives way.
    pub(super) fn insert(&self, tag: Tag) {
        let now = Instant::now();
        let until = now + self.remember;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Entries { until: ends, order } = &mut *entries;
        while let Some((end, oldest)) = order.front().copied() {
            if now < end && order.len() < self.most.get() {
                break;
            }
            order.pop_front();
            // One that came again meanwhile has a later end, and another place in the order.
            if ends.get(&oldest) == Some(&end) {
                ends.remove(&oldest);
            }
        }
        ends.insert(tag, until);
        order.push_back((until, tag));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(most: usize) -> Cache {
        Cache::new(Duration::from_secs(60), NonZeroUsize::new(most).unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_forgotten_and_what_comes_again_is_not() {
        let cache = cache(10);
        let (a, b) = (cache.tag("a", "x", "h"), cache.tag("b", "x", "h"));
        cache.insert(a);
        cache.insert(b);
        tokio::time::advance(Duration::from_secs(50)).await;
        cache.insert(a);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(cache.contains(&a));
        assert!(!cache.contains(&b));
        cache.insert(b);
        assert_eq!(cache.entries.lock().unwrap().order.len(), 2);
        assert!(cache.contains(&a) && cache.contains(&b));
    }

    #[tokio::test(start_paused = true)]
    async fn it_holds_no_more_than_its_bound() {
        let cache = cache(3);
        let tags: Vec<Tag> = (0..10).map(|n| cache.tag("u", &n.to_string(), "h")).collect();
        for tag in &tags {
            cache.insert(*tag);
        }
        assert_eq!(cache.entries.lock().unwrap().until.len(), 3);
        let kept: Vec<bool> = tags.iter().map(|tag| cache.contains(tag)).collect();
        assert_eq!(kept, [false, false, false, false, false, false, false, true, true, true]);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let cache = cache(3);
        assert_ne!(cache.tag("ab", "c", "h"), cache.tag("a", "bc", "h"));
        assert_ne!(cache.tag("a", "b", "h"), cache.tag("a", "b", "i"));
    }
}
