//! The time of day.

use std::fmt::Debug;
use std::time::SystemTime;

use fleet_policy::timestamp::Timestamp;
use tokio::time::Instant;

/// Tells the time of day.
pub trait Clock: Send + Sync + Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::of(SystemTime::now())
    }
}

/// A clock that goes with the runtime's time, which may be paused.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeClock {
    started: Instant,
    at: Timestamp,
}

impl RuntimeClock {
    /// Shows `at` now.
    #[must_use]
    pub fn starting_at(at: Timestamp) -> RuntimeClock {
        RuntimeClock { started: Instant::now(), at }
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        self.at + self.started.elapsed()
    }
}
