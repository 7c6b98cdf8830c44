//! What each metricset says about two recorded moments, and about the machine that the tests run on.

mod golden;
mod live;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// The names of all fields of a document, arrays and the values below `stop` not looked into.
fn leaves(prefix: &str, value: &Value, stop: &[&str], names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !stop.contains(&prefix) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                leaves(&name, value, stop, names);
            }
        }
        _ => {
            names.insert(prefix.to_owned());
        }
    }
}

/// The fields that a data stream of the `system` integration declares.
fn declared(data_stream: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../integrations/system/data_stream")
        .join(data_stream)
        .join("fields");
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let name = |line: &str| Some(line.strip_prefix("- name: ")?.trim_matches('\'').to_owned());
        names.extend(text.lines().filter_map(name));
    }
    names
}

fn assert_declared(metricset: &str, documents: &[Value]) {
    let declared = declared(metricset);
    let mut names = BTreeSet::new();
    for document in documents {
        leaves("", document, &["system.process.env"], &mut names);
    }
    let unknown: Vec<_> = names.difference(&declared).collect();
    assert!(unknown.is_empty(), "{metricset}: the integration has no such fields: {unknown:?}");
}
