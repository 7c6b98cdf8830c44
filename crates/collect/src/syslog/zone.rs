//! What a clock without a zone means.

use jiff::civil;
use jiff::tz::TimeZone;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use super::date::offset_of;

/// A time zone: the machine's, one by its name, or an offset.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

/// A zone that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time zone: use Local, a name such as Europe/Berlin, or an offset such as +0200")]
pub struct BadZone(String);

impl Zone {
    /// Of this machine, as it is now. A machine that does not say is taken to keep UTC.
    #[must_use]
    pub fn local() -> Zone {
        Zone(TimeZone::system())
    }

    /// UTC.
    #[must_use]
    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }

    /// `Local`, an IANA name, or an offset. Names are looked up in the machine's database.
    ///
    /// # Errors
    /// [`BadZone`].
    pub fn named(name: &str) -> Result<Zone, BadZone> {
        let wrong = || BadZone(name.to_owned());
        if name.is_empty() || name.eq_ignore_ascii_case("local") {
            return Ok(Zone::local());
        }
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Zone::utc());
        }
        if let Some(offset) = offset_of(name) {
            let offset = jiff::tz::Offset::from_seconds(offset.whole_seconds()).map_err(|_| wrong())?;
            return Ok(Zone(TimeZone::fixed(offset)));
        }
        TimeZone::get(name).map(Zone).map_err(|_| wrong())
    }

    /// The moment at which a clock in this zone shows this. A time that summer time skips is told as late as it
    /// would have been; of one that comes twice, the first is meant.
    pub(crate) fn at(&self, clock: PrimitiveDateTime) -> Option<OffsetDateTime> {
        let small = |number: u8| i8::try_from(number).ok();
        let civil = civil::DateTime::new(
            i16::try_from(clock.year()).ok()?,
            small(u8::from(clock.month()))?,
            small(clock.day())?,
            small(clock.hour())?,
            small(clock.minute())?,
            small(clock.second())?,
            i32::try_from(clock.nanosecond()).ok()?,
        )
        .ok()?;
        let moment = self.0.to_ambiguous_timestamp(civil).compatible().ok()?;
        OffsetDateTime::from_unix_timestamp_nanos(moment.as_nanosecond()).ok()
    }

    /// How far this zone is from UTC at a moment.
    #[must_use]
    pub fn offset(&self, moment: OffsetDateTime) -> UtcOffset {
        let offset =
            jiff::Timestamp::from_second(moment.unix_timestamp()).map(|at| self.0.to_offset(at).seconds());
        offset.ok().and_then(|seconds| UtcOffset::from_whole_seconds(seconds).ok()).unwrap_or(UtcOffset::UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn zones_have_names_and_offsets() {
        let noon = datetime!(2024-07-01 12:00);
        let at = |name: &str| Zone::named(name).unwrap().at(noon).unwrap();
        assert_eq!(at("Europe/Berlin"), datetime!(2024-07-01 10:00 UTC));
        assert_eq!(at("+0530"), datetime!(2024-07-01 06:30 UTC));
        assert_eq!(at("-03:00"), datetime!(2024-07-01 15:00 UTC));
        assert_eq!(at("UTC"), datetime!(2024-07-01 12:00 UTC));
        assert!(Zone::named("Local").is_ok());
        let error = Zone::named("Mars/Olympus").unwrap_err().to_string();
        assert!(error.starts_with("\"Mars/Olympus\" is not a time zone: use Local"), "{error}");
    }

    #[test]
    fn hours_that_are_skipped_or_repeated_have_a_moment() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.at(datetime!(2024-03-31 02:30)).unwrap(), datetime!(2024-03-31 01:30 UTC));
        assert_eq!(berlin.at(datetime!(2024-10-27 02:30)).unwrap(), datetime!(2024-10-27 00:30 UTC));
        assert_eq!(berlin.offset(datetime!(2024-07-01 12:00 UTC)).whole_hours(), 2);
    }
}
