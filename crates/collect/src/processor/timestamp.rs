//! `timestamp`: the time that is written in a field. Layouts are written as Go's: `2006-01-02T15:04:05Z07:00`.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};
use crate::syslog::Zone;

#[derive(Debug)]
struct Timestamp {
    field: FieldPath,
    target: FieldPath,
    layouts: Vec<String>,
    zone: Zone,
    ignore_missing: bool,
    ignore_failure: bool,
}

impl Processor for Timestamp {
    fn run(&self, event: &mut Event) -> Flow {
        let text = match event.get(&self.field).and_then(crate::config::scalar) {
            Some(text) => text,
            None if self.ignore_missing => return Flow::Keep,
            None => return self.fail(event, format!("field {} is not in the event", self.field)),
        };
        let time = self.layouts.iter().find_map(|layout| parse(layout, &text, &self.zone));
        match time.and_then(|time| time.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()) {
            Some(written) => event.put(&self.target, json!(written)),
            None => return self.fail(event, format!("{text:?} fits none of the layouts")),
        }
        Flow::Keep
    }
}

impl Timestamp {
    fn fail(&self, event: &mut Event, problem: String) -> Flow {
        if !self.ignore_failure {
            event.put(&FieldPath::new("error.message"), Value::String(problem));
        }
        Flow::Keep
    }
}

/// What has been read of a time.
struct Parts {
    year: Option<i32>,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    nanosecond: u32,
    afternoon: Option<bool>,
    offset: Option<UtcOffset>,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The layout's elements, those first that others begin with.
const ELEMENTS: [&str; 24] = [
    "2006", "January", "Jan", "Monday", "Mon", "MST", "Z07:00", "Z0700", "-07:00", "-0700", "-07", "01",
    "02", "03", "04", "05", "06", "15", "_2", "PM", "1", "2", "3", "4",
];

/// Reads a text by a layout, `UNIX` and `UNIX_MS` too. A layout without a year means this year.
fn parse(layout: &str, text: &str, zone: &Zone) -> Option<OffsetDateTime> {
    if layout == "UNIX" || layout == "UNIX_MS" {
        let number: f64 = text.trim().parse().ok()?;
        let seconds = if layout == "UNIX" { number } else { number / 1000.0 };
        return OffsetDateTime::UNIX_EPOCH.checked_add(time::Duration::checked_seconds_f64(seconds)?);
    }
    let mut parts = Parts {
        year: None,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        nanosecond: 0,
        afternoon: None,
        offset: None,
    };
    let (mut layout, mut rest) = (layout, text);
    while !layout.is_empty() {
        let fraction = layout.strip_prefix(['.', ',']).filter(|after| after.starts_with(['0', '9']));
        if let Some(after) = fraction {
            rest = parts.fraction(rest)?;
            layout = after.trim_start_matches(['0', '9']);
        } else if let Some(element) = ELEMENTS.iter().find(|element| layout.starts_with(**element)) {
            rest = parts.element(element, rest)?;
            layout = &layout[element.len()..];
            // A fraction of a second is read even where the layout has none.
            if *element == "05" && rest.starts_with(['.', ',']) && !layout.starts_with(['.', ',']) {
                rest = parts.fraction(rest)?;
            }
        } else {
            let letter = layout.chars().next()?;
            rest = rest.strip_prefix(letter)?;
            layout = &layout[letter.len_utf8()..];
        }
    }
    if rest.is_empty() { parts.finish(zone) } else { None }
}

impl Parts {
    fn element<'a>(&mut self, element: &str, text: &'a str) -> Option<&'a str> {
        let text = if element.starts_with('_') { text.trim_start_matches(' ') } else { text };
        let (number, rest) = match element {
            "2006" => digits(text, 4, 4)?,
            "01" | "02" | "03" | "04" | "05" | "06" | "15" => digits(text, 2, 2)?,
            "1" | "2" | "3" | "4" | "_2" => digits(text, 1, 2)?,
            "January" | "Jan" => return self.month(text, element == "Jan"),
            "Monday" | "Mon" => {
                let cut = if element == "Mon" { 3 } else { usize::MAX };
                return DAYS.iter().find_map(|day| text.strip_prefix(&day[..cut.min(day.len())]));
            }
            "PM" => {
                self.afternoon = Some(text.get(..2)?.eq_ignore_ascii_case("pm"));
                return text.get(2..);
            }
            "MST" => {
                let end = text.find(|letter: char| !letter.is_ascii_uppercase()).unwrap_or(text.len());
                return (end >= 3).then(|| &text[end..]);
            }
            _ => return self.zone(element, text),
        };
        let small = u8::try_from(number).ok();
        match element {
            "2006" => self.year = i32::try_from(number).ok(),
            "06" => self.year = Some(2000 + i32::from(small?)),
            "01" | "1" => self.month = small?,
            "02" | "2" | "_2" => self.day = small?,
            "15" | "03" | "3" => self.hour = small?,
            "04" | "4" => self.minute = small?,
            _ => self.second = small?,
        }
        Some(rest)
    }

    fn month<'a>(&mut self, text: &'a str, short: bool) -> Option<&'a str> {
        let name = |month: &'static str| if short { &month[..3] } else { month };
        let (index, rest) = MONTHS
            .iter()
            .enumerate()
            .find_map(|(index, month)| Some((index, text.strip_prefix(name(month))?)))?;
        self.month = u8::try_from(index).ok()? + 1;
        Some(rest)
    }

    fn zone<'a>(&mut self, element: &str, text: &'a str) -> Option<&'a str> {
        if let (true, Some(rest)) = (element.starts_with('Z'), text.strip_prefix('Z')) {
            self.offset = Some(UtcOffset::UTC);
            return Some(rest);
        }
        let sign = match text.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let (hours, rest) = digits(&text[1..], 2, 2)?;
        let (minutes, rest) = match element {
            "-07" => (0, rest),
            _ => digits(rest.strip_prefix(':').unwrap_or(rest), 2, 2)?,
        };
        let seconds = sign * (i32::try_from(hours).ok()? * 3600 + i32::try_from(minutes).ok()? * 60);
        self.offset = Some(UtcOffset::from_whole_seconds(seconds).ok()?);
        Some(rest)
    }

    fn fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let text = text.strip_prefix(['.', ','])?;
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let nine: String = text[..end].chars().chain("000000000".chars()).take(9).collect();
        self.nanosecond = nine.parse().ok()?;
        Some(&text[end..])
    }

    fn finish(self, zone: &Zone) -> Option<OffsetDateTime> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let now = OffsetDateTime::now_utc();
        let date = |year| Date::from_calendar_date(year, Month::try_from(self.month).ok()?, self.day).ok();
        let time = Time::from_hms_nano(hour, self.minute, self.second, self.nanosecond).ok()?;
        let at = |year| {
            let clock = PrimitiveDateTime::new(date(year)?, time);
            self.offset.map(|offset| clock.assume_offset(offset)).or_else(|| zone.at(clock))
        };
        match self.year {
            Some(year) => at(year),
            // A line of December that is read in January is not one of the future.
            None => at(now.year())
                .filter(|time| *time <= now + time::Duration::DAY)
                .or_else(|| at(now.year() - 1)),
        }
    }
}

