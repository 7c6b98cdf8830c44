//! One client's way to the store, and what may happen on that way.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

/// How long a client waits for an answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Over an unsteady link batches are sent in portions of up to this many writes.
const PORTION_MAX: usize = 4;

/// How the store can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It answers.
    Up,
    /// Every request is refused at once.
    Refusing,
    /// Nothing comes back; requests under way may still arrive.
    Silent,
}

/// What goes wrong now and then. Shares are between 0 and 1.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How long a request, and an answer, are on their way.
    pub latency: RangeInclusive<Duration>,
    /// The share of requests that do not arrive.
    pub lost_requests: f64,
    /// The share of answers that do not arrive: what was asked for is done.
    pub lost_answers: f64,
    /// The share of lost writes that arrive after all, up to [`Faults::delay_max`] later.
    pub delayed_writes: f64,
    /// See [`Faults::delayed_writes`].
    pub delay_max: Duration,
    /// The share of deliveries after which a watch fails.
    pub failing_watches: f64,
}

impl Default for Faults {
    /// None, and no time passes on the way.
    fn default() -> Faults {
        Faults {
            latency: Duration::ZERO..=Duration::ZERO,
            lost_requests: 0.0,
            lost_answers: 0.0,
            delayed_writes: 0.0,
            delay_max: Duration::ZERO,
            failing_watches: 0.0,
        }
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was refused: certainly not done.
    Refused,
    /// It did not arrive, or has not yet.
    Request,
    /// It arrived, but its answer did not.
    Answer,
}

/// A client's way to the store. Clones are the same way.
#[derive(Clone, Debug)]
pub struct Link {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    condition: watch::Sender<Condition>,
    faults: Mutex<Faults>,
    random: Mutex<StdRng>,
    requests: AtomicU64,
}

impl Link {
    /// A way that is up and has no faults.
    pub fn new(seed: u64) -> Link {
        Link {
            shared: Arc::new(Shared {
                condition: watch::Sender::new(Condition::Up),
                faults: Mutex::default(),
                random: Mutex::new(StdRng::seed_from_u64(seed)),
                requests: AtomicU64::new(0),
            }),
        }
    }

    /// Cuts it, or mends it.
    pub fn set(&self, condition: Condition) {
        self.shared.condition.send_replace(condition);
    }

    /// How it is.
    pub fn condition(&self) -> Condition {
        *self.shared.condition.borrow()
    }

    /// Gives it other faults.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults() = faults;
    }

    /// How many requests have been sent.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.shared.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn happens(&self, share: impl FnOnce(&Faults) -> f64) -> bool {
        let share = share(&self.faults());
        share > 0.0 && self.random(|random| random.random_bool(share.min(1.0)))
    }

    /// A request is on its way to the store.
    pub(crate) async fn arrive(&self) -> Result<(), Lost> {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        self.travel().await;
        match self.condition() {
            Condition::Refusing => return Err(Lost::Refused),
            Condition::Up if !self.happens(|faults| faults.lost_requests) => return Ok(()),
            Condition::Up | Condition::Silent => {}
        }
        tokio::time::sleep(REQUEST_TIMEOUT).await;
        Err(Lost::Request)
    }

    /// An answer is on its way back.
    pub(crate) async fn come_back(&self) -> Result<(), Lost> {
        self.travel().await;
        if self.condition() == Condition::Up && !self.happens(|faults| faults.lost_answers) {
            return Ok(());
        }
        tokio::time::sleep(REQUEST_TIMEOUT).await;
        Err(Lost::Answer)
    }

    /// How many writes of a batch go with the next request: when some get lost, not all do.
    pub(crate) fn portion(&self) -> usize {
        let faults = self.faults();
        let steady = faults.lost_requests == 0.0 && faults.lost_answers == 0.0;
        drop(faults);
        if steady { usize::MAX } else { self.random(|random| random.random_range(1..=PORTION_MAX)) }
    }

    /// How long a lost write is still on its way; `None`: it is lost for good.
    pub(crate) fn delay(&self) -> Option<Duration> {
        let most = self.faults().delay_max;
        self.happens(|faults| faults.delayed_writes)
            .then(|| most.mul_f64(self.random(|random| random.random::<f64>())))
    }

    /// Whether a watch fails now.
    pub(crate) fn breaks_watch(&self) -> bool {
        self.happens(|faults| faults.failing_watches)
    }

    /// Lets the time pass that a message takes.
    pub(crate) async fn travel(&self) {
        let latency = self.faults().latency.clone();
        if *latency.end() > Duration::ZERO {
            let time = self.random(|random| random.random_range(latency));
            tokio::time::sleep(time).await;
        }
    }

    /// Waits until it is up.
    pub(crate) async fn up(&self) {
        let mut condition = self.shared.condition.subscribe();
        // The sender lives as long as this link.
        let _ = condition.wait_for(|condition| *condition == Condition::Up).await;
    }

    /// Waits until it is not up.
    pub(crate) async fn down(&self) {
        let mut condition = self.shared.condition.subscribe();
        let _ = condition.wait_for(|condition| *condition != Condition::Up).await;
    }
}
