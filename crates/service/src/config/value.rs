//! Readers of single values.
//!
//! Each answers the value, or what was [`Expected`] in its place, as a text that fits behind "must be".

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// What a value must be: "a whole number from 1 to 9".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(pub String);

impl Expected {
    /// Of this text.
    pub fn new(text: impl Into<String>) -> Expected {
        Expected(text.into())
    }
}

/// A text that is not shown in logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides this text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for the one use that it has.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "…" })
    }
}

/// Any text.
///
/// # Errors
/// None.
pub fn text(value: &str) -> Result<String, Expected> {
    Ok(value.to_owned())
}

/// Any text, not shown in logs.
///
/// # Errors
/// None.
pub fn secret(value: &str) -> Result<Secret, Expected> {
    Ok(Secret::new(value))
}

/// One of these words.
pub fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&str) -> Result<T, Expected> {
    move |value| {
        let found = words.iter().find(|(word, _)| *word == value.trim()).map(|(_, meaning)| *meaning);
        found.ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Expected(words.join(" or "))
        })
    }
}

/// A truth value in one of the spellings of Go's `strconv.ParseBool`.
///
/// # Errors
/// Another word, such as `yes`.
pub fn boolean(value: &str) -> Result<bool, Expected> {
    match value.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Expected::new("true or false")),
    }
}

/// A whole number in a range.
pub fn integer(range: RangeInclusive<i64>) -> impl Fn(&str) -> Result<i64, Expected> {
    move |value| {
        let number = value.trim().parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| Expected(format!("a whole number from {} to {}", range.start(), range.end())))
    }
}

/// A number of seconds, such as `2` or `0.5`, in a range.
pub fn seconds(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, Expected> {
    move |value| {
        let number: Option<f64> = value.trim().parse().ok();
        let duration = number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
            let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
            Expected(format!("a number of seconds from {least} to {most}"))
        })
    }
}

/// A duration with units, as Go writes it: `30s`, `1m30s`, `1.5h`. A bare number has none and is refused.
pub fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, Expected> {
    move |value| {
        let value = value.trim();
        if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err(Expected(format!("a duration with its unit, such as \"{value}s\"")));
        }
        let duration = parse_duration(value).filter(|duration| range.contains(duration));
        duration.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            Expected(format!("a duration such as \"30s\" or \"1m30s\", from {least:?} to {most:?}"))
        })
    }
}

/// Go's `time.ParseDuration`, without a minus sign.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(unit_at);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let nanoseconds = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        let part = Duration::try_from_secs_f64(number * nanoseconds / 1e9).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(total)
}

/// Items with commas between them. Around each, blanks, quotes and brackets are stripped, so that all of
/// `a,b`, `"a", "b"` and `["a", "b"]` are read. Empty items are dropped.
///
/// # Errors
/// None.
pub fn list(value: &str) -> Result<Vec<String>, Expected> {
    let opening = |c: char| c.is_whitespace() || matches!(c, '[' | '"' | '\'');
    let closing = |c: char| c.is_whitespace() || matches!(c, ']' | '"' | '\'');
    let items = value.split(',').map(|item| item.trim_start_matches(opening).trim_end_matches(closing));
    Ok(items.filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// `key=value` pairs with commas between them, blanks around keys and values stripped. The last value of a
/// key wins. Answers the pairs, and what is none because it has no key or no `=`.
#[must_use]
pub fn metadata(value: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut pairs, mut dropped) = (BTreeMap::new(), Vec::new());
    for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                pairs.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            _ => dropped.push(pair.to_owned()),
        }
    }
    (pairs, dropped)
}

/// A path from the root.
///
/// # Errors
/// A relative path: it would depend on where the daemon was started.
pub fn absolute_path(value: &str) -> Result<PathBuf, Expected> {
    let path = PathBuf::from(value);
    if path.is_absolute() { Ok(path) } else { Err(Expected::new("an absolute path")) }
}
