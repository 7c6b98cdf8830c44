//! A package policy, brought to another version of its package.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::check::check;
use crate::compile::find_input;
use crate::defaults;
use crate::finding::{Finding, input_field};
use crate::package::{LayoutInput, LayoutStream, Package, Variable};
use crate::policy::{PackagePolicy, PolicyInput, PolicyStream, PolicyVar, Vars};
use crate::secrets;

/// What becomes of a part of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The new version has it, the policy did not: it is as the package has it.
    Added,
    /// The new version does not have it: what was set is lost.
    Removed,
    /// It has another name, and the value that it had.
    Renamed,
    /// Its value is now a list, or one value, as the new version has it.
    Reshaped,
}

/// What an upgrade does to a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UpgradeChange {
    /// As in a [`Finding`].
    pub field: String,
    /// What becomes of it.
    pub change: Change,
}

/// An upgraded policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Upgraded {
    /// With the revision and dates of the old one: whoever stores it says them anew.
    pub policy: PackagePolicy,
    /// What has to be settled by a person before it can be stored.
    pub conflicts: Vec<Finding>,
    /// What is otherwise than before.
    pub changes: Vec<UpgradeChange>,
}

/// Brings a policy to a version of its package: values stay, what is new is as the package has it.
#[must_use]
pub fn upgrade(old: &PackagePolicy, package: &Package) -> Upgraded {
    let mut work = Work { changes: Vec::new() };
    let mut policy = PackagePolicy { inputs: Vec::new(), ..old.clone() };
    let features = old.package.as_ref().and_then(|package| package.experimental_data_stream_features.clone());
    let mut of = defaults::policy_package(package);
    of.experimental_data_stream_features = features;
    policy.package = Some(of);
    policy.vars = work.vars(&package.vars, &old.vars, "");
    let inputs = OldInputs::of(old);
    for layout in package.layout() {
        let field = input_field(package, layout);
        policy.inputs.push(match inputs.find(layout) {
            Some(input) => work.input(layout, input, &field, &old.id),
            None => {
                work.note(field, Change::Added);
                defaults::input(layout, &old.id)
            }
        });
    }
    let is_gone = |input: &&PolicyInput| find_input(package, input).is_none();
    for input in old.inputs.iter().filter(is_gone) {
        work.note(format!("inputs.{}", input.key()), Change::Removed);
    }
    // Those of variables that are gone are not needed any more.
    secrets::name_references(&mut policy);
    let conflicts = check(package, &policy);
    Upgraded { policy, conflicts, changes: work.changes }
}

/// The inputs of the policy that is upgraded, by type and policy template. Older ones do not name the template.
struct OldInputs<'a>(HashMap<(&'a str, Option<&'a str>), (usize, &'a PolicyInput)>);

impl<'a> OldInputs<'a> {
    fn of(policy: &'a PackagePolicy) -> OldInputs<'a> {
        let mut all = HashMap::new();
        for (index, input) in policy.inputs.iter().enumerate() {
            all.entry((input.kind.as_str(), input.policy_template.as_deref())).or_insert((index, input));
        }
        OldInputs(all)
    }

    /// The first one that is of the layout's.
    fn find(&self, layout: &LayoutInput) -> Option<&'a PolicyInput> {
        let kind = layout.kind.as_str();
        let known = [Some(layout.policy_template.as_str()), None];
        let found = known.into_iter().filter_map(|template| self.0.get(&(kind, template)));
        found.min_by_key(|(index, _)| *index).map(|(_, input)| *input)
    }
}

struct Work {
    changes: Vec<UpgradeChange>,
}

impl Work {
    fn note(&mut self, field: String, change: Change) {
        self.changes.push(UpgradeChange { field, change });
    }

