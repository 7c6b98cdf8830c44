//! The header `Range` (RFC 9110, 14): one range of bytes.

use std::ops::Range;

use http::HeaderValue;
use http::header::GetAll;

/// There are no such bytes, or several ranges are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotSatisfiable;

/// The bytes that are asked for. `None`: all of them, also when the header makes no sense, as the RFC has it.
pub(super) fn of(values: &GetAll<'_, HeaderValue>, size: u64) -> Result<Option<Range<u64>>, NotSatisfiable> {
    let mut values = values.iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(NotSatisfiable);
    }
    let text = value.to_str().unwrap_or_default();
    parse(text, size)
}

fn parse(text: &str, size: u64) -> Result<Option<Range<u64>>, NotSatisfiable> {
    let Some((unit, ranges)) = text.split_once('=') else { return Ok(None) };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ok(None);
    }
    if ranges.contains(',') {
        return Err(NotSatisfiable);
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Ok(None) };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(count)) if first.is_empty() => size.saturating_sub(count)..size,
        _ => return Ok(None),
    };
    if range.is_empty() { Err(NotSatisfiable) } else { Ok(Some(range)) }
}

/// Digits alone; more than fit are as good as the largest number.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood() {
        for (text, expected) in [
            ("bytes=0-0", Ok(Some(0..1))),
            ("bytes=2-5", Ok(Some(2..6))),
            ("Bytes = 2-", Ok(Some(2..10))),
            ("bytes=-3", Ok(Some(7..10))),
            ("bytes=-30", Ok(Some(0..10))),
            ("bytes=5-99", Ok(Some(5..10))),
            ("bytes=5-99999999999999999999999", Ok(Some(5..10))),
            ("bytes=10-", Err(NotSatisfiable)),
            ("bytes=-0", Err(NotSatisfiable)),
            ("bytes=0-1,3-4", Err(NotSatisfiable)),
            ("bytes=5-2", Ok(None)),
            ("bytes=-", Ok(None)),
            ("bytes=a-b", Ok(None)),
            ("bytes=+1-2", Ok(None)),
            ("lines=1-2", Ok(None)),
            ("bytes", Ok(None)),
        ] {
            assert_eq!(parse(text, 10), expected, "{text}");
        }
    }
}
