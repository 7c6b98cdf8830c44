//! What is kept of large documents.

use serde_json::{Map, Value, json};

/// The most bytes of one side of a change: what people write by hand fits.
pub const MAX_SIDE: usize = 16 * 1024;
/// The longest text in a side that is too large, in bytes.
const MAX_TEXT: usize = 256;
/// The most items or members in it.
const MAX_ITEMS: usize = 32;

/// Both sides of a change within [`MAX_SIDE`] each: where one is too large, what is the same on both is left out;
/// then long texts and lists are cut; what is too large even so is only measured.
#[must_use]
pub(super) fn shorten(before: Option<Value>, after: Option<Value>) -> (Option<Value>, Option<Value>) {
    let fits = |side: &Option<Value>| side.as_ref().is_none_or(|value| size(value) <= MAX_SIDE);
    if fits(&before) && fits(&after) {
        return (before, after);
    }
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => {
            let (before, after) = differences(before, after);
            (Some(before), Some(after))
        }
        sides => sides,
    };
    (before.map(cut_to_size), after.map(cut_to_size))
}

/// The bytes of its text.
#[must_use]
pub(super) fn size(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Counting does not fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// Both without the members that are the same in both.
fn differences(before: Value, after: Value) -> (Value, Value) {
    let (Value::Object(before), Value::Object(mut after)) = (&before, after.clone()) else {
        return (before, after);
    };
    let mut old = Map::new();
    for (key, value) in before {
        match after.remove(key) {
            Some(same) if same == *value => {}
            Some(other) => {
                let (value, other) = differences(value.clone(), other);
                old.insert(key.clone(), value);
                after.insert(key.clone(), other);
            }
            None => {
                old.insert(key.clone(), value.clone());
            }
        }
    }
    (Value::Object(old), Value::Object(after))
}

fn cut_to_size(value: Value) -> Value {
    let whole = size(&value);
    if whole <= MAX_SIDE {
        return value;
    }
    let cut = cut(value);
    if size(&cut) <= MAX_SIDE { cut } else { json!({"…": format!("{whole} bytes: too large to be kept")}) }
}

fn cut(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > MAX_TEXT => {
            let end = text.floor_char_boundary(MAX_TEXT);
            Value::String(format!("{}… ({} bytes)", &text[..end], text.len()))
        }
        Value::Array(items) => {
            let more = items.len().saturating_sub(MAX_ITEMS);
            let mut kept: Vec<Value> = items.into_iter().take(MAX_ITEMS).map(cut).collect();
            if more > 0 {
                kept.push(Value::String(format!("… ({more} more)")));
            }
            Value::Array(kept)
        }
        Value::Object(members) => {
            let more = members.len().saturating_sub(MAX_ITEMS);
            let mut kept: Map<String, Value> =
                members.into_iter().take(MAX_ITEMS).map(|(key, value)| (key, cut(value))).collect();
            if more > 0 {
                kept.insert("…".to_owned(), Value::String(format!("{more} more")));
            }
            Value::Object(kept)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let (before, after) = (Some(json!({"a": 1, "b": 2})), Some(json!({"a": 1, "b": 3})));
        assert_eq!(shorten(before.clone(), after.clone()), (before, after));
        assert_eq!(shorten(None, None), (None, None));
    }

    #[test]
    fn of_large_documents_the_differences_are_kept() {
        let large = "x".repeat(MAX_SIDE);
        let before = json!({"large": large, "nested": {"same": 1, "other": [1]}, "gone": true});
        let after = json!({"large": large, "nested": {"same": 1, "other": [2]}, "new": null});
        let (before, after) = shorten(Some(before), Some(after));
        assert_eq!(before.unwrap(), json!({"nested": {"other": [1]}, "gone": true}));
        assert_eq!(after.unwrap(), json!({"nested": {"other": [2]}, "new": null}));
    }

    #[test]
    fn nothing_is_larger_than_its_bound() {
        let text = "é".repeat(MAX_SIDE);
        let items: Vec<u32> = (0..100_000).collect();
        let (before, after) = shorten(Some(json!({"text": text})), Some(json!({"text": "", "items": items})));
        let (before, after) = (before.unwrap(), after.unwrap());
        assert!(before["text"].as_str().unwrap().ends_with(&format!("… ({} bytes)", 2 * MAX_SIDE)));
        assert_eq!(after["items"][MAX_ITEMS], "… (99968 more)");

        let row: Vec<String> = (0..40).map(|number| format!("{number:0200}")).collect();
        let wide: Map<String, Value> = (0..40).map(|number| (number.to_string(), json!(row))).collect();
        let (kept, _) = shorten(Some(Value::Object(wide)), None);
        assert!(kept.unwrap()["…"].as_str().unwrap().ends_with("bytes: too large to be kept"));
    }
}
