//! Secrets of a package policy: values that are kept elsewhere, and referred to.
//!
//! Saving a policy takes three steps: [`foreign`] refuses references to what is not the policy's, [`take`]
//! takes plain values out, and, once they are stored, [`refer`] puts references in their place. Whatever the
//! old policy [referred to](references) and the new one does not can be removed then.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::check::find_stream;
use crate::compile::find_input;
use crate::finding::{Finding, input_field};
use crate::package::{Package, Variable};
use crate::policy::{PackagePolicy, SecretReference, Vars};

/// Where in a policy a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The index of the input; `None` for what all inputs share.
    input: Option<usize>,
    /// The index of the stream; `None` for what all streams of the input share.
    stream: Option<usize>,
    name: String,
}

/// A secret that was taken out of a policy.
#[derive(Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where it stood.
    pub place: Place,
    /// Its plain values: one, unless the variable is a list.
    pub values: Vec<String>,
    is_list: bool,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is debugged ends up in a log.
        formatter.debug_struct("Taken").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Takes the plain values of secret variables out of a policy, which has nothing in their place until
/// [`refer`] is called.
pub fn take(package: &Package, policy: &mut PackagePolicy) -> Vec<Taken> {
    let mut taken = Vec::new();
    let place = |input, stream| move |name: String| Place { input, stream, name };
    take_from(&package.vars, &mut policy.vars, place(None, None), &mut taken);
    for (index, input) in policy.inputs.iter_mut().enumerate() {
        let Some(layout) = find_input(package, input) else { continue };
        take_from(&layout.vars, &mut input.vars, place(Some(index), None), &mut taken);
        for (of, stream) in input.streams.iter_mut().enumerate() {
            let Some(layout) = find_stream(layout, stream) else { continue };
            take_from(&layout.vars, &mut stream.vars, place(Some(index), Some(of)), &mut taken);
        }
    }
    taken
}

fn take_from(
    declared: &[Variable],
    vars: &mut Vars,
    place: impl Fn(String) -> Place,
    taken: &mut Vec<Taken>,
) {
    for var in declared.iter().filter(|var| var.secret) {
        let Some(set) = vars.get_mut(&var.name) else { continue };
        let values: Vec<String> = match &set.value {
            Value::Array(items) => items.iter().filter_map(plain).collect(),
            value => plain(value).into_iter().collect(),
        };
        if values.is_empty() {
            continue;
        }
        let is_list = set.value.is_array();
        set.value = Value::Null;
        taken.push(Taken { place: place(var.name.clone()), values, is_list });
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Puts a reference where a secret was taken out, one id for each of its values. [`name_references`] brings
/// `secret_references` up to date after the last one.
pub fn refer(policy: &mut PackagePolicy, taken: &Taken, ids: &[String]) {
    let place = &taken.place;
    let vars = match (place.input, place.stream) {
        (None, _) => Some(&mut policy.vars),
        (Some(input), None) => policy.inputs.get_mut(input).map(|input| &mut input.vars),
        (Some(input), Some(stream)) => policy
            .inputs
            .get_mut(input)
            .and_then(|input| input.streams.get_mut(stream))
            .map(|stream| &mut stream.vars),
    };
    if let Some(var) = vars.and_then(|vars| vars.get_mut(&place.name)) {
        var.value = match ids {
            [id] if !taken.is_list => json!({ "isSecretRef": true, "id": id }),
            ids => json!({ "isSecretRef": true, "ids": ids }),
        };
    }
}

/// Brings `secret_references` up to date.
pub fn name_references(policy: &mut PackagePolicy) {
    let references = references(policy);
    policy.secret_references =
        (!references.is_empty()).then(|| references.into_iter().map(|id| SecretReference { id }).collect());
}

/// The ids of all secrets that a policy refers to.
#[must_use]
pub fn references(policy: &PackagePolicy) -> BTreeSet<String> {
    let of_inputs = policy.inputs.iter().flat_map(|input| {
        input.vars.values().chain(input.streams.iter().flat_map(|stream| stream.vars.values()))
    });
    policy.vars.values().chain(of_inputs).flat_map(|var| ids(&var.value)).map(str::to_owned).collect()
}

/// References to secrets that the policy did not have before: those of other policies are not to be had by
/// naming them.
#[must_use]
pub fn foreign(package: &Package, policy: &PackagePolicy, old: Option<&PackagePolicy>) -> Vec<Finding> {
    let known = old.map(references).unwrap_or_default();
    let mut findings = Vec::new();
    let mut look = |vars: &Vars, prefix: &str| {
        for (name, var) in vars {
            if let Some(id) = ids(&var.value).find(|id| !known.contains(*id)) {
                let message = format!("the policy has no secret {id}: send the value itself");
                findings.push(Finding::new(format!("{prefix}vars.{name}"), message));
            }
        }
    };
    look(&policy.vars, "");
    for input in &policy.inputs {
        let layout = find_input(package, input);
        let field =
            layout.map_or_else(|| format!("inputs.{}", input.key()), |layout| input_field(package, layout));
        look(&input.vars, &format!("{field}."));
        for stream in &input.streams {
            look(&stream.vars, &format!("{field}.streams.{}.", stream.data_stream.dataset));
        }
    }
    findings
}

/// Whether a value refers to a secret.
#[must_use]
pub fn is_reference(value: &Value) -> bool {
    ids(value).next().is_some()
}

/// The ids that a reference names.
fn ids(value: &Value) -> impl Iterator<Item = &str> {
    let reference = value.as_object().filter(|map| map.get("isSecretRef") == Some(&Value::Bool(true)));
    let one = reference.and_then(|map| map.get("id")).and_then(Value::as_str);
    let many = reference.and_then(|map| map.get("ids")).and_then(Value::as_array);
    one.into_iter().chain(many.into_iter().flatten().filter_map(Value::as_str))
}

/// What a reference to a secret is told as in what agents get; `None` for what is no reference.
pub(crate) fn reference_text(value: &Value) -> Option<Value> {
    if !is_reference(value) {
        return None;
    }
    let mut told = ids(value).map(|id| Value::String(format!("$co.elastic.secret{{{id}}}")));
    if value.get("ids").is_some() { Some(Value::Array(told.collect())) } else { told.next() }
}
