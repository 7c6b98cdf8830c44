//! What templates see: the variables of a package, an input and a stream, the nearer one last.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::Context;
use crate::package::{DATASET_VAR, Package, VarType, Variable};
use crate::policy::{PackagePolicy, Vars};
use crate::secrets;
use crate::template::marks;

/// The variables that all inputs share, `_meta` among them.
pub(super) fn of_package(
    package: &Package,
    policy: &PackagePolicy,
    context: &Context<'_>,
) -> Map<String, Value> {
    let mut variables = Map::new();
    add(&mut variables, &package.vars, &policy.vars);
    let meta = json!({
        "output": { "id": context.output_id, "type": context.output_type },
        "package": { "name": package.name, "title": package.title, "version": package.version },
        "agent_policy": { "id": context.agent_policy_id, "name": context.agent_policy_name },
    });
    variables.insert("_meta".to_owned(), meta);
    variables
}

pub(super) fn set_meta(variables: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(Value::Object(meta)) = variables.get_mut("_meta") {
        meta.insert(key.to_owned(), value);
    }
}

/// Adds variables: what a policy sets, else the default of what a package declares.
pub(super) fn add(variables: &mut Map<String, Value>, declared: &[Variable], set: &Vars) {
    for var in declared {
        let value = match set.get(&var.name) {
            Some(own) => &own.value,
            None => var.default.as_ref().unwrap_or(&Value::Null),
        };
        insert(variables, &var.name, prepared(dataset_text(&var.name, value), var.kind));
    }
    let known: HashSet<&str> = declared.iter().map(|var| var.name.as_str()).collect();
    for (name, var) in set {
        if !known.contains(name.as_str()) {
            insert(
                variables,
                name,
                prepared(&var.value, VarType::of(var.kind.as_deref().unwrap_or_default())),
            );
        }
    }
}

/// Pages that offer the known datasets send an object with the dataset in it.
pub(super) fn dataset_text<'a>(name: &str, value: &'a Value) -> &'a Value {
    if name == DATASET_VAR { value.get("dataset").unwrap_or(value) } else { value }
}

/// `a.b` is `b` in `a`, unless `a` is a value itself.
fn insert(variables: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((group, rest)) = name.split_once('.') else {
        match (variables.get(name), &value) {
            // `a.b` came before an `a` that is empty: it stays.
            (Some(Value::Object(_)), Value::Null) => {}
            _ => {
                variables.insert(name.to_owned(), value);
            }
        }
        return;
    };
    let group = variables.entry(group).or_insert(Value::Null);
    if group.is_null() {
        *group = Value::Object(Map::new());
    }
    if let Value::Object(group) = group {
        insert(group, rest, value);
    }
}

/// A value as templates see it.
fn prepared(value: &Value, kind: VarType) -> Value {
    if let Some(reference) = secrets::reference_text(value) {
        return reference;
    }
    match (value, kind) {
        (Value::Array(items), _) => Value::Array(items.iter().map(|item| prepared(item, kind)).collect()),
        (Value::Null, _) => Value::Null,
        (Value::String(text), VarType::Yaml) => Value::String(marks::yaml(text)),
        (Value::Object(_), VarType::Yaml) => Value::String(marks::yaml(&value.to_string())),
        (Value::String(text), VarType::Bool) => {
            text.parse().map_or_else(|_| Value::String(marks::removed(text).into_owned()), Value::Bool)
        }
        (Value::String(text), VarType::Text | VarType::Textarea | VarType::Password) => {
            Value::String(marks::text(text))
        }
        (Value::String(text), _) => Value::String(marks::removed(text).into_owned()),
        _ => value.clone(),
    }
}
