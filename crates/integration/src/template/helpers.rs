//! The helpers that packages use, and how values are told and judged, as JavaScript does.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::marks;

/// What `encodeURIComponent` leaves as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// A helper that answers a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Contains,
    EscapeString,
    EscapeMultilineString,
    ToJson,
    UrlEncode,
    Lookup,
    /// Says nothing: a policy is no place for a log.
    Log,
}

impl Function {
    pub(super) const NAMES: [(&'static str, Function); 7] = [
        ("contains", Function::Contains),
        ("escape_string", Function::EscapeString),
        ("escape_multiline_string", Function::EscapeMultilineString),
        ("to_json", Function::ToJson),
        ("url_encode", Function::UrlEncode),
        ("lookup", Function::Lookup),
        ("log", Function::Log),
    ];

    pub(super) fn of(name: &str) -> Option<Function> {
        Function::NAMES.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// Calls it. What it does not answer is null, which prints as nothing.
    pub(super) fn call(self, arguments: &[&Value]) -> Value {
        let first = arguments.first().copied().unwrap_or(&Value::Null);
        let second = arguments.get(1).copied().unwrap_or(&Value::Null);
        let of_text = |encode: fn(&str) -> String| match first {
            Value::Null => Value::Null,
            value => Value::String(encode(&plain_text(value))),
        };
        match self {
            Function::Contains => Value::Bool(contains(first, second)),
            Function::EscapeString => of_text(quoted),
            Function::EscapeMultilineString => of_text(escaped),
            Function::ToJson => match first {
                Value::Null => Value::Null,
                value => Value::String(marks::removed(&value.to_string()).into_owned()),
            },
            Function::UrlEncode => of_text(|text| utf8_percent_encode(text, COMPONENT).to_string()),
            Function::Lookup => child(first, &plain_text(second)),
            Function::Log => Value::Null,
        }
    }
}

/// A scalar in quotes that YAML reads as this text.
fn quoted(text: &str) -> String {
    if text.contains(['\n', '\r']) {
        // In single quotes, lines would lose the blanks at their ends.
        return Value::String(text.to_owned()).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// What stands between single quotes for this text: two line ends are one there.
fn escaped(text: &str) -> String {
    text.replace('\'', "''").replace('\n', "\n\n")
}

/// Whether a list has a value, or a text has a part.
pub(super) fn contains(value: &Value, place: &Value) -> bool {
    match place {
        Value::Array(items) => items.iter().any(|item| is_same(item, value)),
        Value::String(text) => marks::removed(text).contains(plain_text(value).as_str()),
        Value::Object(map) => map.contains_key(&plain_text(value)),
        _ => false,
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => marks::removed(one) == marks::removed(other),
        _ => one == other,
    }
}

/// Whether a value counts as there.
pub(super) fn is_true(value: &Value, include_zero: bool) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => include_zero || number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

/// What a value has under a name: a key, an index, or `length`.
pub(super) fn child_of<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(name),
        Value::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => None,
    }
}

/// The length of what has one.
pub(super) fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => Some(items.len()),
        Value::String(text) => Some(marks::removed(text).encode_utf16().count()),
        _ => None,
    }
}

fn child(value: &Value, name: &str) -> Value {
    match child_of(value, name) {
        Some(child) => child.clone(),
        None if name == "length" => length(value).map_or(Value::Null, Value::from),
        None => Value::Null,
    }
}

/// Says a value.
pub(super) fn print(value: &Value, out: &mut String) {
    match value {
        Value::Null => {}
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                print(item, out);
            }
        }
        Value::Object(_) => out.push_str("[object Object]"),
    }
}

/// JavaScript tells 1.0 as 1.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
        _ => number.to_string(),
    }
}

fn plain_text(value: &Value) -> String {
    let mut text = String::new();
    print(value, &mut text);
    match marks::removed(&text) {
        std::borrow::Cow::Owned(plain) => plain,
        std::borrow::Cow::Borrowed(_) => text,
    }
}
