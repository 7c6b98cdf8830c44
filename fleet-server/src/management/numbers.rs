//! Whole numbers as some clients write them: `120.0`.
//!
//! Clients that know one kind of number write whole ones with a fraction of zeros. To JSON both are the same
//! number, and to whoever reads an integer they are not: so the fraction is left out before anything is read.

use std::borrow::Cow;

/// A text of JSON without the fractions of whole numbers. What is no JSON stays what it is.
pub(super) fn without_fractions(text: &[u8]) -> Cow<'_, [u8]> {
    let mut kept: Vec<u8> = Vec::new();
    let (mut copied, mut place) = (0, 0);
    while let Some(byte) = text.get(place) {
        place = match byte {
            b'"' => after_string(text, place + 1),
            b'-' | b'0'..=b'9' => {
                let end = after_number(text, place);
                if let Some(whole) = whole(&text[place..end]) {
                    kept.extend_from_slice(&text[copied..place + whole]);
                    copied = end;
                }
                end
            }
            _ => place + 1,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    kept.extend_from_slice(&text[copied..]);
    Cow::Owned(kept)
}

/// Behind the quotation mark that ends a string.
fn after_string(text: &[u8], mut place: usize) -> usize {
    while let Some(byte) = text.get(place) {
        match byte {
            b'"' => return place + 1,
            b'\\' => place += 2,
            _ => place += 1,
        }
    }
    text.len()
}

fn after_number(text: &[u8], begin: usize) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    text[begin..].iter().position(|byte| !is_part(byte)).map_or(text.len(), |length| begin + length)
}

/// How long a number is without its fraction; `None`: it has none, or is not whole.
fn whole(number: &[u8]) -> Option<usize> {
    let point = number.iter().position(|byte| *byte == b'.')?;
    let (before, fraction) = (&number[..point], &number[point + 1..]);
    let is_zero = !fraction.is_empty() && fraction.iter().all(|byte| *byte == b'0');
    // There is no whole number -0.
    (is_zero && !before.is_empty() && before != b"-" && before != b"-0").then_some(point)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::without_fractions;

    fn cut(text: &str) -> String {
        String::from_utf8(without_fractions(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        for (sent, read) in [
            (r#"{"a": 120.0, "b":[-1.00,2.5,0.0]}"#, r#"{"a": 120, "b":[-1,2.5,0]}"#),
            (r#"{"a": "1.0", "1.0": "\"2.0"}"#, r#"{"a": "1.0", "1.0": "\"2.0"}"#),
            ("1.0", "1"),
            ("-0.0", "-0.0"),
            ("1.0e2", "1.0e2"),
            ("10.05", "10.05"),
            ("1.", "1."),
            ("-.0", "-.0"),
            (r#"{"a": "1.0"#, r#"{"a": "1.0"#),
        ] {
            assert_eq!(cut(sent), read, "{sent}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|number| Value::from(f64::from(number))),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
            }
            (a, b) => a == b,
        }
    }

    proptest! {
        #[test]
        fn what_is_said_stays(value in json()) {
            let text = value.to_string();
            let said: Value = serde_json::from_str(&text).unwrap();
            let read: Value = serde_json::from_str(&cut(&text)).unwrap();
            prop_assert!(same(&said, &read), "{said} {read}");
        }

        #[test]
        fn any_text_is_taken(text in ".*") {
            cut(&text);
        }
    }
}
