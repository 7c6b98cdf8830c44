//! What a request makes of an object.

use fleet_access::rights::Right;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::management::error::ApiError;
use crate::management::fields::bad;

/// The right that changes these objects.
pub(in crate::management) const WRITE: Right = Right::WriteSettings;
/// The largest object in bytes of JSON. A document in a store may be twice as large.
const LARGEST: usize = 512 * 1024;

/// `base` with what the request sets: a field that is not in it stays, `null` takes it away. Answers the object;
/// `ignored` are fields that the server sets itself.
///
/// # Errors
/// A field is not what it should be: it is named.
pub(in crate::management) fn edited<T: Serialize + DeserializeOwned>(
    base: Map<String, Value>,
    body: &Map<String, Value>,
    ignored: &[&str],
) -> Result<T, ApiError> {
    let mut merged = base;
    for (key, given) in body.iter().filter(|(key, _)| !ignored.contains(&key.as_str())) {
        if names_nothing(key, given) {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), given.clone());
        }
    }
    let secrets = merged.get("secrets").cloned().unwrap_or_default();
    settle(&secrets, &mut Vec::new(), &mut merged, body)?;
    let made: T = serde_path_to_error::deserialize(Value::Object(merged))
        .map_err(|error| bad(&error.path().to_string(), error.inner()))?;
    let kept = serde_json::to_value(&made).map_err(|error| ApiError::Internal(Box::new(error)))?;
    if kept.to_string().len() > LARGEST {
        return Err(bad("", format!("more than {} KiB in one object", LARGEST / 1024)));
    }
    Ok(made)
}

/// Whether a field is taken away. Clients that know no null send an empty text where no proxy is named.
fn names_nothing(key: &str, given: &Value) -> bool {
    given.is_null() || (key == "proxy_id" && *given == "")
}

/// Whoever gives a plain text for what is a secret, or a secret for what is a plain text, replaces the other.
fn settle(
    secrets: &Value,
    path: &mut Vec<String>,
    merged: &mut Map<String, Value>,
    body: &Map<String, Value>,
) -> Result<(), ApiError> {
    match secrets {
        Value::Object(members) if !members.contains_key("id") => {
            for (key, member) in members {
                path.push(key.clone());
                settle(member, path, merged, body)?;
                path.pop();
            }
            Ok(())
        }
        Value::Null | Value::Object(_) | Value::String(_) => {
            let plain = format!("/{}", path.join("/"));
            let secret = format!("/secrets{plain}");
            let is_given =
                |value: Option<&Value>| value.is_some_and(|value| !value.is_null() && *value != "");
            let given = |pointer: &str| {
                let (first, rest) = pointer[1..].split_once('/').unwrap_or((&pointer[1..], ""));
                let value = body.get(first);
                is_given(if rest.is_empty() {
                    value
                } else {
                    value.and_then(|v| v.pointer(&format!("/{rest}")))
                })
            };
            if given(&plain) && given(&secret) {
                let field = path.join(".");
                return Err(bad(&field, format!("give either {field} or secrets.{field}, not both")));
            }
            let other = if given(&plain) { &secret } else { &plain };
            if is_given(Some(secrets)) {
                remove(merged, other);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn remove(from: &mut Map<String, Value>, pointer: &str) {
    let mut keys: Vec<&str> = pointer.split('/').skip(1).collect();
    let Some(last) = keys.pop() else { return };
    let mut place = from;
    for key in keys {
        match place.get_mut(key) {
            Some(Value::Object(members)) => place = members,
            _ => return,
        }
    }
    place.remove(last);
}

#[cfg(test)]
mod tests {
    use fleet_policy::documents::Output;
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("an object") };
        map
    }

    fn edit(base: Value, body: Value) -> Result<Output, String> {
        edited(map(base), &map(body), &["id"]).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_given_stays_and_null_takes_away() {
        let made = edit(
            json!({"name": "a", "hosts": ["h"], "proxy_id": "p"}),
            json!({"name": "b", "proxy_id": null}),
        );
        let made = made.unwrap();
        assert_eq!((made.name.as_str(), made.hosts.len(), made.proxy_id), ("b", 1, None));
    }

    #[test]
    fn a_field_of_another_type_is_named() {
        let error = edit(json!({}), json!({"hosts": [1]})).unwrap_err();
        assert!(error.starts_with("[request body.hosts[0]]: invalid type: integer"), "{error}");
    }

    #[test]
    fn a_secret_and_a_plain_text_replace_each_other() {
        let base = json!({"password": "plain", "secrets": {"ssl": {"key": {"id": "s"}}}});
        let made = edit(base.clone(), json!({"secrets": {"password": "hidden"}})).unwrap();
        assert_eq!((made.password, made.secrets.unwrap().ssl), (None, None));
        let made = edit(base, json!({"ssl": {"key": "plain"}})).unwrap();
        assert_eq!(made.secrets.unwrap().ssl.unwrap().key, None);
        let both = edit(json!({}), json!({"password": "a", "secrets": {"password": "b"}})).unwrap_err();
        assert_eq!(both, "[request body.password]: give either password or secrets.password, not both");
    }
}
