//! The YAML that people add to an output.

use serde_json::{Map, Value};

use crate::yaml;

/// Why the YAML of an output means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigYamlError {
    /// It cannot be read.
    #[error("it is not YAML that can be read here: {0}")]
    NotYaml(String),
    /// It is a list or a word.
    #[error("it must hold keys and values: `key: value`")]
    NotKeys,
}

/// Reads the YAML of an output. A key with dots at the outermost level is the path that it names, as agents
/// take it: `ssl.verification_mode: none` and `ssl: {verification_mode: none}` say the same.
///
/// # Errors
/// It is not YAML with keys and values, or it has aliases, or more values or levels than anybody needs.
pub fn config_yaml(text: &str) -> Result<Map<String, Value>, ConfigYamlError> {
    let members = match yaml::parse(text).map_err(ConfigYamlError::NotYaml)? {
        Value::Null => return Ok(Map::new()),
        Value::Object(members) => members,
        _ => return Err(ConfigYamlError::NotKeys),
    };
    let mut config = Map::new();
    for (path, value) in members {
        let mut keys: Vec<&str> = path.split('.').collect();
        // A path with an empty part is a name that has a dot, and no path.
        if keys.iter().any(|key| key.is_empty()) {
            keys = vec![&path];
        }
        let nested = keys
            .into_iter()
            .rev()
            .fold(value, |inner, key| Value::Object(Map::from_iter([(key.to_owned(), inner)])));
        if let Value::Object(nested) = nested {
            lay_over(&mut config, nested);
        }
    }
    Ok(config)
}

/// Lays `over` over `into`: objects are merged, anything else is replaced.
pub(super) fn lay_over(into: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(over)) => lay_over(into, over),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
