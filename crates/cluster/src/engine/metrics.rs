//! What the engine counts. The names under which this is shown are the daemon's business.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Is told how long each round took.
pub type RoundObserver = Box<dyn Fn(Duration) + Send + Sync>;

/// Counters of one engine. They only grow, but for [`Metrics::leader_since`].
#[derive(Default)]
pub struct Metrics {
    observer: Option<RoundObserver>,
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

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics that tell `observer` of each round.
    pub fn observed(observer: RoundObserver) -> Metrics {
        Metrics { observer: Some(observer), ..Metrics::default() }
    }

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
        if let Some(observer) = &self.observer {
            observer(took);
        }
    }
}
