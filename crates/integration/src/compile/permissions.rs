//! What the agents of a package policy may do in the engine.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::package::{LayoutStream, Package};
use crate::policy::PackagePolicy;

/// What filling a data stream takes.
const USUAL: [&str; 2] = ["auto_configure", "create_doc"];

/// What has been granted so far.
pub(super) struct Granted<'a> {
    namespace: &'a str,
    indices: Vec<Value>,
    /// Names with their own privileges, which are granted once.
    known: HashSet<(String, Option<Vec<String>>)>,
}

impl<'a> Granted<'a> {
    pub(super) fn new(namespace: &'a str) -> Granted<'a> {
        Granted { namespace, indices: Vec::new(), known: HashSet::new() }
    }

    /// Grants what a stream needs that writes to this type and dataset.
    pub(super) fn add(&mut self, layout: &LayoutStream, kind: &str, dataset: &str) {
        let engine = &layout.elasticsearch;
        let dataset = if engine.dynamic_dataset {
            "*".to_owned()
        } else if layout.dataset_is_prefix {
            format!("{dataset}.*")
        } else {
            dataset.to_owned()
        };
        let namespace = if engine.dynamic_namespace { "*" } else { self.namespace };
        let name = format!("{kind}-{dataset}-{namespace}");
        self.grant(&name, engine.privileges.as_deref());
    }

    fn grant(&mut self, name: &str, own: Option<&[String]>) {
        if self.known.insert((name.to_owned(), own.map(<[String]>::to_vec))) {
            self.indices.push(match own {
                Some(privileges) => json!({ "names": [name], "privileges": privileges }),
                None => json!({ "names": [name], "privileges": USUAL }),
            });
        }
    }

    pub(super) fn finish(mut self, package: &Package, policy: &PackagePolicy) -> Option<Value> {
        for name in policy.additional_datastreams_permissions.iter().flatten() {
            self.grant(name, None);
        }
        let mut permissions = Map::new();
        if !self.indices.is_empty() {
            permissions.insert("indices".to_owned(), Value::Array(self.indices));
        }
        if !package.cluster_privileges.is_empty() {
            permissions.insert("cluster".to_owned(), json!(package.cluster_privileges));
        }
        (!permissions.is_empty()).then_some(Value::Object(permissions))
    }
}
