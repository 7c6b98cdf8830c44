//! A moment, as documents write it.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in whole seconds of UTC. Written as RFC 3339 (`2026-01-31T12:00:00Z`); read with any offset and
/// any fraction, which is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
// One more than the seconds since 1970, so that an absent moment takes no room of its own.
pub struct Timestamp(NonZeroU64);

impl Default for Timestamp {
    fn default() -> Timestamp {
        Timestamp(NonZeroU64::MIN)
    }
}

/// The last moment that RFC 3339 can write.
const LATEST: i64 = 253_402_300_799;

impl Timestamp {
    /// So many seconds after 1970 began, cut to the years 1970 to 9999.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Timestamp {
        let seconds = seconds.clamp(0, LATEST).unsigned_abs();
        Timestamp(NonZeroU64::MIN.saturating_add(seconds))
    }

    /// Now, by the machine's clock.
    #[must_use]
    pub fn now() -> Timestamp {
        Timestamp::of(SystemTime::now())
    }

    /// What a clock shows.
    #[must_use]
    pub fn of(clock: SystemTime) -> Timestamp {
        let seconds = clock.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
        Timestamp::from_unix(i64::try_from(seconds).unwrap_or(LATEST))
    }

    /// Seconds since 1970 began.
    #[must_use]
    pub fn unix(self) -> i64 {
        i64::try_from(self.0.get() - 1).unwrap_or(LATEST)
    }

    /// How long before `later` this is; nothing if it is not.
    #[must_use]
    pub fn until(self, later: Timestamp) -> Duration {
        Duration::from_secs(later.0.get().saturating_sub(self.0.get()))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, more: Duration) -> Timestamp {
        Timestamp::from_unix(self.unix().saturating_add_unsigned(more.as_secs()))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, less: Duration) -> Timestamp {
        Timestamp::from_unix(self.unix().saturating_sub_unsigned(less.as_secs()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = OffsetDateTime::from_unix_timestamp(self.unix()).map_err(|_| fmt::Error)?;
        formatter.write_str(&moment.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

/// The text is not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a moment of the form 2026-01-31T12:00:00Z (RFC 3339)")]
pub struct NotATimestamp(String);

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Timestamp, NotATimestamp> {
        let moment = OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| NotATimestamp(text.chars().take(64).collect()))?;
        Ok(Timestamp::from_unix(moment.unix_timestamp()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a moment of the form 2026-01-31T12:00:00Z (RFC 3339)")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_whole_seconds_of_utc() {
        for (given, written) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T13:30:00.999+01:30", "2026-01-31T12:00:00Z"),
            ("1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(given.parse::<Timestamp>().unwrap().to_string(), written);
        }
        for text in ["", "now", "2026-01-31", "2026-13-01T00:00:00Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_absent_moment_takes_no_room() {
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<Timestamp>());
        assert_eq!(Timestamp::default(), Timestamp::from_unix(0));
    }

    #[test]
    fn adding_never_overflows() {
        assert_eq!((Timestamp::from_unix(5) - Duration::MAX).unix(), 0);
        let end = Timestamp::from_unix(i64::MAX) + Duration::MAX;
        assert_eq!(end.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(end.until(Timestamp::from_unix(i64::MIN)), Duration::ZERO);
    }
}
