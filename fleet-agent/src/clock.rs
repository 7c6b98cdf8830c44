//! The time of day, as the protocol writes it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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