    fn input(
        &mut self,
        layout: &LayoutInput,
        old: &PolicyInput,
        field: &str,
        policy_id: &str,
    ) -> PolicyInput {
        let mut input = PolicyInput {
            policy_template: Some(layout.policy_template.clone()),
            vars: self.vars(&layout.vars, &old.vars, &format!("{field}.")),
            streams: Vec::new(),
            compiled_input: None,
            ..old.clone()
        };
        let mut of_dataset: HashMap<&str, &PolicyStream> = HashMap::new();
        for stream in &old.streams {
            of_dataset.entry(&stream.data_stream.dataset).or_insert(stream);
        }
        let only =
            if layout.streams.len() == 1 && old.streams.len() == 1 { old.streams.first() } else { None };
        for declared in &layout.streams {
            let field = format!("{field}.streams.{}", declared.dataset);
            input.streams.push(match of_dataset.get(declared.dataset.as_str()).copied().or(only) {
                Some(stream) => self.stream(declared, stream, &field, &layout.kind, policy_id),
                None => {
                    self.note(field, Change::Added);
                    defaults::stream(declared, &layout.kind, policy_id)
                }
            });
        }
        let is_gone = |stream: &&PolicyStream| {
            layout.streams.len() != 1 && layout.of_dataset(&stream.data_stream.dataset).next().is_none()
        };
        for stream in old.streams.iter().filter(is_gone) {
            self.note(format!("{field}.streams.{}", stream.data_stream.dataset), Change::Removed);
        }
        input
    }

    fn stream(
        &mut self,
        layout: &LayoutStream,
        old: &PolicyStream,
        field: &str,
        input_type: &str,
        policy_id: &str,
    ) -> PolicyStream {
        PolicyStream {
            enabled: old.enabled,
            condition: old.condition.clone(),
            keep_enabled: old.keep_enabled,
            vars: self.vars(&layout.vars, &old.vars, &format!("{field}.")),
            ..defaults::stream(layout, input_type, policy_id)
        }
    }

    fn vars(&mut self, declared: &[Variable], old: &Vars, prefix: &str) -> Vars {
        let mut vars = Vars::new();
        for var in declared {
            let field = || format!("{prefix}vars.{}", var.name);
            let earlier = var.migrate_from.as_ref().and_then(|name| old.get(name));
            let value = match (old.get(&var.name), earlier) {
                (Some(known), _) => known,
                (None, Some(earlier)) => {
                    self.note(field(), Change::Renamed);
                    earlier
                }
                (None, None) => {
                    self.note(field(), Change::Added);
                    vars.insert(var.name.clone(), defaults::var(var));
                    continue;
                }
            };
            let (value, is_reshaped) = reshaped(value, var);
            if is_reshaped {
                self.note(field(), Change::Reshaped);
            }
            vars.insert(var.name.clone(), value);
        }
        let names = declared.iter().flat_map(|var| [Some(var.name.as_str()), var.migrate_from.as_deref()]);
        let kept: HashSet<&str> = names.flatten().collect();
        for name in old.keys().filter(|name| !kept.contains(name.as_str())) {
            self.note(format!("{prefix}vars.{name}"), Change::Removed);
        }
        vars
    }
}

/// A value in the form that the variable has now; whether it had another one.
fn reshaped(old: &PolicyVar, var: &Variable) -> (PolicyVar, bool) {
    let (value, is_reshaped) = match (&old.value, var.multi) {
        (value @ (Value::Array(_) | Value::Null | Value::Object(_)), true) => (value.clone(), false),
        (Value::String(text), true) if text.is_empty() => (Value::Array(Vec::new()), true),
        (value, true) => (Value::Array(vec![value.clone()]), true),
        (Value::Array(items), false) if items.is_empty() => (Value::Null, true),
        (Value::Array(items), false) if items.len() == 1 && !items[0].is_array() => (items[0].clone(), true),
        (value, false) => (value.clone(), false),
    };
    let says_null = old.says_null && value.is_null();
    let reshaped = PolicyVar { says_null, frozen: old.frozen, ..PolicyVar::new(var.kind.name(), value) };
    (reshaped, is_reshaped)
}
