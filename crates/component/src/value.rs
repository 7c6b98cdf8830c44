//! JSON, and the same in messages.
//!
//! Numbers are doubles in messages: whole ones come back as whole ones as long as a double holds them exactly.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::{Map, Number, Value};

/// Up to here every whole number is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A map as it is in messages.
#[must_use]
pub fn to_struct(map: &Map<String, Value>) -> Struct {
    Struct { fields: map.iter().map(|(key, value)| (key.clone(), to_wire(value))).collect() }
}

fn to_wire(value: &Value) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        // A number without a double does not exist: serde_json's are 64 bits wide.
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(to_wire).collect() }),
        Value::Object(map) => Kind::StructValue(to_struct(map)),
    };
    WireValue { kind: Some(kind) }
}

/// A map of a message. What JSON has no word for, such as an infinite number, becomes null.
#[must_use]
pub fn from_struct(map: &Struct) -> Map<String, Value> {
    map.fields.iter().map(|(key, value)| (key.clone(), from_wire(value))).collect()
}

fn from_wire(value: &WireValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(value)) => Value::String(value.clone()),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(from_wire).collect()),
        Some(Kind::StructValue(map)) => Value::Object(from_struct(map)),
    }
}

fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        // Whole and within 53 bits: nothing is cut off.
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        let whole = value as i64;
        return Value::Number(whole.into());
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// The text at a key; empty if there is none.
#[must_use]
pub fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not a map: {other}"),
        }
    }

    #[test]
    fn whole_numbers_stay_whole() {
        let before = map(json!({"port": 8220, "ratio": 0.5, "list": [null, true, "x", {"a": -1}]}));
        assert_eq!(from_struct(&to_struct(&before)), before);
    }

    #[test]
    fn what_json_cannot_say_is_null() {
        let wire = |number| WireValue { kind: Some(Kind::NumberValue(number)) };
        assert_eq!(from_wire(&wire(f64::NAN)), Value::Null);
        assert_eq!(from_wire(&wire(f64::INFINITY)), Value::Null);
        assert_eq!(from_wire(&WireValue { kind: None }), Value::Null);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_map_comes_back(value in any_value()) {
            let before = map(json!({"value": value}));
            assert_eq!(from_struct(&to_struct(&before)), before);
        }
    }
}
