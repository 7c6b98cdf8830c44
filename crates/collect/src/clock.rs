//! The time of day.

use time::OffsetDateTime;

/// Milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
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
