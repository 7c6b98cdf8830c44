//! Variables: `${provider.name}`, with alternatives `${a.b|c.d|'constant'}`; `$${` stands for `${` itself.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::bounds::DEEPEST;

/// Variables of local definitions that refer to each other: so many steps at most.
const LONGEST_CHAIN: usize = 16;
/// A text that grows beyond this by what is put into it is not made.
const LARGEST_TEXT: usize = 1024 * 1024;

/// What is known of this machine and this agent: `host`, `agent`, `env`, `path`, `local`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    tree: Map<String, Value>,
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Nobody knows it.
    #[error("the variable ${{{0}}} is not known here")]
    Unknown(String),
    /// It is not written as a variable is.
    #[error("{0:?} is no variable: write ${{provider.name}}, alternatives after |, constants in quotes")]
    Malformed(String),
    /// The text would be too large.
    #[error("with its variables replaced, a text is larger than {LARGEST_TEXT} bytes")]
    TooLarge,
    /// Nested too deep.
    #[error("it is nested deeper than {DEEPEST} levels")]
    TooDeep,
}

/// What is wrong with local variables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// One refers to itself by way of others.
    #[error("providers.local.vars: {0} refers to itself")]
    Cycle(String),
    /// Too many steps.
    #[error("providers.local.vars: {0} takes more than {LONGEST_CHAIN} steps to resolve")]
    TooLong(String),
    /// One of them cannot be replaced.
    #[error("providers.local.vars: {name} cannot be resolved")]
    Missing {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Missing,
    },
}

/// One of the alternatives of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Alternative {
    Path(String),
    Constant(String),
}

impl Facts {
    /// These providers.
    #[must_use]
    pub fn new(tree: Map<String, Value>) -> Facts {
        Facts { tree }
    }

    /// All that is known, for people to see which variables there are.
    #[must_use]
    pub fn tree(&self) -> &Map<String, Value> {
        &self.tree
    }

    /// The same with local variables, which may refer to others and to each other.
    ///
    /// # Errors
    /// A cycle, too long a chain, or a variable that is not known.
    pub fn with_local(&self, vars: &Map<String, Value>) -> Result<Facts, LocalError> {
        let mut facts = self.clone();
        let mut done: Map<String, Value> = Map::new();
        for name in vars.keys() {
            let mut path = Vec::new();
            resolve_local(&facts, vars, name, &mut done, &mut path)?;
        }
        facts.tree.insert("local".to_owned(), Value::Object(done));
        Ok(facts)
    }

    /// A variable by its path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        let path = path.strip_suffix("[]").unwrap_or(path);
        match path.split_once('.') {
            Some((provider, rest)) => descend(self.tree.get(provider)?, rest),
            // Without a provider it is one of the environment.
            None => self.tree.get("env")?.get(path),
        }
    }

    /// The value of what stands between `${` and `}`.
    pub(super) fn value(&self, inside: &str) -> Result<Value, Missing> {
        for alternative in alternatives(inside)? {
            match alternative {
                Alternative::Constant(text) => return Ok(Value::String(text)),
                Alternative::Path(path) => {
                    if let Some(value) = self.get(&path).filter(|value| !value.is_null()) {
                        return Ok(value.clone());
                    }
                }
            }
        }
        Err(Missing::Unknown(inside.trim().to_owned()))
    }

    /// Replaces every variable in a value's texts; keys stay.
    ///
    /// # Errors
    /// The first variable that has no value.
    pub fn replace(&self, value: &Value) -> Result<Value, Missing> {
        self.replace_at(value, 0)
    }

    fn replace_at(&self, value: &Value, depth: usize) -> Result<Value, Missing> {
        if depth > DEEPEST {
            return Err(Missing::TooDeep);
        }
        match value {
            Value::String(text) => self.replace_text(text),
            Value::Array(items) => {
                let items: Result<_, _> = items.iter().map(|item| self.replace_at(item, depth + 1)).collect();
                items.map(Value::Array)
            }
            Value::Object(members) => {
                let members: Result<_, _> = members
                    .iter()
                    .map(|(key, member)| Ok((key.clone(), self.replace_at(member, depth + 1)?)))
                    .collect();
                members.map(Value::Object)
            }
            other => Ok(other.clone()),
        }
    }

    /// What a text with variables becomes here, and what each of them stands for: all that is known of it.
    #[must_use]
    pub fn behind(&self, text: &str) -> Vec<String> {
        let variables = text.match_indices("${").filter_map(|(at, _)| {
            let after = &text[at + 2..];
            self.value(&after[..end_of(after)?]).ok()
        });
        let whole = self.replace_text(text).ok().filter(|_| text.contains("${"));
        let texts = variables.chain(whole).filter_map(|value| match value {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        texts.collect()
    }

    /// A text that is one variable becomes that variable's value, whatever its kind.
    fn replace_text(&self, text: &str) -> Result<Value, Missing> {
        if !text.contains("${") {
            return Ok(Value::String(text.to_owned()));
        }
        let mut made = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                made.push_str(before);
                made.push_str("${");
                rest = &after[2..];
                continue;
            }
            made.push_str(before);
            let end = end_of(&after[2..]).ok_or_else(|| Missing::Malformed(shorten(after)))?;
            let value = self.value(&after[2..2 + end])?;
            rest = &after[2 + end + 1..];
            if made.is_empty() && rest.is_empty() && before.is_empty() && at == 0 && text.starts_with("${") {
                return Ok(value);
            }
            match value {
                Value::String(text) => made.push_str(&text),
                other => made.push_str(&other.to_string()),
            }
            if made.len() > LARGEST_TEXT {
                return Err(Missing::TooLarge);
            }
        }
        made.push_str(rest);
        Ok(Value::String(made))
    }
}

