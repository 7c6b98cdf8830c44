//! Field-level differences between two values.

use serde_json::Value;

use crate::output::printable;

/// The most characters of a value that are shown in one line.
const LONGEST: usize = 100;

/// A field that differs. `None`: it is not there on that side.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// Where it is, as a pointer (RFC 6901).
    pub(crate) path: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// Every field in which two values differ, in the order of their paths. A field without a value (`null`) is one
/// that is not there.
pub(crate) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(String::new(), before, after, &mut found);
    found
}

fn compare(path: String, before: &Value, after: &Value, found: &mut Vec<Change>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let inner = format!("{path}/{}", escaped(name));
                let side = |fields: &serde_json::Map<String, Value>| {
                    fields.get(name).cloned().unwrap_or(Value::Null)
                };
                compare(inner, &side(old), &side(new), found);
            }
        }
        (Value::Array(old), Value::Array(new))
            if old.len() == new.len() && old.iter().chain(new).any(Value::is_object) =>
        {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(format!("{path}/{index}"), old, new, found);
            }
        }
        _ if before == after => {}
        _ => {
            let side = |value: &Value| (!value.is_null()).then(|| value.clone());
            found.push(Change { path, before: side(before), after: side(after) });
        }
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A change as a line for people: `~ /name: "a" -> "b"`.
pub(crate) fn shown(change: &Change) -> String {
    printable(&match (&change.before, &change.after) {
        (None, None) => format!("  {}", change.path),
        (None, Some(after)) => format!("+ {}: {}", change.path, short(after)),
        (Some(before), None) => format!("- {}: {}", change.path, short(before)),
        (Some(before), Some(after)) => {
            let (before, after) = both_short(before, after);
            format!("~ {}: {before} -> {after}", change.path)
        }
    })
}

fn short(value: &Value) -> String {
    cut(&value.to_string(), 0)
}

/// Two values in short, from a little before where they begin to differ.
fn both_short(before: &Value, after: &Value) -> (String, String) {
    let (before, after) = (before.to_string(), after.to_string());
    let same = before.chars().zip(after.chars()).take_while(|(a, b)| a == b).count();
    let is_long = before.chars().count().max(after.chars().count()) > LONGEST;
    let from = if is_long && same > LONGEST / 2 { same - LONGEST / 4 } else { 0 };
    (cut(&before, from), cut(&after, from))
}

fn cut(text: &str, from: usize) -> String {
    let mut cut: String = text.chars().skip(from).take(LONGEST).collect();
    if from > 0 {
        cut.insert(0, '…');
    }
    if text.chars().count() > from + LONGEST {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(before: &Value, after: &Value) -> Vec<String> {
        changes(before, after).iter().map(shown).collect()
    }

    #[test]
    fn each_field_is_told() {
        let before = json!({"name": "a", "old": 1, "same": [1], "list": [1, 2], "deep": {"x/y": {"z": true}},
            "streams": [{"id": "a", "on": true}, {"id": "b"}], "none": null});
        let after = json!({"name": "b", "new": {"k": "v"}, "same": [1], "list": [1], "deep": {"x/y": {"z": false}},
            "streams": [{"id": "a", "on": false}, {"id": "b"}]});
        assert_eq!(
            told(&before, &after),
            [
                "~ /deep/x~1y/z: true -> false",
                "~ /list: [1,2] -> [1]",
                "~ /name: \"a\" -> \"b\"",
                "+ /new: {\"k\":\"v\"}",
                "- /old: 1",
                "~ /streams/0/on: true -> false",
            ]
        );
    }

    #[test]
    fn long_values_are_cut_around_their_difference() {
        let before = json!({"t": format!("{}old{}", "x".repeat(300), "y".repeat(300))});
        let after = json!({"t": format!("{}new{}", "x".repeat(300), "y".repeat(300))});
        let told = told(&before, &after).join("\n");
        assert!(told.contains("xold") && told.contains("xnew") && told.chars().count() < 300, "{told}");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_differs_only_where_all_is_equal(before in any_value(), after in any_value()) {
            prop_assert_eq!(changes(&before, &after).is_empty(), before == after);
            prop_assert_eq!(changes(&before, &after).len(), changes(&after, &before).len());
        }
    }
}
