//! The configuration that a collector runs, without its secrets.
//!
//! Only what can be read is kept: of a text that is not understood nobody can tell where its secrets are.

use fleet_protocol::opamp::{AgentConfigFile, EffectiveConfig};
use serde_json::{Map, Value};

use crate::yaml::parse;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// A value is a secret if its key has one of these in it, in any case.
const SECRET: [&str; 7] = ["password", "token", "key", "secret", "auth", "certificate", "passphrase"];

/// Why a configuration is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EffectiveConfigError {
    /// A file is not text.
    #[error("the file {0:?} is not UTF-8 text")]
    NotText(String),
    /// A file is of another kind.
    #[error("the file {0:?} is not YAML or JSON with keys and values: {1}")]
    NotYaml(String, String),
}

/// The configuration: of a single file what is in it, of several what is in each.
///
/// # Errors
/// A file is not YAML or JSON.
pub fn effective_config(told: &EffectiveConfig) -> Result<Value, EffectiveConfigError> {
    let files = told.config_map.iter().flat_map(|map| &map.config_map);
    let mut read = Map::new();
    for (name, file) in files {
        read.insert(name.clone(), file_value(name, file)?);
    }
    if read.len() == 1 {
        return Ok(read.into_iter().next().map_or(Value::Null, |(_, only)| only));
    }
    Ok(Value::Object(read))
}

fn file_value(name: &str, file: &AgentConfigFile) -> Result<Value, EffectiveConfigError> {
    let text = std::str::from_utf8(&file.body).map_err(|_| EffectiveConfigError::NotText(name.to_owned()))?;
    let not_yaml = |reason: String| EffectiveConfigError::NotYaml(name.to_owned(), reason);
    let mut value = parse(text).map_err(not_yaml)?;
    match &value {
        Value::Null => value = Value::Object(Map::new()),
        Value::Object(_) => redact(&mut value),
        _ => return Err(not_yaml("it is a list or a word".to_owned())),
    }
    Ok(value)
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                if is_secret(key) && !member.is_null() {
                    *member = REDACTED.into();
                } else {
                    redact(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => {
            if let Some(masked) = mask_user(text) {
                *text = masked;
            }
        }
        _ => {}
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET.iter().any(|word| key.contains(word))
}

/// The text without the users and passwords of the addresses in it: `https://user:password@host`. `None`: it has
/// none.
fn mask_user(text: &str) -> Option<String> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        masked.push_str(before);
        let end = after.find(|c: char| "/?#,".contains(c) || c.is_whitespace()).unwrap_or(after.len());
        rest = after;
        if let Some(user_end) = after[..end].rfind('@') {
            masked.push_str(REDACTED);
            rest = &after[user_end..];
        }
    }
    masked.push_str(rest);
    (masked != text).then_some(masked)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet_protocol::opamp::AgentConfigMap;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn config(files: &[(&str, &str)]) -> EffectiveConfig {
        let file = |body: &str| AgentConfigFile { body: body.into(), content_type: String::new() };
        let files = files.iter().map(|(name, body)| ((*name).to_owned(), file(body)));
        EffectiveConfig { config_map: Some(AgentConfigMap { config_map: BTreeMap::from_iter(files) }) }
    }

    #[test]
    fn secrets_are_left_out_wherever_they_are() {
        let yaml = "
exporters:
  otlphttp:
    endpoint: https://me:hunter2@example.com:4318/v1?x=1
    timeout: 10
    retry: true
    none:
    headers: {Authorization: Bearer hunter2, X-Api-Key: hunter2, x-tenant: acme}
    tls: {ca_file: /ca.pem, key_pem: hunter2}
  kafka:
    brokers: [kafka://u:hunter2@a, 'plain']
    SASL_Password: hunter2
    tokens: [hunter2, {a: hunter2}]
";
        let value = effective_config(&config(&[("", yaml)])).unwrap();
        assert!(!value.to_string().contains("hunter2"), "{value}");
        let exporters = &value["exporters"];
        assert_eq!(exporters["otlphttp"]["endpoint"], "https://[REDACTED]@example.com:4318/v1?x=1");
        assert_eq!(exporters["otlphttp"]["headers"]["x-tenant"], "acme");
        assert_eq!(exporters["otlphttp"]["timeout"], 10);
        assert_eq!(exporters["otlphttp"]["none"], Value::Null);
        assert_eq!(exporters["kafka"]["tokens"], REDACTED);
        assert_eq!(exporters["kafka"]["brokers"], json!(["kafka://[REDACTED]@a", "plain"]));
    }

    #[test]
    fn files_have_names_when_they_are_several() {
        let several = config(&[("a.yaml", "x: 1"), ("b.json", "{\"password\": 2}")]);
        let expected = json!({"a.yaml": {"x": 1}, "b.json": {"password": REDACTED}});
        assert_eq!(effective_config(&several), Ok(expected));
        assert_eq!(effective_config(&config(&[("a", "")])), Ok(json!({})));
        assert_eq!(effective_config(&EffectiveConfig::default()), Ok(json!({})));
    }

    #[test]
    fn what_is_not_understood_is_not_kept() {
        for text in
            ["- a", "word", "a: *b", "a: [", "---\na: 1\n---\nb: 1", "? [a]\n: 1", "[INPUT]\n  name x"]
        {
            let answer = effective_config(&config(&[("f", text)]));
            assert!(matches!(answer, Err(EffectiveConfigError::NotYaml(..))), "{text:?}: {answer:?}");
        }
        let deep = format!("a: {}", "[".repeat(200) + &"]".repeat(200));
        assert!(effective_config(&config(&[("f", &deep)])).is_err());
    }

    proptest! {
        #[test]
        fn no_secret_is_kept(
            before in "[a-z]{0,5}",
            word in prop::sample::select(&SECRET[..]),
            after in "[a-zA-Z_.]{0,5}",
            depth in 0_usize..6,
            upper: bool,
        ) {
            let word = if upper { word.to_uppercase() } else { word.to_owned() };
            let mut body = json!({format!("{before}{word}{after}"): {"x": ["hunter2"]}});
            for level in 0..depth {
                body = if level % 2 == 0 { json!({"level": [body]}) } else { json!({"level": body}) };
            }
            let value = effective_config(&config(&[("", &body.to_string())])).unwrap();
            prop_assert!(!value.to_string().contains("hunter2"));
        }

        #[test]
        fn json_is_read_as_yaml(text in "[ -~äöü\n\t]{0,40}", number: i32, truth: bool) {
            let body = json!({"t": text, "n": [number, truth, null]});
            let value = parse(&serde_json::to_string_pretty(&body).unwrap()).unwrap();
            prop_assert_eq!(value, body);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n]{0,80}") {
            let _ = effective_config(&config(&[("", &text)]));
        }
    }
}