/// Members may have dots in their names: the longest name that fits wins.
fn descend<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    if let Some(found) = members.get(path) {
        return Some(found);
    }
    let (name, rest) = path.split_once('.')?;
    descend(members.get(name)?, rest)
}

/// Where the variable ends: at the first `}` that is not within quotes.
fn end_of(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (None, '}') => return Some(at),
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            _ => {}
        }
    }
    None
}

fn alternatives(inside: &str) -> Result<Vec<Alternative>, Missing> {
    let malformed = || Missing::Malformed(shorten(inside));
    let mut found = Vec::new();
    let mut rest = inside;
    loop {
        rest = rest.trim_start();
        let quoted = rest.chars().next().filter(|char| matches!(char, '\'' | '"'));
        let after = if let Some(quote) = quoted {
            let (text, after) = rest[1..].split_once(quote).ok_or_else(malformed)?;
            found.push(Alternative::Constant(text.to_owned()));
            after.trim_start()
        } else {
            let end = rest.find('|').unwrap_or(rest.len());
            let path = rest[..end].trim();
            let is_path =
                !path.is_empty() && path.chars().all(is_of_path) && !path.split('.').any(str::is_empty);
            if !is_path {
                return Err(malformed());
            }
            found.push(Alternative::Path(path.to_owned()));
            &rest[end..]
        };
        match after.strip_prefix('|') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(found),
            None => return Err(malformed()),
        }
    }
}

fn is_of_path(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '/' | '[' | ']' | '@' | ':')
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

fn resolve_local(
    facts: &Facts,
    vars: &Map<String, Value>,
    name: &str,
    done: &mut Map<String, Value>,
    path: &mut Vec<String>,
) -> Result<(), LocalError> {
    if done.contains_key(name) {
        return Ok(());
    }
    if path.iter().any(|open| open == name) {
        return Err(LocalError::Cycle(format!("${{local.{name}}}")));
    }
    if path.len() >= LONGEST_CHAIN {
        return Err(LocalError::TooLong(format!("${{local.{name}}}")));
    }
    let Some(value) = vars.get(name) else { return Ok(()) };
    path.push(name.to_owned());
    for other in local_names(value) {
        resolve_local(facts, vars, &other, done, path)?;
    }
    path.pop();
    let mut known = facts.clone();
    known.tree.insert("local".to_owned(), Value::Object(done.clone()));
    let value =
        known.replace(value).map_err(|source| LocalError::Missing { name: name.to_owned(), source })?;
    done.insert(name.to_owned(), value);
    Ok(())
}

/// The local variables that a value refers to.
fn local_names(value: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => {
                let mut rest = text.as_str();
                while let Some((_, after)) = rest.split_once("${") {
                    let inside = &after[..end_of(after).unwrap_or(after.len())];
                    for alternative in alternatives(inside).unwrap_or_default() {
                        if let Alternative::Path(path) = alternative
                            && let Some(local) = path.strip_prefix("local.")
                        {
                            names.insert(local.split('.').next().unwrap_or(local).to_owned());
                        }
                    }
                    rest = after;
                }
            }
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn facts() -> Facts {
        let Value::Object(tree) = json!({
            "host": {"name": "web", "ip": ["10.0.0.1", "::1"], "platform": "linux"},
            "env": {"HOME": "/root"},
            "agent": {"id": "a"},
        }) else {
            panic!("a map")
        };
        Facts::new(tree)
    }

    #[test]
    fn variables_are_replaced_anywhere_in_a_value() {
        let value = json!({"a": ["x-${host.name}-${agent.id}"], "${host.name}": "$${host.name}", "b": "${host.ip}", "n": 1});
        let replaced = facts().replace(&value).unwrap();
        assert_eq!(
            replaced,
            json!({"a": ["x-web-a"], "${host.name}": "${host.name}", "b": ["10.0.0.1", "::1"], "n": 1})
        );
        assert_eq!(facts().replace(&json!("${HOME}/x")).unwrap(), json!("/root/x"));
    }

    #[test]
    fn alternatives_are_taken_in_their_order() {
        for (text, value) in [
            ("${env.NO|host.name}", json!("web")),
            ("${env.NO|'con}st|ant'}", json!("con}st|ant")),
            ("${ env.NO | \"\" }", json!("")),
            ("[${host.name|'x'}]", json!("[web]")),
        ] {
            assert_eq!(facts().replace(&json!(text)).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(facts().replace(&json!("a ${env.NO}")), Err(Missing::Unknown("env.NO".to_owned())));
        for bad in ["${", "${}", "${a..b}", "${'x}", "${a b}", "${a|}"] {
            assert!(matches!(facts().replace(&json!(bad)), Err(Missing::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn local_variables_may_build_on_each_other_but_not_in_a_circle() {
        let vars = |value: Value| value.as_object().unwrap().clone();
        let facts = facts();
        let local = facts.with_local(&vars(json!({"a": "${local.b}/x", "b": "${host.name}"}))).unwrap();
        assert_eq!(local.replace(&json!("${local.a}")).unwrap(), json!("web/x"));
        let cycle = facts.with_local(&vars(json!({"a": "${local.b}", "b": ["${local.a}"]})));
        assert!(matches!(cycle, Err(LocalError::Cycle(_))), "{cycle:?}");
        let long: Map<String, Value> =
            (0..40).map(|n| (format!("v{n:02}"), json!(format!("${{local.v{:02}|'end'}}", n + 1)))).collect();
        assert!(matches!(facts.with_local(&long), Err(LocalError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[$\\{\\}'|.a-z\"é ]{0,40}") {
            let _ = facts().replace(&Value::String(text.clone()));
            if !text.contains("${") {
                prop_assert_eq!(facts().replace(&json!(text.clone())).unwrap(), json!(text));
            }
        }
    }
}
