//! What the agent says as a configuration, as a file of it would be.

use std::collections::BTreeMap;
use std::path::Path;

use fleet_service::config::document::Problems;
use serde_json::{Map, Value, json};

use super::units::Units;
use crate::config::{Config, DEFAULT_DATA_DIR, Input, limits, load};

/// What the mistakes in it are told of.
const NAME: &str = "the agent's units";
/// The variable that says where documents are kept.
const DATA_DIR: &str = "FLEET_DATA_DIR";
/// What of an input is for the server.
const OF_THE_INPUT: [&str; 4] = ["id", "type", "cache", "monitor"];
/// How long whoever asks is still answered when the agent stops the server: the agent waits for that.
const DRAIN: &str = "3s";
/// Values of keys with these in their names are nobody's business.
const SECRET: [&str; 6] = ["password", "passphrase", "token", "secret", "api_key", "private"];
/// The same for keys of exactly this name.
const KEY: &str = "key";

/// What is wrong with what the agent says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DocumentError(pub(super) String);

/// What the server should be. Two that are equal are the same server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    content: Value,
    overrides: Vec<String>,
}

/// The configuration of a server that the agent has said nothing to yet: its log is of interest.
pub(super) fn base(overrides: &[String]) -> Result<Config, String> {
    // What is in the working directory is the agent's.
    load_from(&json!({}), overrides)
}

impl Document {
    pub(super) fn of(units: &Units, overrides: &[String]) -> Document {
        let content = json!({
            "inputs": [input(&units.input.config)],
            // The agent's engine is not where documents are kept, and its address is no mistake therefore.
            "store": {"type": "embedded"},
            "data_dir": data_dir(overrides, std::env::var_os(DATA_DIR).is_some(), is_root()),
        });
        Document { content, overrides: overrides.to_vec() }
    }

    /// As a configuration, or what is wrong with it.
    pub(super) fn config(&self) -> Result<Config, String> {
        load_from(&self.content, &self.overrides)
    }

    /// For people: without secrets.
    pub(super) fn redacted(&self) -> Value {
        let mut shown = self.content.clone();
        redact(&mut shown);
        shown
    }
}

fn load_from(content: &Value, overrides: &[String]) -> Result<Config, String> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let text = content.to_string();
    let loaded = load(&Input {
        file: Some((Path::new(NAME), text.as_bytes())),
        overrides,
        environment: Some(&environment),
        memory: limits::memory::available(&environment),
    });
    // Keys that are not known are an agent's, which says them to all its components.
    loaded.map(|(config, _)| config).map_err(|problems| told(&problems))
}

fn told(problems: &Problems) -> String {
    let mistakes: Vec<&str> = problems.mistakes.iter().map(|mistake| mistake.text.as_str()).collect();
    mistakes.join("; ")
}

fn input(config: &Map<String, Value>) -> Value {
    let mut input: Map<String, Value> = config
        .iter()
        .filter(|(key, _)| OF_THE_INPUT.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if let Some(id) = config.get("policy").and_then(|policy| policy.get("id")) {
        input.insert("policy".to_owned(), json!({"id": id}));
    }
    let mut server = config.get("server").and_then(Value::as_object).cloned().unwrap_or_default();
    // Without certificates the agent speaks to it in plain.
    server.entry("ssl").or_insert_with(|| json!({"enabled": false}));
    let timeouts = server.entry("timeouts").or_insert_with(|| json!({}));
    if let Some(timeouts) = timeouts.as_object_mut() {
        timeouts.entry("drain").or_insert_with(|| json!(DRAIN));
    }
    input.insert("server".to_owned(), Value::Object(server));
    // One server is like the next, whatever its input is called.
    input.remove("id");
    Value::Object(input)
}

/// Where documents are kept: the documented place for a server that may write there, as it outlives the agent's own
/// directories; else the directory that the agent gives.
fn data_dir(overrides: &[String], is_said: bool, is_root: bool) -> Value {
    let path = |prefix: &str| overrides.iter().rev().find_map(|text| text.strip_prefix(prefix));
    match path("path.data=") {
        // A variable or an override stands over what is said here.
        Some(path) if !is_said && !is_root => json!(Path::new(path).join("fleet-server")),
        _ => json!(DEFAULT_DATA_DIR),
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = key.to_ascii_lowercase();
                if name == KEY || SECRET.iter().any(|part| name.contains(part)) {
                    *value = json!("REDACTED");
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
