//! Processors that may fail for an event.

use std::fmt::Debug;

use serde_json::Value;

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

/// What such a processor does. When it fails, the event is as it was.
pub(super) trait Attempt: Debug + Send + Sync + 'static {
    /// Changes the event.
    ///
    /// # Errors
    /// Why it cannot, for `error.message`.
    fn attempt(&self, event: &mut Event) -> Result<(), String>;
}

/// Tells in the event that the processor failed, unless the policy wants none of that.
#[derive(Debug)]
struct Fallible<T> {
    work: T,
    tells: bool,
}

impl<T: Attempt> Processor for Fallible<T> {
    fn run(&self, event: &mut Event) -> Flow {
        if let Err(problem) = self.work.attempt(event)
            && self.tells
        {
            event.put(&FieldPath::new("error.message"), Value::String(problem));
        }
        Flow::Keep
    }
}

/// With `fail_on_error`, which is `true` unless the policy says otherwise.
pub(super) fn telling<T: Attempt>(config: &Config, work: T) -> Result<Box<dyn Processor>, Mistake> {
    let tells = config.boolean("fail_on_error", true)?;
    Ok(Box::new(Fallible { work, tells }))
}

/// With `ignore_failure`, which is `false` unless the policy says otherwise.
pub(super) fn unless_ignored<T: Attempt>(config: &Config, work: T) -> Result<Box<dyn Processor>, Mistake> {
    let tells = !config.boolean("ignore_failure", false)?;
    Ok(Box::new(Fallible { work, tells }))
}

/// Whatever the policy says.
pub(super) fn always_telling<T: Attempt>(work: T) -> Box<dyn Processor> {
    Box::new(Fallible { work, tells: true })
}

/// The text of a field; `None`: it is not there, and need not be.
///
/// # Errors
/// It is missing, or no text, or the event has no room for what is made of it.
pub(super) fn text<'a>(
    event: &'a Event,
    field: &FieldPath,
    ignore_missing: bool,
) -> Result<Option<&'a str>, String> {
    match event.get(field) {
        Some(Value::String(text)) => {
            event.spend(text.len()).map_err(|error| format!("field {field}: {error}"))?;
            Ok(Some(text))
        }
        Some(_) => Err(format!("field {field} is no text")),
        None if ignore_missing => Ok(None),
        None => Err(format!("field {field} is not in the event")),
    }
}

/// A field that the policy has to name.
///
/// # Errors
/// It does not.
pub(super) fn needed(config: &Config, key: &str) -> Result<FieldPath, Mistake> {
    let name = config.text(key)?.filter(|name| !name.is_empty());
    name.map(|name| FieldPath::new(&name)).ok_or_else(|| config.mistake(key, "is missing: name the field"))
}

/// Fields with something for each, `{field: x}`, whose names may be dotted or nested.
///
/// # Errors
/// There are none.
pub(super) fn mapped(config: &Config, key: &str) -> Result<Vec<(FieldPath, Value)>, Mistake> {
    let section = config.section(key)?;
    let mut fields = Vec::new();
    crate::config::leaves("", section.map(), &mut |name, value| {
        fields.push((FieldPath::new(name), value.clone()));
    });
    if fields.is_empty() {
        return Err(config.mistake(key, "is missing: name the fields"));
    }
    Ok(fields)
}

/// A list of `{from, to}`; `to` may be left out.
///
/// # Errors
/// It is something else, or empty.
pub(super) fn pairs(config: &Config) -> Result<Vec<(FieldPath, FieldPath)>, Mistake> {
    let wrong = || config.mistake("fields", "must be a list of {from: <field>, to: <field>}");
    let list = config.value("fields").and_then(Value::as_array).filter(|list| !list.is_empty());
    let pair = |item: &Value| {
        let field = |key: &str| item.get(key).and_then(Value::as_str).map(FieldPath::new);
        let from = field("from").ok_or_else(wrong)?;
        let to = field("to").unwrap_or_else(|| from.clone());
        Ok((from, to))
    };
    list.ok_or_else(wrong)?.iter().map(pair).collect()
}
