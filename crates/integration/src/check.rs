//! Is what people set what the package asks for?

mod duration;
mod value;

use std::collections::HashSet;

use crate::compile::find_input;
use crate::finding::{Finding, input_field, suggestion};
use crate::package::{DATASET_VAR, LayoutInput, LayoutStream, Package, PackageType, Variable};
use crate::policy::{PackagePolicy, PolicyInput, PolicyStream, Vars};

/// The longest dataset and namespace, in bytes: both become a part of names of data streams.
const LONGEST_NAME: usize = 100;
/// What is said of one policy ends here, more or less.
const MOST_FINDINGS: usize = 100;

/// Everything that is wrong with a policy. What is not on is not looked at: it may be half set up.
#[must_use]
pub fn check(package: &Package, policy: &PackagePolicy) -> Vec<Finding> {
    let mut findings = Vec::new();
    if policy.name.trim().is_empty() {
        findings.push(Finding::new("name", "must not be empty"));
    }
    if let Some(problem) = policy.namespace.as_deref().and_then(|name| name_problem(name, &['-'])) {
        findings.push(Finding::new("namespace", problem));
    }
    if !policy.enabled {
        return findings;
    }
    check_vars(&package.vars, &policy.vars, "", &mut findings);
    let mut known = HashSet::new();
    for input in policy.inputs.iter().filter(|input| input.enabled) {
        if findings.len() >= MOST_FINDINGS {
            break;
        }
        if !known.insert(input.key()) {
            findings.push(Finding::new(format!("inputs.{}", input.key()), "is there twice"));
            continue;
        }
        let Some(layout) = find_input(package, input) else {
            let known: Vec<String> = package.layout().iter().map(LayoutInput::key).collect();
            let hint = suggestion(&input.key(), known.iter().map(String::as_str));
            let message = format!("the package {} has no such input{hint}", package.name);
            findings.push(Finding::new(format!("inputs.{}", input.key()), message));
            continue;
        };
        check_input(package, layout, input, &mut findings);
    }
    findings
}

fn check_input(package: &Package, layout: &LayoutInput, input: &PolicyInput, findings: &mut Vec<Finding>) {
    let field = input_field(package, layout);
    let runs = input.streams.iter().any(|stream| stream.enabled) || layout.streams.is_empty();
    if runs {
        check_vars(&layout.vars, &input.vars, &format!("{field}."), findings);
    }
    let mut known = HashSet::new();
    for stream in input.streams.iter().filter(|stream| stream.enabled) {
        if findings.len() >= MOST_FINDINGS {
            break;
        }
        let field = format!("{field}.streams.{}", stream.data_stream.dataset);
        if !known.insert((&stream.data_stream.kind, &stream.data_stream.dataset)) {
            findings.push(Finding::new(field, "is there twice"));
            continue;
        }
        match find_stream(layout, stream) {
            Some(layout) => {
                check_vars(&layout.vars, &stream.vars, &format!("{field}."), findings);
                if package.kind == PackageType::Input {
                    check_dataset(stream, &field, findings);
                }
            }
            None => {
                let hint = suggestion(
                    &stream.data_stream.dataset,
                    layout.streams.iter().map(|known| known.dataset.as_str()),
                );
                findings.push(Finding::new(
                    field,
                    format!("the input {} has no such stream{hint}", layout.key()),
                ));
            }
        }
    }
}

/// The stream of an input that a policy's stream is. An input package has one, whatever a policy calls it.
pub(crate) fn find_stream<'a>(layout: &'a LayoutInput, stream: &PolicyStream) -> Option<&'a LayoutStream> {
    let only = if layout.streams.len() == 1 { layout.streams.first() } else { None };
    let of_dataset = || layout.of_dataset(&stream.data_stream.dataset).map(|(_, known)| known);
    let same = of_dataset().find(|known| known.kind == stream.data_stream.kind);
    same.or_else(|| of_dataset().next()).or(only)
}

fn check_vars(declared: &[Variable], vars: &Vars, prefix: &str, findings: &mut Vec<Finding>) {
    for var in declared {
        // What is not there is the default.
        let value = match vars.get(&var.name) {
            Some(set) => &set.value,
            None => var.default.as_ref().unwrap_or(&serde_json::Value::Null),
        };
        let name = || format!("{prefix}vars.{}", var.name);
        findings.extend(value::problems(var, value).into_iter().map(|problem| Finding::new(name(), problem)));
    }
}

fn check_dataset(stream: &PolicyStream, field: &str, findings: &mut Vec<Finding>) {
    let value = stream.vars.get(DATASET_VAR).map(|var| &var.value);
    let dataset = value.and_then(|value| value.as_str().or_else(|| value.get("dataset")?.as_str()));
    if let Some(problem) = dataset.and_then(|dataset| name_problem(dataset, &['-', ':'])) {
        findings.push(Finding::new(format!("{field}.vars.{DATASET_VAR}"), problem));
    }
}

/// Why a text cannot be a part of a data stream's name.
fn name_problem(name: &str, separators: &[char]) -> Option<String> {
    if name.len() > LONGEST_NAME {
        return Some(format!("must not be longer than {LONGEST_NAME} bytes"));
    }
    if name.chars().any(char::is_uppercase) {
        return Some("must be in lower case".to_owned());
    }
    let is_bad = |letter: char| {
        letter.is_whitespace()
            || letter.is_control()
            || "*\\/?\"<>|,#:".contains(letter)
            || separators.contains(&letter)
    };
    let bad = name.chars().find(|letter| is_bad(*letter))?;
    Some(format!("must not contain {bad:?}"))
}
