//! `dissect`: takes a text apart at fixed texts: `%{client} - [%{+when/2} %{+when/1}] %{?rest->}`.

use serde_json::json;
#[cfg(test)]
use serde_json::{Map, Value};

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

/// A key and the text that ends it.
#[derive(Debug)]
struct Part {
    kind: Kind,
    name: String,
    /// `->`: the ending may be there several times.
    greedy: bool,
    /// Order among those appended to one key.
    order: u32,
    ending: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// `+`: appended to the key of that name.
    Append,
    /// `?` or no name: left out; its value may name another key.
    Skip,
    /// `&`: its name is the value of the `?` key of the same name.
    Indirect,
}

#[derive(Debug)]
pub(super) struct Tokenizer {
    start: String,
    parts: Vec<Part>,
}

impl Tokenizer {
    pub(super) fn parse(text: &str) -> Result<Tokenizer, String> {
        let mut pieces = text.split("%{");
        let start = pieces.next().unwrap_or_default().to_owned();
        let mut parts = Vec::new();
        for piece in pieces {
            let (key, ending) = piece.split_once('}').ok_or("has a %{ without its }")?;
            let (key, greedy) = match key.strip_suffix("->") {
                Some(key) => (key, true),
                None => (key, false),
            };
            let (key, _type) = key.split_once('|').unwrap_or((key, ""));
            let (key, order) = match key.split_once('/') {
                Some((key, order)) => (key, order.parse().map_err(|_| "has an order that is no number")?),
                None => (key, 0),
            };
            let (kind, name) = match key.chars().next() {
                Some('+') => (Kind::Append, &key[1..]),
                Some('?' | '*') => (Kind::Skip, &key[1..]),
                Some('&') => (Kind::Indirect, &key[1..]),
                Some(_) => (Kind::Plain, key),
                None => (Kind::Skip, key),
            };
            parts.push(Part { kind, name: name.to_owned(), greedy, order, ending: ending.to_owned() });
        }
        if parts.is_empty() {
            return Err("has no %{key}".to_owned());
        }
        if parts.iter().rev().skip(1).any(|part| part.ending.is_empty()) {
            return Err("has two keys with nothing between them".to_owned());
        }
        Ok(Tokenizer { start, parts })
    }

    /// The keys and their values, or `None` when the text does not fit.
    pub(super) fn apply(&self, text: &str) -> Option<Vec<(String, String)>> {
        let mut rest = text.strip_prefix(self.start.as_str())?;
        let mut values = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (value, after) = match part.ending.as_str() {
                "" => (rest, ""),
                ending => rest.split_once(ending)?,
            };
            rest = after;
            while part.greedy && !part.ending.is_empty() {
                match rest.strip_prefix(part.ending.as_str()) {
                    Some(after) => rest = after,
                    None => break,
                }
            }
            values.push((part, value));
        }
        // The sort is stable: keys without an order stay as they are written.
        let mut ordered: Vec<&(&Part, &str)> = values.iter().collect();
        ordered.sort_by_key(|(part, _)| part.order);
        let mut out: Vec<(String, String)> = Vec::with_capacity(values.len());
        for (part, value) in ordered {
            let name = match part.kind {
                Kind::Skip => continue,
                Kind::Plain | Kind::Append => part.name.clone(),
                Kind::Indirect => {
                    let named =
                        |(other, _): &&(&Part, &str)| other.kind == Kind::Skip && other.name == part.name;
                    values.iter().find(named)?.1.to_owned()
                }
            };
            match out.iter_mut().find(|(key, _)| *key == name) {
                Some((_, text)) if part.kind == Kind::Append => {
                    text.push(' ');
                    text.push_str(value);
                }
                Some((_, text)) => *text = (*value).to_owned(),
                None => out.push((name, (*value).to_owned())),
            }
        }
        Some(out)
    }
}

#[derive(Debug)]
struct Dissect {
    field: FieldPath,
    target: String,
    tokenizer: Tokenizer,
    ignore_failure: bool,
    overwrite: bool,
    trim: (bool, bool),
    trim_chars: String,
}

