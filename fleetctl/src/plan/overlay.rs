//! What an object becomes when a file is laid over it.
//!
//! A field that the file does not name stays. One that it names is replaced as a whole, except where the server
//! completes what people write: the inputs and variables of integrations, and places of secrets.

use serde_json::{Map, Value};

use super::object::ObjectKind;

/// The fields in which the file's part is laid into what is there.
fn is_completed_by_server(kind: ObjectKind, field: &str) -> bool {
    field == "secrets"
        || (kind == ObjectKind::PackagePolicy && matches!(field, "inputs" | "vars" | "package"))
}

/// The fields of an object with those of a file laid over them. A secret that the server keeps is replaced by what
/// the file says only if `sends_secrets`: nobody can see whether they differ.
pub(super) fn overlay(
    kind: ObjectKind,
    current: &Map<String, Value>,
    spec: &Map<String, Value>,
    sends_secrets: bool,
) -> Map<String, Value> {
    let mut target = current.clone();
    for (field, given) in spec {
        let before = current.get(field).unwrap_or(&Value::Null);
        let value = if is_completed_by_server(kind, field) {
            lay(before, given, sends_secrets)
        } else {
            given.clone()
        };
        target.insert(field.clone(), value);
    }
    target
}

fn lay(before: &Value, given: &Value, sends_secrets: bool) -> Value {
    match (before, given) {
        (Value::Object(reference), Value::String(_)) if is_secret(reference) && !sends_secrets => {
            before.clone()
        }
        (Value::Object(old), Value::Object(new)) if !is_secret(old) => {
            let mut fields = old.clone();
            for (field, given) in new {
                let before = old.get(field).unwrap_or(&Value::Null);
                fields.insert(field.clone(), lay(before, given, sends_secrets));
            }
            Value::Object(fields)
        }
        _ => given.clone(),
    }
}

/// Whether a server keeps this as a secret, and tells only which one.
pub(super) fn is_secret(fields: &Map<String, Value>) -> bool {
    fields.get("id").is_some_and(Value::is_string)
        && fields.keys().all(|field| matches!(field.as_str(), "id" | "isSecretRef"))
}
