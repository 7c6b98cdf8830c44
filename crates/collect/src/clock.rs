//! The time of day, and the time that passes.

use std::sync::OnceLock;
use std::time::Instant;

use time::OffsetDateTime;

/// A day.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// Milliseconds that pass, whatever is done to the time of day meanwhile: what is due in a second is due in a second.
/// They mean nothing to another process.
pub(crate) fn steady_millis() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    // Not 0: who subtracts a little must not come out before the beginning.
    let passed = BEGAN.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(DAY_MS)
}

/// A time of day as documents have it, `2026-11-22T11:29:36.123Z`.
#[must_use]
pub fn timestamp(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond(),
    )
}

/// [`timestamp`] of now.
#[must_use]
pub fn now() -> String {
    timestamp(OffsetDateTime::now_utc())
}
