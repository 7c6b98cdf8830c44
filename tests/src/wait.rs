//! Waiting for a state, with a bound.

use std::time::{Duration, Instant};

use crate::error::HarnessError;

/// The state is not reached yet; carries what was seen, for the failure message.
#[derive(Debug)]
pub struct NotYet(String);

impl NotYet {
    /// What was seen instead of the wanted state.
    pub fn saw(state: impl Into<String>) -> Self {
        Self(state.into())
    }
}

/// An error while looking is a state like any other: a daemon that restarts refuses connections for a moment.
impl From<HarnessError> for NotYet {
    fn from(error: HarnessError) -> Self {
        Self(error.to_string())
    }
}

/// Looks again and again until `look` finds the wanted state, at most for `bound`.
///
/// Level-triggered: it is the state that counts, not a change of it, so nothing can be missed between two looks.
///
/// # Errors
/// [`HarnessError::TimedOut`] with the last state seen.
pub async fn wait_for<T>(
    what: impl Into<String>,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Result<T, NotYet>,
) -> Result<T, HarnessError> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let last = match look().await {
            Ok(found) => return Ok(found),
            Err(NotYet(last)) => last,
        };
        if started.elapsed() >= bound {
            return Err(HarnessError::TimedOut { what: what.into(), bound, last });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Looks again and again for a whole period: the state must be there each time.
///
/// For what must *not* happen. It ends at the first look that finds another state, so a test that fails fails
/// early.
///
/// # Errors
/// [`HarnessError::Unexpected`] with the state that was seen instead.
pub async fn holds(
    what: impl Into<String>,
    period: Duration,
    mut look: impl AsyncFnMut() -> Result<(), NotYet>,
) -> Result<(), HarnessError> {
    let started = Instant::now();
    loop {
        if let Err(NotYet(state)) = look().await {
            let (what, after) = (what.into(), started.elapsed());
            return Err(HarnessError::Unexpected(format!("{what}: no longer, after {after:?}: {state}")));
        }
        if started.elapsed() >= period {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
