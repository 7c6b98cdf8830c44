//! The time of day, as the protocol writes it.

use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use tokio::time::Instant;

/// A time of day that somebody told, and that goes on by itself: what is done to the clock of this machine meanwhile
/// does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    at: Instant,
    seconds: i64,
}

impl Reading {
    /// A server's, as the header `date` of its answer says; this machine's, where that says nothing.
    #[must_use]
    pub fn of(date: Option<&str>) -> Reading {
        let told = date.and_then(|text| OffsetDateTime::parse(text, &Rfc2822).ok());
        Reading { at: Instant::now(), seconds: told.map_or_else(now_seconds, OffsetDateTime::unix_timestamp) }
    }

    /// What it is now, in seconds since 1970.
    #[must_use]
    pub fn now(self) -> i64 {
        self.seconds.saturating_add(i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX))
    }
}

/// Now, in seconds since 1970.
#[must_use]
pub fn now_seconds() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Now, RFC 3339, to the millisecond.
#[must_use]
pub fn now_text() -> String {
    let now = OffsetDateTime::now_utc();
    let millisecond = now.nanosecond() / 1_000_000 * 1_000_000;
    now.replace_nanosecond(millisecond).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

/// The seconds since 1970 of a time in RFC 3339; `None`: it is none.
#[must_use]
pub fn seconds_of(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// A moment in RFC 3339.
#[must_use]
pub fn text_of(seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_server_goes_on_by_itself() {
        let reading = Reading::of(Some("Sun, 22 Nov 2026 18:30:16 GMT"));
        assert_eq!(text_of(reading.now()), "2026-11-22T18:30:16Z");
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(text_of(reading.now()), "2026-11-22T18:31:46Z");
        for nothing in [None, Some("tomorrow")] {
            assert!((Reading::of(nothing).now() - now_seconds()).abs() <= 1);
        }
    }
}
