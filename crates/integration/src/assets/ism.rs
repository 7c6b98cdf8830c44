//! Policies of an index's life, as OpenSearch has them: policies of its Index State Management.
//!
//! A phase becomes a state, and the age at which a phase begins becomes the condition under which an index goes over to
//! its state: counted from its roll-over where the policy has one, else from when it was made, as the original counts.
//! What has no counterpart is left out and told. Indices do not name such a policy: it says itself for which it is, by
//! the names of their data streams.

use serde_json::{Map, Value, json};

use super::{Asset, AssetKind, Assets, PIPELINE_MARK, checksum};
use crate::package::Package;

/// Phases in the order in which an index goes through them.
const PHASES: [&str; 5] = ["hot", "warm", "cold", "frozen", "delete"];
/// Conditions of a roll-over, by what they are called here.
const ROLLOVER: [(&str, &str); 4] = [
    ("max_age", "min_index_age"),
    ("max_docs", "min_doc_count"),
    ("max_size", "min_size"),
    ("max_primary_shard_size", "min_primary_shard_size"),
];

/// The names of data streams, or of indices, and what decides where several policies are for the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    pub(super) priority: u64,
    pub(super) pattern: String,
    pub(super) is_stream: bool,
}

/// Adds what comes of the policy `body`, for what has these patterns.
pub(super) fn add(made: &mut Assets, package: &Package, name: String, body: &Value, patterns: &[Pattern]) {
    let Some(phases) = body["policy"]["phases"].as_object() else {
        made.notes.push(format!("ilm_policy {name}: there are no phases in it"));
        return;
    };
    let mut left_out = Vec::new();
    let states = states(phases, &mut left_out);
    made.notes.extend(left_out.into_iter().map(|what| {
        format!(
            "ilm_policy {name}: {what} is left out: OpenSearch's Index State Management has nothing like it"
        )
    }));
    let said = body["policy"]["_meta"]["description"].as_str().unwrap_or_default().trim();
    let mut policy = json!({
        "description": format!("{said} (package {} {})", package.name, package.version).trim(),
        "default_state": "hot",
        "states": states,
    });
    let templates: Vec<Value> = patterns.iter().map(template).collect();
    if templates.is_empty() {
        made.notes
            .push(format!("ilm_policy {name}: nothing of the package has it: attach it to indices yourself"));
    } else {
        policy["ism_template"] = templates.into();
    }
    let checksum = checksum(&policy);
    let described = policy["description"].as_str().unwrap_or_default();
    policy["description"] = format!("{described} {PIPELINE_MARK}{checksum}]").into();
    let (kind, body) = (AssetKind::IsmPolicy, json!({"policy": policy}));
    made.assets.push(Asset { kind, name, body, checksum, is_users: false, is_started: false });
}

/// New indices are looked up by the name of their data stream in most versions, by their own in some.
fn template(Pattern { priority, pattern, is_stream }: &Pattern) -> Value {
    let mut patterns = vec![pattern.clone()];
    if *is_stream {
        patterns.push(format!(".ds-{pattern}"));
    }
    json!({"index_patterns": patterns, "priority": priority})
}

fn states(phases: &Map<String, Value>, left_out: &mut Vec<String>) -> Vec<Value> {
    left_out.extend(phases.keys().filter(|phase| !PHASES.contains(&phase.as_str())).cloned());
    let rolls_over = phases.get("hot").is_some_and(|hot| hot["actions"]["rollover"].is_object());
    let mut states: Vec<Value> = Vec::new();
    for name in PHASES {
        let phase = phases.get(name);
        let none = Map::new();
        let actions = phase.and_then(|phase| phase["actions"].as_object()).unwrap_or(&none);
        let actions = actions_of(name, actions, left_out);
        // What an index begins in is always there.
        if name != "hot" && actions.is_empty() {
            continue;
        }
        if let Some(before) = states.last_mut() {
            let age = phase.and_then(|phase| phase["min_age"].as_str()).filter(|age| !is_zero(age));
            let mut transition = json!({"state_name": name});
            if let Some(age) = age {
                let from = if rolls_over { "min_rollover_age" } else { "min_index_age" };
                transition["conditions"] = json!({from: age});
            }
            before["transitions"] = json!([transition]);
        }
        states.push(json!({"name": name, "actions": actions, "transitions": []}));
    }
    states
}

/// `0ms`, `0d` …
fn is_zero(age: &str) -> bool {
    let digits = age.trim_end_matches(|end: char| end.is_ascii_alphabetic());
    digits.parse() == Ok(0_u64)
}

/// The actions of a phase, in the order in which they are done.
fn actions_of(phase: &str, actions: &Map<String, Value>, left_out: &mut Vec<String>) -> Vec<Value> {
    let mut done = Vec::new();
    let mut known = vec!["set_priority", "rollover", "readonly", "allocate", "forcemerge", "delete"];
    if let Some(priority) = actions.get("set_priority").and_then(|action| action["priority"].as_u64()) {
        done.push(json!({"index_priority": {"priority": priority}}));
    }
    if let Some(Value::Object(conditions)) = actions.get("rollover") {
        done.push(json!({"rollover": rollover(phase, conditions, left_out)}));
    }
    if actions.contains_key("readonly") {
        done.push(json!({"read_only": {}}));
    }
    if let Some(Value::Object(allocate)) = actions.get("allocate") {
        if let Some(replicas) = allocate.get("number_of_replicas") {
            done.push(json!({"replica_count": {"number_of_replicas": replicas}}));
        }
        let more = allocate.keys().filter(|key| *key != "number_of_replicas");
        left_out.extend(more.map(|key| format!("{phase}.allocate.{key}")));
    }
    if let Some(segments) = actions.get("forcemerge").and_then(|action| action["max_num_segments"].as_u64()) {
        done.push(json!({"force_merge": {"max_num_segments": segments}}));
    }
    if actions.contains_key("delete") && phase == "delete" {
        done.push(json!({"delete": {}}));
    } else {
        known.retain(|action| *action != "delete");
    }
    let others = actions.keys().filter(|action| !known.contains(&action.as_str()));
    left_out.extend(others.map(|action| format!("{phase}.{action}")));
    done
}

fn rollover(phase: &str, conditions: &Map<String, Value>, left_out: &mut Vec<String>) -> Map<String, Value> {
    let mut done = Map::new();
    for (condition, value) in conditions {
        match ROLLOVER.iter().find(|(theirs, _)| theirs == condition) {
            Some((_, ours)) => drop(done.insert((*ours).to_owned(), value.clone())),
            None => left_out.push(format!("{phase}.rollover.{condition}")),
        }
    }
    done
}
