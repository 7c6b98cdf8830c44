//! Policies in which each agent has keys of its own for the engines that it writes to.
//!
//! All of such a policy but the keys is the same for its agents: it is rendered once, with holes.

use std::collections::BTreeMap;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use crate::render::PolicyText;

/// What a hole looks like in JSON, up to its form. No text that people can type has this character.
const HOLE: &str = "\"\\u0001output-key:";
/// What ends it.
const HOLE_END: &str = "\\u0001\"";
/// Which key a hole stands for, and how it is written there: agents take `id:key`, collectors that in Base64.
const PLAIN: &str = "plain:";
const ENCODED: &str = "encoded:";
/// About how long keys are, in bytes.
const KEY_LENGTH: usize = 128;

/// An output that each agent gets a key of its own for.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedOutput {
    /// How agents know it.
    pub name: String,
    /// Its id.
    pub output_id: String,
    /// What its keys may do: roles by their names.
    pub permissions: Map<String, Value>,
    /// Of these, to see whether a key has them: hexadecimal SHA-256 of their JSON in one line.
    pub permissions_hash: String,
}

/// A policy with holes for keys.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// Whose keys go into the holes.
    pub outputs: Vec<KeyedOutput>,
    /// With holes.
    text: PolicyText,
    /// Where they are, in order.
    holes: Vec<Hole>,
}

#[derive(Clone, Debug, PartialEq)]
struct Hole {
    place: Range<usize>,
    output: usize,
    is_encoded: bool,
}

impl Keyed {
    /// A policy with holes where `output_keys` (ids of outputs by their names) say that there are keys. An output
    /// that has a key already keeps it: somebody has put it there. `None`: there are no holes.
    pub(crate) fn of(data: &Map<String, Value>, output_keys: &BTreeMap<String, String>) -> Option<Keyed> {
        let mut data = data.clone();
        let mut outputs = Vec::new();
        let mut paths = Vec::new();
        for (name, output_id) in output_keys {
            let Some(Value::Object(output)) = data.get_mut("outputs").and_then(|all| all.get_mut(name))
            else {
                continue;
            };
            if output.contains_key("api_key") {
                continue;
            }
            let number = outputs.len();
            output.insert("api_key".to_owned(), hole(PLAIN, number));
            paths.push(format!("outputs.{name}.api_key"));
            let exporter = format!("elasticsearch/{name}");
            let exporter = data.get_mut("exporters").and_then(|all| all.get_mut(&exporter));
            if let Some(Value::Object(exporter)) = exporter
                && !exporter.contains_key("api_key")
            {
                exporter.insert("api_key".to_owned(), hole(ENCODED, number));
                paths.push(format!("exporters.elasticsearch/{name}.api_key"));
            }
            let permissions = data.get("output_permissions").and_then(|all| all.get(name));
            let permissions = permissions.and_then(Value::as_object).cloned().unwrap_or_default();
            let line = format!("{}\n", json!(permissions));
            let permissions_hash = hex::encode(digest(&SHA256, line.as_bytes()).as_ref());
            let (name, output_id) = (name.clone(), output_id.clone());
            outputs.push(KeyedOutput { name, output_id, permissions, permissions_hash });
        }
        if outputs.is_empty() {
            return None;
        }
        let known = data.get("secret_paths").and_then(Value::as_array).into_iter().flatten();
        paths.extend(known.filter_map(Value::as_str).map(str::to_owned));
        data.insert("secret_paths".to_owned(), paths.into());
        let text = json!({"policy": data}).to_string();
        let holes = holes(&text, outputs.len());
        Some(Keyed { outputs, text: PolicyText::new(text), holes })
    }

