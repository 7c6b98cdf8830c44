//! How long to wait after a failure: equal jitter, that is, half of a doubling time and a random part of the other
//! half, so that agents that failed together do not come back together.

use std::time::Duration;

use rand::Rng;

/// Times that double from `least` to `most`.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `least`.
    #[must_use]
    pub fn new(least: Duration, most: Duration) -> Backoff {
        Backoff { least, most, next: least }
    }

    /// Begins again.
    pub fn reset(&mut self) {
        self.next = self.least;
    }

    /// The next time to wait.
    pub fn wait(&mut self) -> Duration {
        let whole = self.next.min(self.most);
        self.next = whole.saturating_mul(2).min(self.most);
        whole / 2 + rand::rng().random_range(Duration::ZERO..=whole / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(60), Duration::from_secs(600));
        for whole in [60, 120, 240, 480, 600, 600] {
            let wait = backoff.wait();
            assert!(wait >= Duration::from_secs(whole / 2) && wait <= Duration::from_secs(whole), "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_secs(60));
    }
}
