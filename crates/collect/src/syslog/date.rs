//! Points in time as senders write them.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use super::cursor::Cursor;
use super::zone::Zone;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time in the form of RFC 3339, all of the text. A blank instead of the `T` is let through, and an offset without
/// a colon.
pub(super) fn rfc3339(text: &str) -> Option<OffsetDateTime> {
    let mut cursor = Cursor::new(text);
    let year = fixed(&mut cursor, 4)?;
    let month = cursor.eat("-").then(|| fixed(&mut cursor, 2))??;
    let day = cursor.eat("-").then(|| fixed(&mut cursor, 2))??;
    if !(cursor.eat("T") || cursor.eat("t") || cursor.eat(" ")) {
        return None;
    }
    let time = clock(&mut cursor)?;
    let offset = offset(cursor.rest())?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    // At the very ends of the calendar there is no such time in UTC.
    PrimitiveDateTime::new(date, time).assume_offset(offset).checked_to_offset(UtcOffset::UTC)
}

/// `Oct 11 22:14:15`, with a year behind the day or without, and with a fraction or without. Nothing is read if it is
/// something else; what follows is not looked at.
pub(super) fn classic(cursor: &mut Cursor<'_>, zone: &Zone, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let mut ahead = *cursor;
    let name = ahead.rest().get(..3)?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    ahead.eat(name);
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    if !ahead.eat(" ") {
        return None;
    }
    ahead.eat(" ");
    let day = u8::try_from(ahead.number(2)?).ok()?;
    if !ahead.eat(" ") {
        return None;
    }
    let year = year(&mut ahead);
    let time = clock(&mut ahead)?;
    let at = |year: i32| {
        let date = Date::from_calendar_date(year, month, day).ok()?;
        zone.at(PrimitiveDateTime::new(date, time))
    };
    let moment = match year {
        Some(year) => at(year)?,
        None => closest(now, at)?,
    };
    *cursor = ahead;
    Some(moment)
}

/// A year with its blank, as some senders write it behind the day.
fn year(cursor: &mut Cursor<'_>) -> Option<i32> {
    let mut ahead = *cursor;
    let year = fixed(&mut ahead, 4)?;
    if !ahead.eat(" ") {
        return None;
    }
    *cursor = ahead;
    i32::try_from(year).ok()
}

/// Of last year, this year and the next the one that makes the time closest to now: what was sent on New Year's Eve
/// and arrives in the new year is of the old one.
fn closest(now: OffsetDateTime, at: impl Fn(i32) -> Option<OffsetDateTime>) -> Option<OffsetDateTime> {
    let distance = |moment: &OffsetDateTime| (*moment - now).abs();
    [-1, 0, 1].iter().filter_map(|step| at(now.year() + step)).min_by_key(distance)
}

/// `22:14:15`, perhaps with a fraction.
fn clock(cursor: &mut Cursor<'_>) -> Option<Time> {
    let hour = fixed(cursor, 2)?;
    let minute = cursor.eat(":").then(|| fixed(cursor, 2))??;
    let second = cursor.eat(":").then(|| fixed(cursor, 2))??;
    let nanosecond = if cursor.eat(".") || cursor.eat(",") { fraction(cursor)? } else { 0 };
    let small = |number: u32| u8::try_from(number).ok();
    // A leap second has no place in the time that engines know: it is told as the second before.
    let second = if second == 60 { 59 } else { second };
    Time::from_hms_nano(small(hour)?, small(minute)?, small(second)?, nanosecond).ok()
}

