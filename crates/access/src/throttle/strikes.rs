//! Failures of one name or address, and what follows from them. No clock of its own.

use std::time::Duration;

use tokio::time::Instant;

/// How many failures are free, and how long is waited then.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// So many failures cost nothing.
    pub free: u32,
    /// The wait after the last of them; twice as long after each further one.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// After so long without a failure all are forgotten.
    pub forget: Duration,
}

/// Failures, and until when nothing may be tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strikes {
    pub(super) count: u32,
    pub(super) last: Instant,
    until: Instant,
}

impl Strikes {
    pub(super) fn none(now: Instant) -> Strikes {
        Strikes { count: 0, last: now, until: now }
    }

    /// How long nothing may be tried.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }

    /// Whether it is as if nothing had been.
    pub(super) fn is_forgotten(&self, limit: Limit, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= limit.forget
    }

    /// One more.
    pub(super) fn strike(&mut self, limit: Limit, now: Instant) {
        if self.is_forgotten(limit, now) {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
        if let Some(over) = self.count.checked_sub(limit.free) {
            let factor = 1_u32.checked_shl(over).unwrap_or(u32::MAX);
            self.until = now + limit.first.saturating_mul(factor).min(limit.longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Limit = Limit {
        free: 3,
        first: Duration::from_secs(1),
        longest: Duration::from_secs(60),
        forget: Duration::from_secs(600),
    };

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let now = Instant::now();
        let mut strikes = Strikes::none(now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            strikes.strike(LIMIT, now);
            waits.push(strikes.wait(now).as_secs());
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        for _ in 0..100 {
            strikes.strike(LIMIT, now);
        }
        assert_eq!(strikes.wait(now).as_secs(), 60);
        assert_eq!(strikes.wait(now + Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let now = Instant::now();
        let mut strikes = Strikes::none(now);
        for _ in 0..20 {
            strikes.strike(LIMIT, now);
        }
        let later = now + LIMIT.forget;
        assert!(strikes.is_forgotten(LIMIT, later));
        strikes.strike(LIMIT, later);
        assert_eq!((strikes.count, strikes.wait(later)), (1, Duration::ZERO));
    }

    proptest! {
        /// Whoever tries whenever it is allowed gets no more than the free attempts and one for each wait.
        #[test]
        fn guesses_are_bounded(pauses in prop::collection::vec(0_u64..900, 1..200)) {
            let begin = Instant::now();
            let (mut now, mut strikes, mut tried) = (begin, Strikes::none(begin), 0_u64);
            for pause in pauses {
                now += Duration::from_secs(pause.min(LIMIT.forget.as_secs() - 1));
                if strikes.wait(now).is_zero() {
                    tried += 1;
                    strikes.strike(LIMIT, now);
                }
            }
            // The waits that double are seven: 1, 2, 4 … 64, which is cut to 60.
            let at_most = u64::from(LIMIT.free) + 7 + (now - begin).as_secs() / LIMIT.longest.as_secs();
            prop_assert!(tried <= at_most, "{tried} of {at_most}");
        }
    }
}