    /// The `data` of the `POLICY_CHANGE` action of an agent with these keys, `id:key` by the outputs' names.
    #[must_use]
    pub fn fill(&self, keys: &BTreeMap<String, String>) -> Vec<u8> {
        let text = self.text.text();
        let mut whole = Vec::with_capacity(text.len() + self.holes.len() * KEY_LENGTH);
        let mut at = 0;
        for hole in &self.holes {
            whole.extend_from_slice(&text[at..hole.place.start]);
            at = hole.place.end;
            let key = self.outputs.get(hole.output).and_then(|output| keys.get(&output.name));
            let key = key.map(String::as_str).unwrap_or_default();
            let key = if hole.is_encoded { STANDARD.encode(key) } else { key.to_owned() };
            whole.extend_from_slice(Value::from(key).to_string().as_bytes());
        }
        whole.extend_from_slice(&text[at..]);
        whole
    }
}

fn hole(form: &str, number: usize) -> Value {
    format!("\u{1}output-key:{form}{number}\u{1}").into()
}

fn holes(text: &str, outputs: usize) -> Vec<Hole> {
    let mut holes = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(HOLE) {
        let begin = at + found;
        at = begin + HOLE.len();
        let Some((inner, _)) = text[at..].split_once(HOLE_END) else { break };
        let (is_encoded, number) = match (inner.strip_prefix(PLAIN), inner.strip_prefix(ENCODED)) {
            (Some(number), _) => (false, number),
            (_, Some(number)) => (true, number),
            _ => continue,
        };
        let Some(output) = number.parse().ok().filter(|number| *number < outputs) else { continue };
        at += inner.len() + HOLE_END.len();
        holes.push(Hole { place: begin..at, output, is_encoded });
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("an object: {value}") };
        object
    }

    #[test]
    fn keys_go_where_they_belong() {
        let data = object(json!({
            "outputs": {"default": {"type": "elasticsearch"}, "own": {"api_key": "a:b"}, "plain": {}},
            "output_permissions": {"default": {"role": {"cluster": ["monitor"]}}},
            "exporters": {"elasticsearch/default": {}, "debug": {}},
            "inputs": ["\u{1}output-key:plain:9\u{1}"],
            "secret_paths": ["inputs.0.password"],
        }));
        let ids = ["default", "own", "gone"].map(|name| (name.to_owned(), format!("id-{name}")));
        let keyed = Keyed::of(&data, &BTreeMap::from(ids)).unwrap();
        let names: Vec<_> = keyed.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["default"], "one has a key already, one is not there");
        let keys = BTreeMap::from([("default".to_owned(), "id:\"key".to_owned())]);
        let filled: Value = serde_json::from_slice(&keyed.fill(&keys)).unwrap();
        let policy = &filled["policy"];
        assert_eq!(policy["outputs"]["default"]["api_key"], "id:\"key");
        assert_eq!(policy["outputs"]["own"]["api_key"], "a:b");
        assert_eq!(policy["exporters"]["elasticsearch/default"]["api_key"], STANDARD.encode("id:\"key"));
        assert_eq!(policy["inputs"], data["inputs"]);
        let paths = json!([
            "outputs.default.api_key",
            "exporters.elasticsearch/default.api_key",
            "inputs.0.password",
        ]);
        assert_eq!(policy["secret_paths"], paths);
    }

    #[test]
    fn hashes_are_of_the_permissions_alone() {
        let of = |permissions: Value, other: u64| {
            let data =
                object(json!({"outputs": {"a": {"x": other}}, "output_permissions": {"a": permissions}}));
            let keyed = Keyed::of(&data, &BTreeMap::from([("a".to_owned(), "a".to_owned())])).unwrap();
            keyed.outputs[0].permissions_hash.clone()
        };
        let one = of(json!({"role": {"cluster": ["monitor"]}}), 1);
        assert_eq!(one, of(json!({"role": {"cluster": ["monitor"]}}), 2));
        assert_ne!(one, of(json!({"role": {"cluster": []}}), 1));
        // As `printf '{"role":{"cluster":["monitor"]}}\n' | sha256sum` has it.
        assert_eq!(one.len(), 64);
    }

    #[test]
    fn a_policy_without_keys_has_no_holes() {
        assert!(Keyed::of(&object(json!({"outputs": {"default": {}}})), &BTreeMap::new()).is_none());
    }
}
