//! Policies for people's eyes: what is secret does not show.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::variables::Facts;

/// What stands in a secret's place.
pub const HIDDEN: &str = "<REDACTED>";
/// Names of keys that hold secrets, wherever they stand. Compared without case, as a whole or as an ending after `_`.
const SECRET_NAMES: [&str; 15] = [
    "access_api_key",
    "api_key",
    "apikey",
    "authorization",
    "certificate_key",
    "client_secret",
    "credentials",
    "key_passphrase",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "service_token",
    "token",
];
/// Shorter secrets are not looked for in other texts: they would blank out half of them.
const SHORTEST: usize = 6;
/// So many secrets are looked for in other texts.
const MOST: usize = 10_000;

/// Knows the secrets of a policy.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    paths: BTreeSet<String>,
    /// The longest first: one may contain another.
    values: Vec<String>,
}

impl Redactor {
    /// The secrets of a policy: what its `secret_paths` name, and what stands under a name of a secret.
    #[must_use]
    pub fn of(policy: &Map<String, Value>) -> Redactor {
        let paths =
            policy.get("secret_paths").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let paths = paths.iter().filter_map(Value::as_str).map(normal).collect();
        let mut redactor = Redactor { paths, values: Vec::new() };
        let mut found = BTreeSet::new();
        for (key, value) in policy {
            redactor.collect(key, key, value, &mut found);
        }
        redactor.values = found.into_iter().filter(|value| value.len() >= SHORTEST).take(MOST).collect();
        redactor.values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        redactor
    }

    /// Knows also what the variables in these secrets stand for on this machine.
    #[must_use]
    pub fn with(mut self, facts: &Facts) -> Redactor {
        let known: Vec<String> = self.values.iter().flat_map(|secret| facts.behind(secret)).collect();
        let known = known.into_iter().filter(|value| value.len() >= SHORTEST);
        let all: BTreeSet<String> = self.values.drain(..).chain(known).collect();
        self.values = all.into_iter().collect();
        self.values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        self
    }

    fn collect(&self, path: &str, key: &str, value: &Value, found: &mut BTreeSet<String>) {
        if self.is_secret(path, key, value) {
            texts(value, found);
            return;
        }
        match value {
            Value::String(text) => {
                // What stands before the host may be repeated where no address is.
                let password =
                    user_info(text).and_then(|user| user.split_once(':')).map(|(_, password)| password);
                found.extend(password.map(str::to_owned));
                found.extend(query_secrets(text));
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.collect(&format!("{path}.{index}"), key, item, found);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    self.collect(&format!("{path}.{key}"), key, member, found);
                }
            }
            _ => {}
        }
    }

    fn is_secret(&self, path: &str, key: &str, value: &Value) -> bool {
        self.paths.contains(&normal(path)) || is_secret_name(key, value) || is_secret_place(path, value)
    }

    /// The policy without its secrets.
    #[must_use]
    pub fn policy(&self, policy: &Map<String, Value>) -> Map<String, Value> {
        policy.iter().map(|(key, value)| (key.clone(), self.value(key, key, value))).collect()
    }

    fn value(&self, path: &str, key: &str, value: &Value) -> Value {
        if self.is_secret(path, key, value) {
            return Value::String(HIDDEN.to_owned());
        }
        match value {
            Value::String(text) => Value::String(match user_info(text) {
                Some(user) => self.text(&text.replacen(user, HIDDEN, 1)),
                None => self.text(text),
            }),
            Value::Array(items) => {
                let each = items.iter().enumerate();
                each.map(|(index, item)| self.value(&format!("{path}.{index}"), key, item)).collect()
            }
            Value::Object(members) => members
                .iter()
                .map(|(key, member)| (key.clone(), self.value(&format!("{path}.{key}"), key, member)))
                .collect(),
            other => other.clone(),
        }
    }

    /// Anything else that was made of the policy, without its secrets.
    #[must_use]
    pub fn any(&self, value: &Value) -> Value {
        let plain = Redactor { paths: BTreeSet::new(), values: self.values.clone() };
        plain.value("", "", value)
    }

    /// A text without the secrets of the policy.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.values {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), HIDDEN);
            }
        }
        text
    }
}

/// A path of a secret may be written with brackets.
fn normal(path: &str) -> String {
    path.replace('[', ".").replace(']', "")
}

fn is_secret_name(key: &str, value: &Value) -> bool {
    // A map below such a name is a section about them; its members are looked at one by one.
    if value.is_object() || value.is_boolean() || value.is_null() {
        return false;
    }
    let name = key.rsplit('.').next().unwrap_or(key);
    let is_key = name.eq_ignore_ascii_case("key");
    is_name_of_secret(name) || (is_key && value.as_str().is_some_and(|text| text.contains("PRIVATE KEY")))
}

fn is_name_of_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| {
        name == *secret || name.strip_suffix(secret).is_some_and(|rest| rest.ends_with(['_', '-']))
    })
}

/// Whether it stands where secrets are, whatever it is called: headers log in, and a key is one unless it is a file.
fn is_secret_place(path: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let path = path.to_ascii_lowercase();
    let is_header = path.split('.').rev().skip(1).any(|part| part == "headers" || part.ends_with("_headers"));
    let is_key = path.ends_with("ssl.key") || path.ends_with("tls.key");
    is_header || (is_key && !text.starts_with('/'))
}

