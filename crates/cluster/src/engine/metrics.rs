//! What the engine counts. The names under which this is shown are the daemon's business.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Counters of one engine. They only grow, but for [`Metrics::leader_since`].
#[derive(Debug, Default)]
pub struct Metrics {
    leader_since: AtomicU64,
    /// Placements written.
    pub scheduled: Counter,
    /// Placements taken away.
    pub unscheduled: Counter,
    /// Placements that could not be written.
    pub schedule_failures: Counter,
    /// Placements that could not be taken away.
    pub unschedule_failures: Counter,
    /// Rounds of the reconciler.
    pub rounds: Counter,
    /// Time spent in them, in microseconds.
    pub round_micros: Counter,
    /// Units that had to move because their machine was away.
    pub machine_away: Counter,
    /// Rounds that ended because the store did not do its part.
    pub store_failures: Counter,
    /// Units that are not where they should be, after the last round.
    pub waiting: Gauge,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number that comes and goes.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// When this machine became the leader, in seconds since the epoch; `None` when it is not.
    pub fn leader_since(&self) -> Option<u64> {
        Some(self.leader_since.load(Ordering::Relaxed)).filter(|seconds| *seconds != 0)
    }

    pub(crate) fn lead(&self, leading: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
        self.leader_since.store(if leading { now } else { 0 }, Ordering::Relaxed);
    }

    pub(crate) fn round(&self, took: Duration) {
        self.rounds.add(1);
        self.round_micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}
