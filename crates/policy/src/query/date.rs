//! Moments as queries give them: RFC 3339, a day, or counted from another: `now-1d`, `now/d`, `2026-01-31||+1h`.

use std::time::Duration;

use crate::timestamp::Timestamp;

const DAY: u64 = 24 * 3600;

/// The moment that `text` gives, and how long it is: a day for a day, a second for anything else.
pub(super) fn parse(text: &str, now: Timestamp) -> Option<(Timestamp, Duration)> {
    if let Some(offsets) = text.strip_prefix("now") {
        return Some((moved(now, offsets)?, Duration::from_secs(1)));
    }
    if let Some((from, offsets)) = text.split_once("||") {
        return Some((moved(absolute(from)?.0, offsets)?, Duration::from_secs(1)));
    }
    absolute(text)
}

fn absolute(text: &str) -> Option<(Timestamp, Duration)> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some((moment, Duration::from_secs(1)));
    }
    if let Ok(day) = format!("{text}T00:00:00Z").parse::<Timestamp>() {
        return Some((day, Duration::from_secs(DAY)));
    }
    if let Ok(moment) = format!("{text}Z").parse::<Timestamp>() {
        return Some((moment, Duration::from_secs(1)));
    }
    // Milliseconds since 1970, as scripts count.
    let digits = text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    let moment = digits.then(|| text.parse::<i64>().ok()).flatten()?;
    Some((Timestamp::from_unix(moment / 1000), Duration::from_secs(1)))
}

/// Moves a moment by `-1d`, `+2h/d` and the like.
fn moved(mut moment: Timestamp, mut offsets: &str) -> Option<Timestamp> {
    while !offsets.is_empty() {
        let (sign, rest) = offsets.split_at_checked(1)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, rest) = rest.split_at_checked(digits)?;
        let unit = rest.chars().next()?;
        offsets = rest.strip_prefix(unit)?;
        let seconds = seconds(unit)?;
        if sign == "/" {
            if digits > 0 {
                return None;
            }
            let unix = moment.unix();
            // The week begins on Monday; 1970 began on a Thursday.
            let shift = if unit == 'w' { 3 * DAY.cast_signed() } else { 0 };
            moment = Timestamp::from_unix(unix - (unix + shift).rem_euclid(seconds.cast_signed()));
            continue;
        }
        let count: i64 = if digits == 0 { 1 } else { count.parse().ok()? };
        let distance = count.saturating_mul(seconds.cast_signed());
        moment = match sign {
            "-" => Timestamp::from_unix(moment.unix().saturating_sub(distance)),
            "+" => Timestamp::from_unix(moment.unix().saturating_add(distance)),
            _ => return None,
        };
    }
    Some(moment)
}

/// Months and years have no fixed length: they count as 30 and 365 days.
fn seconds(unit: char) -> Option<u64> {
    Some(match unit {
        's' => 1,
        'm' => 60,
        'h' | 'H' => 3600,
        'd' => DAY,
        'w' => 7 * DAY,
        'M' => 30 * DAY,
        'y' => 365 * DAY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        // 2026-01-31T12:34:56Z, a Saturday.
        let now = Timestamp::from_unix(1_769_862_896);
        for (text, expected) in [
            ("now", "2026-01-31T12:34:56Z"),
            ("now-1d", "2026-01-30T12:34:56Z"),
            ("now-15m", "2026-01-31T12:19:56Z"),
            ("now/d", "2026-01-31T00:00:00Z"),
            ("now-1d/d", "2026-01-30T00:00:00Z"),
            ("now/w", "2026-01-26T00:00:00Z"),
            ("now+1h", "2026-01-31T13:34:56Z"),
            ("2026-01-01", "2026-01-01T00:00:00Z"),
            ("2026-01-01T10:00:00", "2026-01-01T10:00:00Z"),
            ("2026-01-01T10:00:00.500+02:00", "2026-01-01T08:00:00Z"),
            ("2026-01-01||+1d", "2026-01-02T00:00:00Z"),
            ("1769862896123", "2026-01-31T12:34:56Z"),
        ] {
            assert_eq!(
                parse(text, now).map(|(moment, _)| moment.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        for text in ["", "yesterday", "now-", "now-1", "now-1q", "now/2d", "nowhere", "now*1d", "2026-13-01"]
        {
            assert_eq!(parse(text, now), None, "{text}");
        }
        assert_eq!(parse("2026-01-01", now).map(|(_, length)| length), Some(Duration::from_secs(86_400)));
    }
}
