//! A collector, and what it is to do, for tests of whole inputs.

use std::path::Path;

use fleet_collect::{AgentFacts, Collector, InputUnit, OutputUnit, Plan, Settings};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A map of a configuration.
fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Inputs whose events go into files of the directory.
pub(crate) fn plan(directory: &Path, inputs: &[Value]) -> Plan {
    let output = json!({"type": "file", "path": directory.join("out"), "filename": "events"});
    let inputs = inputs.iter().map(|config| InputUnit {
        id: config["id"].as_str().unwrap().to_owned(),
        kind: config["type"].as_str().unwrap().to_owned(),
        output: "default".to_owned(),
        config: map(config),
    });
    let output = OutputUnit { name: "default".to_owned(), kind: "file".to_owned(), config: map(&output) };
    Plan { inputs: inputs.collect(), outputs: vec![output] }
}

/// A collector that keeps its data in the directory.
pub(crate) async fn start(directory: &TempDir) -> Collector {
    let agent =
        AgentFacts { id: "a".into(), version: "1".into(), name: "n".into(), ephemeral_id: "e".into() };
    let data = directory.path().join("data");
    Collector::start(Settings { data, agent, host_name: Some("here".to_owned()) }).await.unwrap()
}
