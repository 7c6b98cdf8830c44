//! A stored policy as an agent gets it.
//!
//! What one revision has in common for all of its agents is made once: the JSON text of the action's `data`.

mod text;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::documents::DeployedPolicy;
use crate::keyed::Keyed;
use crate::opamp::CollectorConfig;
pub use text::PolicyText;

/// The keys of a policy that agents get. What else is stored in it stays here.
const KEYS: [&str; 17] = [
    "agent",
    "connectors",
    "exporters",
    "extensions",
    "fleet",
    "id",
    "inputs",
    "namespaces",
    "output_permissions",
    "outputs",
    "processors",
    "receivers",
    "revision",
    "secret_paths",
    "secret_references",
    "service",
    "signed",
];
/// What a reference to a secret looks like inside of a text.
const REFERENCE: &str = "$co.elastic.secret{";

/// One revision, ready to be sent.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The policy's id.
    pub policy_id: String,
    /// Its revision.
    pub revision: u64,
    /// When it was deployed, RFC 3339.
    pub created_at: String,
    /// The `data` of the `POLICY_CHANGE` action: `{"policy":{…}}`.
    pub data: PolicyText,
    /// How collectors that speak OpAMP get it; `None`: there is nothing for them in it.
    pub collector: Option<CollectorConfig>,
    /// The same with holes for the keys that each agent has for itself; `None`: its agents have none.
    pub keyed: Option<Keyed>,
    /// References to secrets that are not there, by the place in the policy: they stand in `data` as they are.
    pub missing_secrets: BTreeMap<String, String>,
}

/// Renders a revision with its secrets, by their ids.
#[must_use]
pub fn render(policy: &DeployedPolicy, secrets: &BTreeMap<String, String>) -> Rendered {
    let mut data: Map<String, Value> =
        policy.data.iter().filter(|(key, _)| KEYS.contains(&key.as_str())).map(clone_entry).collect();
    data.insert("id".to_owned(), policy.policy_id.clone().into());
    data.insert("revision".to_owned(), policy.revision_idx.into());
    data.remove("secret_references");
    let mut replacing = Replacing { secrets, replaced: Vec::new(), missing: BTreeMap::new() };
    for (key, value) in &mut data {
        if key != "signed" && key != "secret_paths" {
            replacing.walk(key, value);
        }
    }
    let Replacing { mut replaced, missing, .. } = replacing;
    if !replaced.is_empty() {
        if let Some(Value::Array(known)) = data.get("secret_paths") {
            replaced.extend(known.iter().filter_map(Value::as_str).map(str::to_owned));
            replaced.sort();
            replaced.dedup();
        }
        data.insert("secret_paths".to_owned(), replaced.into());
    }
    let keyed = Keyed::of(&data, &policy.output_keys);
    let collector = CollectorConfig::of(&data).map(|config| match &keyed {
        Some(keyed) => config.keyed(&keyed.outputs),
        None => config,
    });
    let whole = Value::Object(Map::from_iter([("policy".to_owned(), Value::Object(data))]));
    Rendered {
        policy_id: policy.policy_id.clone(),
        revision: policy.revision_idx,
        created_at: policy.timestamp.to_string(),
        data: PolicyText::new(whole.to_string()),
        collector,
        keyed,
        missing_secrets: missing,
    }
}

