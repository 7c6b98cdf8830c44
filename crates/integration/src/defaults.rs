//! What a package policy is where nobody changes anything.

use serde_json::{Map, Value};

use crate::package::{LayoutInput, LayoutStream, Package, StreamElasticsearch, Variable};
use crate::policy::{
    PackagePolicy, PolicyDataStream, PolicyInput, PolicyPackage, PolicyStream, PolicyVar, Vars,
};

impl PackagePolicy {
    /// A policy with every input, stream and variable of a package as the package has it.
    #[must_use]
    pub fn defaults(package: &Package, id: &str, name: &str) -> PackagePolicy {
        PackagePolicy {
            id: id.to_owned(),
            name: name.to_owned(),
            enabled: true,
            package: Some(policy_package(package)),
            vars: vars(&package.vars),
            inputs: package.layout().iter().map(|layout| input(layout, id)).collect(),
            ..PackagePolicy::default()
        }
    }
}

/// What a policy says of its package.
#[must_use]
pub fn policy_package(package: &Package) -> PolicyPackage {
    PolicyPackage {
        name: package.name.clone(),
        title: Some(package.title.clone()),
        version: package.version.clone(),
        experimental_data_stream_features: None,
        requires_root: package.needs_root.then_some(true),
    }
}

pub(crate) fn vars(declared: &[Variable]) -> Vars {
    declared.iter().map(|var| (var.name.clone(), self::var(var))).collect()
}

/// A variable's default. A list without one is empty, as clients expect.
pub(crate) fn var(declared: &Variable) -> PolicyVar {
    let empty = if declared.multi { Value::Array(Vec::new()) } else { Value::Null };
    PolicyVar::new(declared.kind.name(), declared.default.clone().unwrap_or(empty))
}

pub(crate) fn input(layout: &LayoutInput, policy_id: &str) -> PolicyInput {
    PolicyInput {
        kind: layout.kind.clone(),
        policy_template: Some(layout.policy_template.clone()),
        enabled: layout.enabled(),
        vars: vars(&layout.vars),
        streams: layout.streams.iter().map(|stream| self::stream(stream, &layout.kind, policy_id)).collect(),
        ..PolicyInput::default()
    }
}

pub(crate) fn stream(layout: &LayoutStream, input_type: &str, policy_id: &str) -> PolicyStream {
    let mut stream = PolicyStream {
        enabled: layout.enabled,
        data_stream: PolicyDataStream {
            kind: layout.kind.clone(),
            dataset: layout.dataset.clone(),
            elasticsearch: elasticsearch(&layout.elasticsearch),
        },
        vars: vars(&layout.vars),
        release: layout.release.clone(),
        ..PolicyStream::default()
    };
    if !policy_id.is_empty() {
        stream.id = Some(stream.agent_id(input_type, policy_id));
    }
    stream
}

fn elasticsearch(declared: &StreamElasticsearch) -> Option<Value> {
    let mut map = Map::new();
    if declared.dynamic_dataset {
        map.insert("dynamic_dataset".to_owned(), Value::Bool(true));
    }
    if declared.dynamic_namespace {
        map.insert("dynamic_namespace".to_owned(), Value::Bool(true));
    }
    if let Some(indices) = &declared.privileges {
        map.insert("privileges".to_owned(), serde_json::json!({ "indices": indices }));
    }
    (!map.is_empty()).then_some(Value::Object(map))
}
