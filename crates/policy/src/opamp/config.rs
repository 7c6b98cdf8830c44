//! The part of a policy that is a collector's configuration.

use std::collections::BTreeMap;

use bytes::Bytes;
use fleet_protocol::opamp::{AgentConfigFile, AgentConfigMap, AgentRemoteConfig};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

/// The keys of a policy that are a collector's configuration.
const KEYS: [&str; 6] = ["connectors", "exporters", "extensions", "processors", "receivers", "service"];

/// A collector's configuration, ready to be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorConfig {
    /// JSON, which is YAML too.
    body: Bytes,
    /// SHA-256 of `body`.
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
        let file = AgentConfigFile { body: self.body.to_vec(), content_type: "text/yaml".to_owned() };
        let config_map = BTreeMap::from([(String::new(), file)]);
        AgentRemoteConfig { config: Some(AgentConfigMap { config_map }), config_hash: self.hash.to_vec() }
    }
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
    fn another_revision_of_the_same_configuration_has_the_same_hash() {
        let one = of(json!({"revision": 1, "receivers": {"otlp": {}}}));
        assert_eq!(one, of(json!({"revision": 2, "receivers": {"otlp": {}}})));
        assert_ne!(one, of(json!({"revision": 2, "receivers": {"otlp": null}})));
    }
}
