//! Secrets of a package policy: values that are kept elsewhere, and referred to.

use serde_json::Value;

/// What a reference to a secret is told as in what agents get; `None` for what is no reference.
pub(crate) fn reference_text(value: &Value) -> Option<Value> {
    let reference = value.as_object()?;
    if reference.get("isSecretRef") != Some(&Value::Bool(true)) {
        return None;
    }
    if let Some(ids) = reference.get("ids").and_then(Value::as_array) {
        return Some(Value::Array(ids.iter().filter_map(Value::as_str).map(told).collect()));
    }
    reference.get("id").and_then(Value::as_str).map(told)
}

fn told(id: &str) -> Value {
    Value::String(format!("$co.elastic.secret{{{id}}}"))
}
