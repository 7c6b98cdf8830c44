//! Times as documents carry them: RFC 3339 in UTC, whole seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A moment to the second, such as `2026-11-22T05:17:48Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

/// A text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as 2026-11-22T05:17:48Z")]
pub struct TimestampError;

impl Timestamp {
    /// Now, by the machine's clock.
    #[must_use]
    pub fn now() -> Timestamp {
        Timestamp::from(OffsetDateTime::now_utc())
    }

    /// So many seconds after 1970 began.
    ///
    /// # Errors
    /// A year that RFC 3339 cannot write.
    pub fn from_unix(seconds: i64) -> Result<Timestamp, TimestampError> {
        let moment = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| TimestampError)?;
        if (0..=9999).contains(&moment.year()) { Ok(Timestamp(moment)) } else { Err(TimestampError) }
    }

    /// Seconds since 1970 began.
    #[must_use]
    pub fn unix(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// This much later; at the end of time, the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Timestamp {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_unix(self.unix().saturating_add(seconds)).unwrap_or(Timestamp(LAST))
    }

    /// This much earlier; at the beginning of time, the beginning of time.
    #[must_use]
    pub fn before(self, duration: Duration) -> Timestamp {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_unix(self.unix().saturating_sub(seconds)).unwrap_or(Timestamp(FIRST))
    }

    /// The same moment as `rcgen` takes it.
    pub(crate) fn to_date(self) -> OffsetDateTime {
        self.0
    }
}

/// The first second that RFC 3339 can write.
const FIRST: OffsetDateTime = time::macros::datetime!(0000-01-01 00:00:00 UTC);

/// The last second that RFC 3339 can write.
const LAST: OffsetDateTime = time::macros::datetime!(9999-12-31 23:59:59 UTC);

impl From<OffsetDateTime> for Timestamp {
    fn from(moment: OffsetDateTime) -> Timestamp {
        let moment = moment.to_offset(UtcOffset::UTC);
        Timestamp(moment.replace_nanosecond(0).unwrap_or(moment))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
        // An offset may carry a time past the years that can be written.
        Timestamp::from_unix(moment.unix_timestamp())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_offsets_and_fractions_and_writes_utc_seconds() {
        let read = |text: &str| text.parse::<Timestamp>().unwrap().to_string();
        assert_eq!(read("2026-11-22T05:17:48Z"), "2026-11-22T05:17:48Z");
        assert_eq!(read("2026-11-22T07:17:48.987+02:00"), "2026-11-22T05:17:48Z");
        assert!("2026-11-22".parse::<Timestamp>().is_err());
        assert!("9999-12-31T23:59:59-02:00".parse::<Timestamp>().is_err());
    }

    #[test]
    fn time_has_two_ends() {
        let then = Timestamp::from_unix(0).unwrap();
        assert_eq!(then.after(Duration::from_secs(86_400)).to_string(), "1970-01-02T00:00:00Z");
        assert_eq!(then.before(Duration::MAX).to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(then.after(Duration::MAX).to_string(), "9999-12-31T23:59:59Z");
    }

    proptest! {
        #[test]
        fn every_moment_survives_its_text(seconds in -62_167_219_200_i64..=253_402_300_799) {
            let moment = Timestamp::from_unix(seconds).unwrap();
            prop_assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