fn digits(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let end = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    (end >= least).then(|| Some((text[..end].parse().ok()?, &text[end..])))?
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let field = config.text("field")?.ok_or_else(|| config.mistake("field", "is missing"))?;
    let layouts = config.texts("layouts")?;
    if layouts.is_empty() {
        return Err(config.mistake("layouts", "is missing: give a layout, such as 2006-01-02T15:04:05Z07:00"));
    }
    let zone = match config.text("timezone")?.as_deref() {
        None | Some("") => Zone::utc(),
        Some(name) => Zone::named(name).map_err(|error| config.mistake("timezone", error.to_string()))?,
    };
    let timestamp = Timestamp {
        field: FieldPath::new(&field),
        target: FieldPath::new(&config.text("target_field")?.unwrap_or_else(|| "@timestamp".to_owned())),
        layouts,
        zone,
        ignore_missing: config.boolean("ignore_missing", false)?,
        ignore_failure: config.boolean("ignore_failure", false)?,
    };
    for sample in config.texts("test")? {
        if !timestamp.layouts.iter().any(|layout| parse(layout, &sample, &timestamp.zone).is_some()) {
            return Err(config.mistake("test", format!("{sample:?} fits none of the layouts")));
        }
    }
    Ok(Box::new(timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(layout: &str, text: &str) -> Option<String> {
        parse(layout, text, &Zone::utc())?.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()
    }

    #[test]
    fn times_are_read_by_their_layouts() {
        let cases = [
            ("2006-01-02T15:04:05Z07:00", "2024-03-01T12:00:00.5+02:00", "2024-03-01T10:00:00.5Z"),
            ("02/Jan/2006:15:04:05 -0700", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
            ("2006-01-02 15:04:05,999", "2024-12-31 23:59:59,123", "2024-12-31T23:59:59.123Z"),
            ("Mon Jan _2 3:04:05 PM 2006", "Tue Mar  5 1:02:03 PM 2024", "2024-03-05T13:02:03Z"),
            ("2006-01-02 15:04", "2024-07-01 12:00", "2024-07-01T12:00:00Z"),
            ("UNIX", "1700000000", "2023-11-14T22:13:20Z"),
            ("UNIX_MS", "1700000000500", "2023-11-14T22:13:20.5Z"),
        ];
        for (layout, text, expected) in cases {
            assert_eq!(read(layout, text).as_deref(), Some(expected), "{layout} {text}");
        }
        assert_eq!(read("2006-01-02", "2024-13-01"), None);
        assert_eq!(read("2006-01-02", "2024-12-01 rest"), None);
    }
}
