//! What the simulated agents saw.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What an acknowledgement was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Policy,
    Action,
}

/// What the simulated agents saw since the last [`Tally::clear`].
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Check-ins that are sent and not answered.
    waiting: AtomicUsize,
    seen: Mutex<Seen>,
    unexpected: Mutex<BTreeMap<String, u64>>,
}

/// Moments at which something came about.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// A policy came, and its revision.
    pub(super) policies: Vec<(u64, Instant)>,
    /// An action came.
    pub(super) actions: Vec<Instant>,
    /// An acknowledgement was answered, and how long that took.
    pub(super) acks: Vec<(Of, Instant, Duration)>,
    /// Check-ins were answered.
    pub(super) checkins: usize,
}

/// A check-in that waits, until this is dropped.
pub(super) struct Waiting<'a>(&'a Tally);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was seen, but for what was unexpected.
    pub(super) fn clear(&self) {
        *self.lock() = Seen::default();
    }

    /// Looks at what was seen.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.lock())
    }

    /// Notes what was seen.
    pub(super) fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.lock());
    }

    /// A check-in is sent.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// How many check-ins wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Something that must not happen.
    pub(super) fn unexpected(&self, what: &str) {
        let mut all = self.unexpected.lock().unwrap_or_else(PoisonError::into_inner);
        // What carries ids or times must not fill the memory.
        let what: String = what.chars().take(200).collect();
        if all.len() < 100 || all.contains_key(&what) {
            *all.entry(what).or_default() += 1;
        }
    }

    /// All that must not happen and did, with how often.
    pub(super) fn all_unexpected(&self) -> BTreeMap<String, u64> {
        self.unexpected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
