//! Waiting for what is measured.

use std::time::{Duration, Instant};

use crate::error::BenchError;

/// What a look found.
pub(crate) enum Look<T> {
    /// What was waited for.
    Found(T),
    /// Not yet: what was seen instead.
    NotYet(String),
}

/// Looks again and again, with `pause` between two looks, until something is found; at most for `bound`.
///
/// The pause is the resolution of what is measured: a figure is late by one look and one pause at most.
pub(crate) async fn until<T>(
    what: &str,
    bound: Duration,
    pause: Duration,
    mut look: impl AsyncFnMut() -> Result<Look<T>, BenchError>,
) -> Result<T, BenchError> {
    let started = Instant::now();
    loop {
        let last = match look().await? {
            Look::Found(found) => return Ok(found),
            Look::NotYet(last) => last,
        };
        if started.elapsed() >= bound {
            return Err(BenchError::TimedOut { what: what.to_owned(), bound, last });
        }
        tokio::time::sleep(pause).await;
    }
}
