//! Values and times as documents have them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::clock;
use crate::input::otlp::wire::types::{Any, AnyValue, KeyValue};

/// Maps and lists inside each other beyond this are written as text: engines refuse documents that are much deeper.
const DEPTH: usize = 8;

/// A value; an empty one is null.
pub(super) fn value(any: AnyValue) -> Value {
    deep(any, DEPTH)
}

fn deep(any: AnyValue, depth: usize) -> Value {
    let Some(any) = any.value else { return Value::Null };
    let Some(below) = depth.checked_sub(1) else { return Value::String(shallow(any)) };
    match any {
        Any::Text(text) => Value::String(text),
        Any::Bool(value) => Value::Bool(value),
        Any::Int(value) => value.into(),
        // What is no number in JSON is still worth reading.
        Any::Double(value) => number(value).unwrap_or_else(|| Value::String(value.to_string())),
        Any::Bytes(bytes) => Value::String(STANDARD.encode(bytes)),
        Any::Array(list) => list.values.into_iter().map(|value| deep(value, below)).collect(),
        Any::Map(map) => Value::Object(object(map.values, below)),
    }
}

fn shallow(any: Any) -> String {
    match any {
        Any::Text(text) => text,
        Any::Bool(value) => value.to_string(),
        Any::Int(value) => value.to_string(),
        Any::Double(value) => value.to_string(),
        Any::Bytes(bytes) => STANDARD.encode(bytes),
        Any::Array(_) | Any::Map(_) => "(nested too deeply)".to_owned(),
    }
}

/// Attributes. Their names keep their dots. Those without a name or a value are left out.
pub(super) fn attributes(list: Vec<KeyValue>) -> Map<String, Value> {
    object(list, DEPTH)
}

fn object(list: Vec<KeyValue>, depth: usize) -> Map<String, Value> {
    let pair = |pair: KeyValue| {
        let value = deep(pair.value?, depth);
        (!value.is_null() && !pair.key.is_empty()).then_some((pair.key, value))
    };
    list.into_iter().filter_map(pair).collect()
}

/// A value as text: a text as it is, everything else as JSON.
pub(super) fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A number, unless it is infinite or none.
pub(super) fn number(value: f64) -> Option<Value> {
    serde_json::Number::from_f64(value).map(Value::Number)
}

/// A time, with its nanoseconds. `None`: it is not known, or lies beyond year 9999.
pub(super) fn time(nanos: u64) -> Option<String> {
    if nanos == 0 {
        return None;
    }
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok()?;
    let mut text = clock::timestamp(moment);
    let below = nanos % 1_000_000;
    if below > 0 {
        text.pop();
        text.push_str(&format!("{below:06}Z"));
    }
    Some(text)
}

/// An identifier in hexadecimal. `None`: it is not set, which is no bytes or zeros.
pub(super) fn identifier(bytes: &[u8]) -> Option<Value> {
    use std::fmt::Write;
    if bytes.iter().all(|byte| *byte == 0) || bytes.len() > 64 {
        return None;
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Into memory, which cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(Value::String(text))
}

/// Sets a field if its value is known.
pub(super) fn maybe(map: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets a text, unless it is empty.
pub(super) fn named(map: &mut Map<String, Value>, key: &str, text: String) {
    maybe(map, key, Some(text).filter(|text| !text.is_empty()));
}

/// Sets a map, unless it is empty.
pub(super) fn filled(map: &mut Map<String, Value>, key: &str, inner: Map<String, Value>) {
    maybe(map, key, Some(inner).filter(|inner| !inner.is_empty()).map(Value::Object));
}

/// Sets a count, unless it is 0.
pub(super) fn counted(map: &mut Map<String, Value>, key: &str, count: u32) {
    maybe(map, key, Some(count).filter(|count| *count > 0));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_have_their_nanoseconds() {
        assert_eq!(time(1_544_712_660_300_000_000).unwrap(), "2018-12-13T14:51:00.300Z");
        assert_eq!(time(1_544_712_660_300_000_001).unwrap(), "2018-12-13T14:51:00.300000001Z");
        assert_eq!(time(0), None);
        assert_eq!(time(u64::MAX).unwrap(), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn values_are_bounded_in_depth() {
        let mut any = AnyValue { value: Some(Any::Int(7)) };
        for _ in 0..20 {
            let values = vec![KeyValue { key: "k".to_owned(), value: Some(any) }];
            any =
                AnyValue { value: Some(Any::Map(crate::input::otlp::wire::types::KeyValueList { values })) };
        }
        let text = value(any).to_string();
        assert_eq!(text.matches("{\"k\":").count(), DEPTH);
        assert!(text.contains("(nested too deeply)"));
    }

    #[test]
    fn what_has_no_place_in_json_is_text() {
        let double = |value| super::value(AnyValue { value: Some(Any::Double(value)) });
        assert_eq!((double(1.5), double(f64::INFINITY)), (json!(1.5), json!("inf")));
        assert_eq!(super::value(AnyValue { value: Some(Any::Bytes(vec![1, 2])) }), json!("AQI="));
        assert_eq!(identifier(&[0; 8]), None);
        assert_eq!(identifier(&[0, 0xab]), Some(json!("00ab")));
    }
}