fn clone_entry((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// The ids of the secrets that a policy refers to, in either form, and that its agents may have.
#[must_use]
pub fn secret_ids(policy: &DeployedPolicy) -> Vec<String> {
    let mut ids = named_in(&policy.data);
    if let Some(Value::Array(references)) = policy.data.get("secret_references") {
        ids.extend(
            references.iter().filter_map(|reference| reference.get("id")?.as_str().map(str::to_owned)),
        );
    }
    if let Some(allowed) = &policy.secrets {
        ids.retain(|id| allowed.contains(id));
    }
    ids.sort();
    ids.dedup();
    ids
}

/// The ids of the secrets that something refers to, in either form.
#[must_use]
pub fn named_in(data: &Map<String, Value>) -> Vec<String> {
    let nothing = BTreeMap::new();
    let mut collecting = Replacing { secrets: &nothing, replaced: Vec::new(), missing: BTreeMap::new() };
    for (key, value) in data {
        collecting.walk(key, &mut value.clone());
    }
    collecting.missing.into_values().collect()
}

struct Replacing<'a> {
    secrets: &'a BTreeMap<String, String>,
    /// Paths of what was replaced.
    replaced: Vec<String>,
    /// Path and id of what was not there.
    missing: BTreeMap<String, String>,
}

impl Replacing<'_> {
    fn walk(&mut self, path: &str, value: &mut Value) {
        match value {
            Value::String(text) if text.contains(REFERENCE) => self.replace_inline(path, text),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.walk(&format!("{path}.{index}"), item);
                }
            }
            Value::Object(members) => {
                if let Some(secrets) = members.remove("secrets") {
                    let rest = self.place(path, members, secrets);
                    if let Some(rest) = rest {
                        members.insert("secrets".to_owned(), rest);
                    }
                }
                for (key, member) in members.iter_mut() {
                    if key != "secrets" {
                        self.walk(&format!("{path}.{key}"), member);
                    }
                }
            }
            _ => {}
        }
    }

    /// Replaces each `$co.elastic.secret{ID}` in a text.
    fn replace_inline(&mut self, path: &str, text: &mut String) {
        let mut done = String::with_capacity(text.len());
        let mut rest = text.as_str();
        let mut replaced = false;
        while let Some(at) = rest.find(REFERENCE) {
            let (before, after) = rest.split_at(at);
            let Some((id, tail)) = after[REFERENCE.len()..].split_once('}') else { break };
            done.push_str(before);
            if let Some(secret) = self.secrets.get(id) {
                done.push_str(secret);
                replaced = true;
            } else {
                self.missing.insert(path.to_owned(), id.to_owned());
                done.push_str(&after[..after.len() - tail.len()]);
            }
            rest = tail;
        }
        done.push_str(rest);
        *text = done;
        if replaced {
            self.replaced.push(path.to_owned());
        }
    }

    /// Puts what `secrets.<path>.id` names at `<path>` beside it. Returns what is not such a reference.
    fn place(&mut self, path: &str, beside: &mut Map<String, Value>, secrets: Value) -> Option<Value> {
        let Value::Object(members) = secrets else { return Some(secrets) };
        let mut rest = Map::new();
        for (key, value) in members {
            let place = format!("{path}.{key}");
            if let Some(id) = value.get("id").and_then(Value::as_str) {
                if let Some(secret) = self.secrets.get(id) {
                    beside.insert(key, secret.clone().into());
                    self.replaced.push(place);
                } else {
                    self.missing.insert(place, id.to_owned());
                    rest.insert(key, value);
                }
                continue;
            }
            let Value::Object(nested) = value else {
                rest.insert(key, value);
                continue;
            };
            let within = beside.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
            let left = match within {
                Value::Object(within) => self.place(&place, within, Value::Object(nested)),
                _ => Some(Value::Object(nested)),
            };
            if let Some(left) = left {
                rest.insert(key, left);
            }
        }
        (!rest.is_empty()).then_some(Value::Object(rest))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::timestamp::Timestamp;

    fn policy(data: Value) -> DeployedPolicy {
        let Value::Object(data) = data else { panic!("an object") };
        DeployedPolicy {
            policy_id: "web".to_owned(),
            revision_idx: 3,
            timestamp: Timestamp::from_unix(0),
            data,
            ..DeployedPolicy::default()
        }
    }

    fn rendered(data: Value) -> (Value, Rendered) {
        let secrets = BTreeMap::from([("s1".to_owned(), "hunter2".to_owned())]);
        let rendered = render(&policy(data), &secrets);
        let mut value: Value = serde_json::from_slice(&rendered.data.text()).unwrap();
        (value["policy"].take(), rendered)
    }

    #[test]
    fn agents_get_known_keys_with_id_and_revision() {
        let (policy, _) = rendered(json!({"inputs": [], "inner": 1, "revision": 99, "agent": {"x": 1}}));
        assert_eq!(policy, json!({"id": "web", "revision": 3, "inputs": [], "agent": {"x": 1}}));
    }

    #[test]
    fn references_in_texts_are_replaced_and_named() {
        let (policy, rendered) = rendered(json!({
            "secret_references": [{"id": "s1"}],
            "inputs": [{"streams": [{"password": "a $co.elastic.secret{s1}:$co.elastic.secret{s2}"}]}],
        }));
        assert_eq!(policy["inputs"][0]["streams"][0]["password"], "a hunter2:$co.elastic.secret{s2}");
        assert_eq!(policy["secret_paths"], json!(["inputs.0.streams.0.password"]));
        assert!(policy.get("secret_references").is_none());
        assert_eq!(rendered.missing_secrets["inputs.0.streams.0.password"], "s2");
    }

    #[test]
    fn references_by_path_are_put_in_their_place() {
        let (policy, rendered) = rendered(json!({
            "outputs": {"default": {"type": "x", "secrets": {"ssl": {"key": {"id": "s1"}}, "password": {"id": "gone"}}}},
        }));
        let expected =
            json!({"type": "x", "ssl": {"key": "hunter2"}, "secrets": {"password": {"id": "gone"}}});
        assert_eq!(policy["outputs"]["default"], expected);
        assert_eq!(policy["secret_paths"], json!(["outputs.default.ssl.key"]));
        assert_eq!(rendered.missing_secrets["outputs.default.password"], "gone");
    }

    #[test]
    fn an_unfinished_reference_stays() {
        let (policy, rendered) = rendered(json!({"inputs": ["$co.elastic.secret{s1"]}));
        assert_eq!(policy["inputs"][0], "$co.elastic.secret{s1");
        assert!(rendered.missing_secrets.is_empty());
    }

    #[test]
    fn secrets_are_found_in_every_form() {
        let policy = policy(json!({
            "secret_references": [{"id": "listed"}],
            "inputs": ["$co.elastic.secret{inline}"],
            "outputs": {"default": {"secrets": {"ssl": {"key": {"id": "placed"}}}}},
        }));
        assert_eq!(secret_ids(&policy), ["inline", "listed", "placed"]);
        let policy = DeployedPolicy { secrets: Some(["placed".to_owned()].into()), ..policy };
        assert_eq!(secret_ids(&policy), ["placed"], "the others are not for its agents");
    }
}
