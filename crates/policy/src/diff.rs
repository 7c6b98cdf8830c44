//! What differs between two documents, field by field.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It is new.
    Add,
    /// It is gone.
    Remove,
    /// It has another value.
    Replace,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// What became of the field.
    pub op: Operation,
    /// Where it is: a JSON pointer (RFC 6901). An item of a list that has an `id` is named by it, not by its place.
    pub path: String,
    /// As it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// The differences between two documents, in the order of their paths.
#[must_use]
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut found);
    found
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => members(&path, before, after, found),
        (Some(Value::Array(before)), Some(Value::Array(after))) => match (by_id(before), by_id(after)) {
            (Some(before), Some(after)) => members(&path, &before, &after, found),
            _ => items(&path, before, after, found),
        },
        (Some(before), Some(after)) => found.push(Difference {
            op: Operation::Replace,
            path,
            before: Some(before.clone()),
            after: Some(after.clone()),
        }),
        (None, Some(after)) => {
            found.push(Difference { op: Operation::Add, path, before: None, after: Some(after.clone()) });
        }
        (Some(before), None) => {
            found.push(Difference { op: Operation::Remove, path, before: Some(before.clone()), after: None });
        }
        (None, None) => {}
    }
}

fn members(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, found: &mut Vec<Difference>) {
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        compare(format!("{path}/{escaped}"), before.get(key), after.get(key), found);
    }
}

fn items(path: &str, before: &[Value], after: &[Value], found: &mut Vec<Difference>) {
    for index in 0..before.len().max(after.len()) {
        compare(format!("{path}/{index}"), before.get(index), after.get(index), found);
    }
}

/// The items by their ids; `None`: not every item has one of its own.
fn by_id(items: &[Value]) -> Option<Map<String, Value>> {
    let mut named = Map::new();
    for item in items {
        let id = item.get("id")?.as_str()?;
        if named.insert(id.to_owned(), item.clone()).is_some() {
            return None;
        }
    }
    (!named.is_empty()).then_some(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_compared_by_ids_where_it_has_them() {
        let before = json!({"a/b": 1, "list": [{"id": "x", "v": 1}, {"id": "y"}], "plain": [1, 2]});
        let after = json!({"list": [{"id": "y"}, {"id": "x", "v": 2}], "new": null, "plain": [1]});
        let found: Vec<(Operation, String)> =
            differences(&before, &after).into_iter().map(|one| (one.op, one.path)).collect();
        assert_eq!(
            found,
            [
                (Operation::Remove, "/a~1b".to_owned()),
                (Operation::Replace, "/list/x/v".to_owned()),
                (Operation::Add, "/new".to_owned()),
                (Operation::Remove, "/plain/1".to_owned()),
            ]
        );
    }

    #[test]
    fn equal_documents_have_no_differences() {
        let document = json!({"a": [1, {"id": "x"}], "b": null});
        assert_eq!(differences(&document, &document), []);
    }
}
