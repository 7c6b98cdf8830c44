//! Readers of single values of a document.
//!
//! They see no empty text, which is as good as none. Each answers the value, or what was [`Expected`] in its
//! place, as a text that fits behind "must be".

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::tree::Scalar;
use crate::config::value::{self, Expected, Secret};

/// The longest span of time, as in Go: 292 years, in nanoseconds. What is added to a clock must stay small
/// enough for it.
pub const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// Any text.
///
/// # Errors
/// None.
pub fn text(scalar: &Scalar) -> Result<String, Expected> {
    Ok(scalar.text().to_owned())
}

/// Any text, which is not shown.
///
/// # Errors
/// None.
pub fn secret(scalar: &Scalar) -> Result<Secret, Expected> {
    Ok(Secret::new(scalar.text()))
}

/// A path; a relative one counts from the working directory.
///
/// # Errors
/// A text that no path can be.
pub fn path(scalar: &Scalar) -> Result<PathBuf, Expected> {
    if scalar.text().contains('\0') {
        return Err(Expected::new("a path without NUL bytes"));
    }
    Ok(PathBuf::from(scalar.text()))
}

/// A truth value: `true`, `yes` or `on`, or their opposites, in any case.
///
/// # Errors
/// Another word.
pub fn boolean(scalar: &Scalar) -> Result<bool, Expected> {
    match scalar.text().trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(Expected::new("true or false")),
    }
}

/// One of these words, in any case.
pub fn one_of<T: Clone>(words: &[(&str, T)]) -> impl Fn(&Scalar) -> Result<T, Expected> {
    move |scalar| {
        let given = scalar.text().trim();
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(given));
        found.map(|(_, meaning)| meaning.clone()).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Expected(match words.split_last() {
                Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
                _ => words.join(""),
            })
        })
    }
}

/// A whole number in a range, also in quotes. `0600` and `0o600` are octal, `0x1f` and `0b11` what they are
/// elsewhere.
pub fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&Scalar) -> Result<T, Expected>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |scalar| {
        let number = parse_integer(scalar.text()).and_then(|number| T::try_from(number).ok());
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| Expected(format!("a whole number from {} to {}", range.start(), range.end())))
    }
}

fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    let prefixes = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)];
    let prefixed = prefixes.iter().find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, *radix)));
    let (digits, radix) = match prefixed {
        Some(prefixed) => prefixed,
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits.as_str(), 10),
    };
    // A second sign would be taken by the parser.
    if !digits.starts_with(|letter: char| letter.is_ascii_hexdigit()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -number } else { number }).ok()
}

/// A number with a fraction in a range.
pub fn number(range: RangeInclusive<f64>) -> impl Fn(&Scalar) -> Result<f64, Expected> {
    move |scalar| {
        let number = scalar.text().trim().parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| Expected(format!("a number from {} to {}", range.start(), range.end())))
    }
}

/// A span of time: `250ms`, `5m`, `1h30m`, or a bare number of seconds. A negative one is as good as none.
///
/// # Errors
/// Another unit (there are no days), or a number in quotes, where nobody can tell whether a unit is missing.
pub fn duration(scalar: &Scalar) -> Result<Duration, Expected> {
    let text = scalar.text().trim();
    let magnitude = text.strip_prefix('-');
    let digits = magnitude.unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number && scalar.is_quoted() && digits != "0" {
        return Err(Expected(format!(
            "a duration with its unit, such as {digits}s, or a number without quotes"
        )));
    }
    let parsed = if is_number {
        digits.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    } else {
        value::parse_duration(digits)
    };
    match (parsed.filter(|duration| *duration <= LONGEST), magnitude) {
        (Some(_), Some(_)) => Ok(Duration::ZERO),
        (Some(duration), None) => Ok(duration),
        (None, _) => Err(Expected::new("a duration such as 250ms, 5m or 1h30m, or a number of seconds")),
    }
}