/// Digits behind the point, as nanoseconds; those beyond them are dropped.
fn fraction(cursor: &mut Cursor<'_>) -> Option<u32> {
    let rest = cursor.rest();
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    if end == 0 {
        return None;
    }
    let digits = &rest[..end];
    cursor.eat(digits);
    let padded = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some(padded.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

fn offset(text: &str) -> Option<UtcOffset> {
    if matches!(text, "Z" | "z") {
        return Some(UtcOffset::UTC);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let mut cursor = Cursor::new(rest);
    let (hours, minutes) = match rest.len() {
        2 => (fixed(&mut cursor, 2)?, 0),
        4 => {
            let number = fixed(&mut cursor, 4)?;
            (number / 100, number % 100)
        }
        5 => (fixed(&mut cursor, 2)?, cursor.eat(":").then(|| fixed(&mut cursor, 2))??),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::try_from((hours * 60 + minutes) * 60).ok()?;
    UtcOffset::from_whole_seconds(sign * seconds).ok()
}

/// An offset from UTC, `+0200`, `-06:00`, `+02` or `Z`.
pub(super) fn offset_of(text: &str) -> Option<UtcOffset> {
    offset(text)
}

/// A number of exactly so many digits, whatever follows.
fn fixed(cursor: &mut Cursor<'_>, digits: usize) -> Option<u32> {
    let text = cursor.rest().get(..digits)?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    cursor.eat(text);
    text.parse().ok()
}

/// The time as engines read it: in UTC, to the millisecond, and finer where the sender was.
pub(crate) fn written(moment: OffsetDateTime) -> String {
    let moment = moment.to_offset(UtcOffset::UTC);
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    let (hour, minute, second) = moment.to_hms();
    let nanosecond = moment.nanosecond();
    let fraction = if nanosecond.is_multiple_of(1_000_000) {
        format!("{:03}", nanosecond / 1_000_000)
    } else if nanosecond.is_multiple_of(1_000) {
        format!("{:06}", nanosecond / 1_000)
    } else {
        format!("{nanosecond:09}")
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn times_of_rfc_3339_are_read() {
        let cases = [
            ("2003-10-11T22:14:15Z", datetime!(2003-10-11 22:14:15 UTC)),
            ("2003-10-11T22:14:15.123456Z", datetime!(2003-10-11 22:14:15.123456 UTC)),
            ("2003-10-11T22:14:15-06:00", datetime!(2003-10-12 04:14:15 UTC)),
            ("2003-08-24T05:14:15.000003-07:00", datetime!(2003-08-24 12:14:15.000003 UTC)),
            ("2003-10-11T22:14:15.1234567891Z", datetime!(2003-10-11 22:14:15.123456789 UTC)),
            ("2016-12-31T23:59:60Z", datetime!(2016-12-31 23:59:59 UTC)),
        ];
        for (text, expected) in cases {
            assert_eq!(rfc3339(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "2003-10-11",
            "2003-13-11T22:14:15Z",
            "2003-10-11T22:14:15",
            "2003-10-11T22:14:15.Z",
            "2003-10-11T22:14:15+99:00",
            "0000-01-01T00:00:00+23:59é",
            "2003-10-11T2é:14:15Z",
        ] {
            assert_eq!(rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_year_that_is_not_told_is_the_closest() {
        let zone = Zone::utc();
        let read = |text: &str, now| classic(&mut Cursor::new(text), &zone, now);
        let january = datetime!(2022-01-01 00:05 UTC);
        assert_eq!(read("Dec 31 23:59:59", january), Some(datetime!(2021-12-31 23:59:59 UTC)));
        let december = datetime!(2021-12-31 23:59 UTC);
        assert_eq!(read("Jan  1 00:00:10", december), Some(datetime!(2022-01-01 0:00:10 UTC)));
        // There is one only in some years.
        assert_eq!(
            read("Feb 29 12:00:00", datetime!(2025-01-10 0:00 UTC)),
            Some(datetime!(2024-02-29 12:00 UTC))
        );
        assert_eq!(read("Feb 29 12:00:00", datetime!(2022-07-10 0:00 UTC)), None);
        assert_eq!(read("Jan 23 2019 14:09:01.5", january), Some(datetime!(2019-01-23 14:09:01.5 UTC)));
    }

    #[test]
    fn times_are_written_as_fine_as_they_are() {
        assert_eq!(written(datetime!(2003-10-11 22:14:15 UTC)), "2003-10-11T22:14:15.000Z");
        assert_eq!(written(datetime!(2003-10-11 22:14:15.000003 +2)), "2003-10-11T20:14:15.000003Z");
        assert_eq!(written(datetime!(2003-10-11 22:14:15.000000003 UTC)), "2003-10-11T22:14:15.000000003Z");
    }
}
