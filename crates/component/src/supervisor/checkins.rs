//! Whether a component checks in: decisions alone, with the time given.

use std::time::Duration;

use tokio::time::Instant;

/// So many check-ins in a row may be missed; the next one is too many.
pub(super) const MOST_MISSES: u32 = 2;
/// A zero would be a loop without a pause.
const SHORTEST: Duration = Duration::from_millis(10);

/// The check-ins of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkins {
    interval: Duration,
    next_look: Instant,
    last: Option<Instant>,
    misses: u32,
}

impl Checkins {
    /// One is due in each `interval` from now on.
    pub(super) fn new(interval: Duration, now: Instant) -> Checkins {
        let interval = interval.max(SHORTEST);
        Checkins { interval, next_look: now + interval, last: None, misses: 0 }
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Instant {
        self.next_look
    }

    /// There was one.
    pub(super) fn checked_in(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Returns how many were missed in a row, if it is time to look and another one was.
    pub(super) fn look(&mut self, now: Instant) -> Option<u32> {
        if self.next_look > now {
            return None;
        }
        self.next_look = now + self.interval;
        if self.last.is_some_and(|at| now - at <= self.interval) {
            self.misses = 0;
            return None;
        }
        self.misses = self.misses.saturating_add(1);
        Some(self.misses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_check_in_makes_up_for_those_that_were_missed() {
        let start = Instant::now();
        let mut checkins = Checkins::new(30 * SECOND, start);
        assert_eq!(checkins.look(start + 29 * SECOND), None);
        assert_eq!(checkins.look(start + 30 * SECOND), Some(1));
        assert_eq!(checkins.look(start + 30 * SECOND), None);
        assert_eq!(checkins.look(start + 60 * SECOND), Some(2));
        checkins.checked_in(start + 85 * SECOND);
        assert_eq!(checkins.look(start + 90 * SECOND), None);
        assert_eq!(checkins.look(start + 120 * SECOND), Some(1));
    }

    #[test]
    fn there_is_a_pause_between_two_looks_whatever_the_spec_file_says() {
        let start = Instant::now();
        let mut checkins = Checkins::new(Duration::ZERO, start);
        assert_eq!(checkins.look(start), None);
        assert_eq!(checkins.look(start + SHORTEST), Some(1));
        assert_eq!(checkins.deadline(), start + 2 * SHORTEST);
    }
}
