//! The part of a policy that is a collector's configuration.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleet_protocol::opamp::{AgentConfigFile, AgentConfigMap, AgentRemoteConfig};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::keyed::KeyedOutput;

/// The keys of a policy that are a collector's configuration.
const KEYS: [&str; 6] = ["connectors", "exporters", "extensions", "processors", "receivers", "service"];

/// A collector's configuration, ready to be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorConfig {
    /// JSON, which is YAML too.
    body: Bytes,
    /// SHA-256 of `body`, and of the outputs that collectors have keys for.
    hash: Bytes,
    /// The same, hexadecimal.
    hash_text: Box<str>,
}

impl CollectorConfig {
    /// That of a policy with these keys; `None`: it has none.
    #[must_use]
    pub fn of(policy: &Map<String, Value>) -> Option<CollectorConfig> {
        let own = policy.iter().filter(|(key, value)| KEYS.contains(&key.as_str()) && !value.is_null());
        let own: Map<String, Value> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        if own.is_empty() {
            return None;
        }
        // For people who look at it on the collector's machine.
        let mut body = serde_json::to_vec_pretty(&own).ok()?;
        body.push(b'\n');
        let hash = Bytes::copy_from_slice(digest(&SHA256, &body).as_ref());
        let hash_text = hash_text(&hash);
        Some(CollectorConfig { body: body.into(), hash, hash_text })
    }

    /// Tells it from others, hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash_text
    }

    /// As it is offered: one file without a name.
    #[must_use]
    pub fn message(&self) -> AgentRemoteConfig {
        self.message_of(self.body.to_vec())
    }

    /// The same where collectors have keys of their own for these outputs: with them it is another one.
    #[must_use]
    pub fn keyed(self, outputs: &[KeyedOutput]) -> CollectorConfig {
        let keyless = self.keyless(outputs);
        if keyless.is_empty() {
            return self;
        }
        let mut whole = self.body.to_vec();
        for output in keyless {
            whole.extend_from_slice(format!("{}={}\n", output.name, output.output_id).as_bytes());
        }
        let hash = Bytes::copy_from_slice(digest(&SHA256, &whole).as_ref());
        CollectorConfig { hash_text: hash_text(&hash), hash, body: self.body }
    }

    /// The outputs that it writes to and names no key for.
    #[must_use]
    pub fn keyless(&self, outputs: &[KeyedOutput]) -> Vec<KeyedOutput> {
        let body = self.parsed();
        let is_keyless = |output: &&KeyedOutput| {
            let exporter = body["exporters"].get(exporter(&output.name));
            exporter.is_some_and(|exporter| exporter.is_object() && exporter.get("api_key").is_none())
        };
        outputs.iter().filter(is_keyless).cloned().collect()
    }

    /// As it is offered to a collector with these keys, `id:key` by the outputs' names. Its hash is the same for
    /// all of them.
    #[must_use]
    pub fn message_with(&self, keys: &BTreeMap<String, String>) -> AgentRemoteConfig {
        let mut body = self.parsed();
        for (name, key) in keys {
            if let Some(Value::Object(exporter)) = body["exporters"].get_mut(exporter(name)) {
                exporter.entry("api_key").or_insert_with(|| STANDARD.encode(key).into());
            }
        }
        let mut text = serde_json::to_vec_pretty(&body).unwrap_or_default();
        text.push(b'\n');
        self.message_of(text)
    }

    fn parsed(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn message_of(&self, body: Vec<u8>) -> AgentRemoteConfig {
        let file = AgentConfigFile { body, content_type: "text/yaml".to_owned() };
        let config_map = BTreeMap::from([(String::new(), file)]);
        AgentRemoteConfig { config: Some(AgentConfigMap { config_map }), config_hash: self.hash.to_vec() }
    }
}

/// What the exporter to an output is called.
fn exporter(output: &str) -> String {
    format!("elasticsearch/{output}")
}

/// A hash as it is stored: hexadecimal.
pub(super) fn hash_text(hash: &[u8]) -> Box<str> {
    hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(policy: Value) -> Option<CollectorConfig> {
        let Value::Object(policy) = policy else { panic!("an object") };
        CollectorConfig::of(&policy)
    }

    #[test]
    fn only_what_is_a_collectors_is_in_it() {
        assert_eq!(of(json!({"id": "web", "inputs": [], "receivers": null})), None);
        let policy =
            json!({"id": "web", "revision": 3, "receivers": {"otlp": {}}, "service": {"pipelines": {}}});
        let config = of(policy).unwrap();
        let message = config.message();
        let file = &message.config.unwrap().config_map[""];
        let body: Value = serde_json::from_slice(&file.body).unwrap();
        assert_eq!(body, json!({"receivers": {"otlp": {}}, "service": {"pipelines": {}}}));
        assert_eq!(hash_text(&message.config_hash).as_ref(), config.hash());
    }

    #[test]
    fn each_collector_has_keys_of_its_own_in_the_same_configuration() {
        let config = of(json!({
            "exporters": {"elasticsearch/default": {"endpoints": ["https://e"]},
                "elasticsearch/own": {"api_key": "mine"}, "debug": {}},
            "service": {},
        }));
        let without = config.unwrap();
        let output = |name: &str| KeyedOutput {
            name: name.to_owned(),
            output_id: name.to_owned(),
            permissions: Map::new(),
            permissions_hash: String::new(),
        };
        // A collector that runs it without keys is offered it again.
        let config = without.clone().keyed(&[output("default")]);
        assert_ne!(config.hash(), without.hash());
        assert_eq!(without.clone().keyed(&[output("own"), output("other")]), without);
        let keyless = config.keyless(&[output("default"), output("own"), output("other")]);
        assert_eq!(keyless, [output("default")], "nobody needs a key that is not used");
        let keys = ["default", "own", "other"].map(|name| (name.to_owned(), "id:key".to_owned()));
        let message = config.message_with(&BTreeMap::from(keys));
        assert_eq!(message.config_hash, config.message().config_hash);
        let body: Value = serde_json::from_slice(&message.config.unwrap().config_map[""].body).unwrap();
        assert_eq!(body["exporters"]["elasticsearch/default"]["api_key"], "aWQ6a2V5");
        assert_eq!(body["exporters"]["elasticsearch/own"]["api_key"], "mine");
        assert_eq!(body["exporters"].as_object().unwrap().len(), 3);
    }

    #[test]
    fn another_revision_of_the_same_configuration_has_the_same_hash() {
        let one = of(json!({"revision": 1, "receivers": {"otlp": {}}}));
        assert_eq!(one, of(json!({"revision": 2, "receivers": {"otlp": {}}})));
        assert_ne!(one, of(json!({"revision": 2, "receivers": {"otlp": null}})));
    }
}
