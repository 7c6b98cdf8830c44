//! How long to wait after a failure: equal jitter, that is, half of a doubling time and a random part of the other
//! half, so that agents that failed together do not come back together.

use std::time::Duration;

use http::StatusCode;
use rand::Rng;

use super::client::CallError;

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

/// After more answers than these in a row that the key is not known, it is asked at a slow beat only.
const UNKNOWN_MOST: u32 = 6;
/// That beat.
const UNKNOWN_WAIT: Duration = Duration::from_secs(3600);

/// How often in a row a server has said that it does not know the agent's key: it was revoked, or the store of the server
/// is another one. Once that is meant, asking often helps nobody.
#[derive(Debug, Default)]
pub(super) struct Unknown(u32);

impl Unknown {
    /// What a server said. Returns how long to wait, once it is meant.
    pub(super) fn heard(&mut self, error: &CallError) -> Option<Duration> {
        let is_unknown = error.status() == Some(StatusCode::UNAUTHORIZED);
        self.0 = if is_unknown { self.0.saturating_add(1) } else { 0 };
        (self.0 > UNKNOWN_MOST).then_some(UNKNOWN_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_known_is_tried_seven_times_and_then_slowly() {
        let refused = |status: StatusCode| CallError::Refused {
            host: String::new(),
            status,
            message: String::new(),
            retry_after: None,
        };
        let mut unknown = Unknown::default();
        let heard: Vec<_> = (0..8).map(|_| unknown.heard(&refused(StatusCode::UNAUTHORIZED))).collect();
        assert!(heard[..6].iter().all(Option::is_none), "{heard:?}");
        assert!(heard[6..].iter().all(|wait| *wait == Some(UNKNOWN_WAIT)), "{heard:?}");
        assert_eq!(unknown.heard(&refused(StatusCode::SERVICE_UNAVAILABLE)), None);
        assert_eq!(unknown.heard(&refused(StatusCode::UNAUTHORIZED)), None);
    }

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