impl Processor for Dissect {
    fn run(&self, event: &mut Event) -> Flow {
        let fits = |text: &&str| event.spend(text.len()).is_ok();
        let found = event.text(&self.field).filter(fits).and_then(|text| self.tokenizer.apply(text));
        let Some(found) = found else {
            if !self.ignore_failure {
                let tags = ["dissect_parsing_error".to_owned()];
                super::add::append(event, &FieldPath::new("log.flags"), &tags);
            }
            return Flow::Keep;
        };
        for (key, value) in found {
            let mut value = value.as_str();
            if self.trim.0 {
                value = value.trim_start_matches(|letter| self.trim_chars.contains(letter));
            }
            if self.trim.1 {
                value = value.trim_end_matches(|letter| self.trim_chars.contains(letter));
            }
            let path = if self.target.is_empty() {
                FieldPath::new(&key)
            } else {
                FieldPath::new(&format!("{}.{key}", self.target))
            };
            if self.overwrite || event.get(&path).is_none() {
                event.put(&path, json!(value));
            }
        }
        Flow::Keep
    }
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let text = config.text("tokenizer")?.ok_or_else(|| config.mistake("tokenizer", "is missing"))?;
    let tokenizer = Tokenizer::parse(&text)
        .map_err(|problem| config.mistake("tokenizer", format!("{text:?} {problem}")))?;
    let trim = match config.text("trim_values")?.as_deref() {
        None | Some("none") => (false, false),
        Some("left") => (true, false),
        Some("right") => (false, true),
        Some("all") => (true, true),
        Some(other) => {
            return Err(
                config.mistake("trim_values", format!("{other:?} is unknown: use none, left, right or all"))
            );
        }
    };
    Ok(Box::new(Dissect {
        field: FieldPath::new(&config.text("field")?.unwrap_or_else(|| "message".to_owned())),
        target: config.text("target_prefix")?.unwrap_or_else(|| "dissect".to_owned()),
        tokenizer,
        ignore_failure: config.boolean("ignore_failure", false)?,
        // What a policy takes apart again is meant to be overwritten only when it says so.
        overwrite: config.boolean("overwrite_keys", false)?,
        trim,
        trim_chars: config.text("trim_chars")?.unwrap_or_else(|| " ".to_owned()),
    }))
}

/// For tests and tools: what a tokenizer makes of a text.
#[cfg(test)]
fn dissected(tokenizer: &str, text: &str) -> Option<Map<String, Value>> {
    let found = Tokenizer::parse(tokenizer).unwrap().apply(text)?;
    Some(found.into_iter().map(|(key, value)| (key, json!(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokenizer: &str, text: &str, expected: &Value) {
        assert_eq!(
            dissected(tokenizer, text).map_or(Value::Null, Value::Object),
            *expected,
            "{tokenizer} {text}"
        );
    }

    #[test]
    fn texts_are_taken_apart() {
        check("%{a} - %{b}", "1 - 2 - 3", &json!({"a": "1", "b": "2 - 3"}));
        check("<%{p}>%{?skip} %{m}", "<13>x hello world", &json!({"p": "13", "m": "hello world"}));
        check("%{+t/2} %{+t/1} %{m}", "a b c", &json!({"t": "b a", "m": "c"}));
        check("%{a->} %{b}", "x    y", &json!({"a": "x", "b": "y"}));
        check("%{?k}=%{&k}", "user=bob", &json!({"user": "bob"}));
        check("id=%{id|integer}", "id=7", &json!({"id": "7"}));
        check("%{a}:%{b}", "no colon", &Value::Null);
    }

    #[test]
    fn a_bad_tokenizer_says_why() {
        assert!(Tokenizer::parse("%{a").unwrap_err().contains("without its }"));
        assert!(Tokenizer::parse("%{a}%{b}").unwrap_err().contains("nothing between"));
        assert!(Tokenizer::parse("text").unwrap_err().contains("no %{key}"));
    }
}
