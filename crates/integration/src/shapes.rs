//! The two shapes of a package policy.
//!
//! *Simplified* names inputs `<policy template>-<input type>`, streams by their dataset, and says values alone;
//! what it leaves out is as the package has it. *Full* says everything.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::check::find_stream;
use crate::compile::find_input;
use crate::defaults;
use crate::finding::{Finding, suggestion};
use crate::package::{LayoutInput, Package, TYPE_VAR, Variable};
use crate::policy::{PackagePolicy, PolicyVar, SimplifiedInput, SimplifiedPolicy, SimplifiedStream, Vars};

/// Variables that input packages take without declaring them.
const UNDECLARED: [&str; 2] = [TYPE_VAR, "use_apm"];

/// The most that is said of one body.
const MOST_FINDINGS: usize = 100;

/// Whether a body is in the simplified shape: its `inputs` are no list.
#[must_use]
pub fn is_simplified(body: &Value) -> bool {
    !matches!(body.get("inputs"), Some(Value::Array(_)))
}

/// A policy in the full shape, whatever it leaves out taken from the package.
///
/// # Errors
/// The inputs, streams and variables that the package does not have, 100 of them at most.
pub fn full(simplified: SimplifiedPolicy, package: &Package) -> Result<PackagePolicy, Vec<Finding>> {
    let defaults = PackagePolicy::defaults(package, &simplified.id, &simplified.name);
    let mut simplified = simplified;
    let (values, inputs) = (std::mem::take(&mut simplified.vars), std::mem::take(&mut simplified.inputs));
    let mut policy = simplified.with(defaults.vars, defaults.inputs);
    let mut findings = Vec::new();
    set(&mut policy.vars, values, &package.vars, "", &mut findings);
    for (key, input) in inputs {
        if findings.len() >= MOST_FINDINGS {
            break;
        }
        let field = format!("inputs.{key}");
        let Some(index) = package.input_of_key(&key) else {
            let known: Vec<String> = package.layout().iter().map(LayoutInput::key).collect();
            let hint = suggestion(&key, known.iter().map(String::as_str));
            findings
                .push(Finding::new(field, format!("the package {} has no such input{hint}", package.name)));
            continue;
        };
        let (layout, target) = (&package.layout()[index], &mut policy.inputs[index]);
        target.enabled = input.enabled;
        target.condition = input.condition;
        set(&mut target.vars, input.vars, &layout.vars, &format!("{field}."), &mut findings);
        for (dataset, stream) in input.streams {
            if findings.len() >= MOST_FINDINGS {
                break;
            }
            let field = format!("{field}.streams.{dataset}");
            let Some(index) = layout.of_dataset(&dataset).next().map(|(index, _)| index) else {
                let hint = suggestion(&dataset, layout.streams.iter().map(|layout| layout.dataset.as_str()));
                findings.push(Finding::new(field, format!("the input {key} has no such stream{hint}")));
                continue;
            };
            let (layout, target) = (&layout.streams[index], &mut target.streams[index]);
            target.enabled = stream.enabled;
            target.condition = stream.condition;
            set(&mut target.vars, stream.vars, &layout.vars, &format!("{field}."), &mut findings);
        }
    }
    if findings.is_empty() { Ok(policy) } else { Err(findings) }
}

/// Puts values in the place of defaults.
fn set(
    vars: &mut Vars,
    values: BTreeMap<String, Value>,
    declared: &[Variable],
    prefix: &str,
    findings: &mut Vec<Finding>,
) {
    let by_name: HashMap<&str, &Variable> = declared.iter().map(|var| (var.name.as_str(), var)).collect();
    for (name, value) in values {
        if findings.len() >= MOST_FINDINGS {
            break;
        }
        // Some clients say it as the full shape does.
        let value = unwrapped(value);
        if let Some(var) = by_name.get(name.as_str()) {
            vars.insert(name, PolicyVar::said(var.kind.name(), value));
        } else if UNDECLARED.contains(&name.as_str()) {
            let kind = if value.is_boolean() { "bool" } else { "text" };
            vars.insert(name, PolicyVar::said(kind, value));
        } else {
            let hint = suggestion(&name, declared.iter().map(|var| var.name.as_str()));
            findings.push(Finding::new(
                format!("{prefix}vars.{name}"),
                format!("there is no such variable{hint}"),
            ));
        }
    }
}

/// `{value, type}` is its value.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::Object(mut map)
            if map.contains_key("value")
                && map.keys().all(|key| matches!(key.as_str(), "value" | "type" | "frozen")) =>
        {
            map.remove("value").unwrap_or_default()
        }
        other => other,
    }
}

/// A policy in the simplified shape. Policies whose package is not at hand can be shown, too.
#[must_use]
pub fn simplified(policy: &PackagePolicy) -> SimplifiedPolicy {
    let inputs = policy.inputs.iter().map(|input| {
        let streams = input.streams.iter().map(|stream| {
            let shown = SimplifiedStream {
                enabled: stream.enabled,
                condition: stream.condition.clone(),
                vars: values(&stream.vars),
            };
            (stream.data_stream.dataset.clone(), shown)
        });
        let shown = SimplifiedInput {
            enabled: input.enabled,
            condition: input.condition.clone(),
            vars: values(&input.vars),
            streams: streams.collect(),
        };
        (input.key(), shown)
    });
    policy.clone().with(values(&policy.vars), inputs.collect())
}

/// Values alone. What nobody has set is left out: it would be sent back as a value.
fn values(vars: &Vars) -> BTreeMap<String, Value> {
    vars.iter()
        .filter(|(_, var)| var.is_said())
        .map(|(name, var)| (name.clone(), var.value.clone()))
        .collect()
}

/// Fills in what a policy in the full shape may leave out: ids, types, titles, what streams ask of the engine.
/// Values stay as they are.
pub fn complete(policy: &mut PackagePolicy, package: &Package) {
    let title = defaults::policy_package(package);
    match &mut policy.package {
        Some(known) => {
            known.title = title.title;
            known.requires_root = title.requires_root;
        }
        None => policy.package = Some(title),
    }
    type_vars(&mut policy.vars, &package.vars);
    let id = policy.id.clone();
    for input in &mut policy.inputs {
        let Some(layout) = find_input(package, input) else { continue };
        input.policy_template.get_or_insert_with(|| layout.policy_template.clone());
        type_vars(&mut input.vars, &layout.vars);
        for stream in &mut input.streams {
            stream.id = Some(stream.agent_id(&input.kind, &id));
            let Some(layout) = find_stream(layout, stream) else { continue };
            let declared = defaults::stream(layout, &input.kind, &id);
            stream.data_stream.elasticsearch = declared.data_stream.elasticsearch;
            stream.release = declared.release;
            type_vars(&mut stream.vars, &layout.vars);
        }
    }
}

/// Variables that are not there take their defaults; those that are say their types.
fn type_vars(vars: &mut Vars, declared: &[Variable]) {
    for var in declared {
        let known = vars.entry(var.name.clone()).or_insert_with(|| defaults::var(var));
        known.kind.get_or_insert_with(|| var.kind.name().to_owned());
    }
}