/// What stands in an address under a name of a secret, behind the question mark.
fn query_secrets(text: &str) -> impl Iterator<Item = String> {
    let query = text.split_once("://").and_then(|(_, rest)| rest.split_once('?'));
    let query = query.map(|(_, query)| query.split('#').next().unwrap_or_default()).unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| is_name_of_secret(name)).map(|(_, value)| value.to_owned())
}

/// The user and the password in an address.
fn user_info(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    (!user.is_empty()).then_some(user)
}

/// Whether a text only says where the secret is. Its name may be told: who has not set it must read which one it is.
fn is_variable(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    // A constant may be the secret itself.
    inner.is_some_and(|inner| !inner.contains(['\'', '"', '$', '{', '}', ':']))
}

fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if is_variable(text) => {}
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Number(number) => drop(found.insert(number.to_string())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_where_they_stand_and_where_they_are_repeated() {
        let policy = json!({
            "secret_paths": ["inputs.0.streams[0].custom"],
            "inputs": [{"id": "a", "streams": [{"custom": "hunter22", "url": "http://u:hunter22@h", "n": 1}]}],
            "outputs": {"default": {"api_key": "id:verysecret", "password": "p", "ssl": {"key": "-----BEGIN PRIVATE KEY-----"}}},
        });
        let policy = policy.as_object().unwrap();
        let redactor = Redactor::of(policy);
        let shown = Value::Object(redactor.policy(policy));
        assert_eq!(
            shown["inputs"][0]["streams"][0],
            json!({"custom": HIDDEN, "url": format!("http://{HIDDEN}@h"), "n": 1})
        );
        assert_eq!(
            shown["outputs"]["default"],
            json!({"api_key": HIDDEN, "password": HIDDEN, "ssl": {"key": HIDDEN}})
        );
        let policy = json!({"outputs": {"default": {
            "hosts": ["https://user:open-sesame@engine:9200/p"],
            "headers": {"Cookie": "session=1"},
            "proxy_headers": {"X-Tok": "t"},
            "ssl": {"key": "MII", "certificate": "/etc/c.pem"},
        }}});
        let policy = policy.as_object().unwrap();
        let other = Redactor::of(policy);
        assert_eq!(
            Value::Object(other.policy(policy))["outputs"]["default"],
            json!({
                "hosts": [format!("https://{HIDDEN}@engine:9200/p")],
                "headers": {"Cookie": HIDDEN},
                "proxy_headers": {"X-Tok": HIDDEN},
                "ssl": {"key": HIDDEN, "certificate": "/etc/c.pem"},
            })
        );
        assert_eq!(other.text("open-sesame was refused"), format!("{HIDDEN} was refused"));
        assert_eq!(redactor.text("401 for id:verysecret"), format!("401 for {HIDDEN}"));
        assert_eq!(redactor.any(&json!({"m": "x hunter22"})), json!({"m": format!("x {HIDDEN}")}));
    }

    #[test]
    fn the_variable_that_a_secret_comes_from_is_told_by_its_name() {
        let of = |key: &str| {
            let policy = json!({"outputs": {"default": {"api_key": key}}});
            let policy = policy.as_object().unwrap();
            let redactor = Redactor::of(policy);
            assert_eq!(redactor.policy(policy)["outputs"]["default"]["api_key"], HIDDEN);
            redactor.text(&format!("the variable {key} is not known here"))
        };
        assert_eq!(
            of("${env.ES_API_KEY|env.KEY}"),
            "the variable ${env.ES_API_KEY|env.KEY} is not known here"
        );
        for constant in ["${env.KEY|'open-sesame'}", "${a}open-sesame${b}", "$open-sesame"] {
            assert_eq!(of(constant), format!("the variable {HIDDEN} is not known here"));
        }
    }

    #[test]
    fn what_variables_stand_for_in_secrets_is_hidden_too() {
        let policy = json!({
            "outputs": {"default": {
                "api_key": "id:${env.KEY}",
                "hosts": ["http://u:${local.pw}@h/?a=1&access_token=query-secret&b=2#c"],
                "headers": {"X-A": "${env.NONE|'constant-secret'}"},
                "name": "${env.NAME}",
            }},
        });
        let facts = json!({"env": {"KEY": "environment-secret", "NAME": "plain-name"}, "local": {"pw": "local-secret"}});
        let redactor =
            Redactor::of(policy.as_object().unwrap()).with(&Facts::new(facts.as_object().unwrap().clone()));
        let secrets = [
            "id:environment-secret",
            "environment-secret",
            "local-secret",
            "constant-secret",
            "query-secret",
        ];
        for secret in secrets {
            assert_eq!(redactor.text(&format!("<{secret}>")), format!("<{HIDDEN}>"));
        }
        assert_eq!(redactor.any(&facts)["local"]["pw"], HIDDEN);
        assert_eq!(redactor.text("plain-name"), "plain-name");
        let shown = Value::Object(redactor.policy(policy.as_object().unwrap())).to_string();
        assert!(!shown.contains("query-secret") && shown.contains("b=2"), "{shown}");
    }
}
