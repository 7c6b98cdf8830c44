//! Processors that drop, keep, rename and copy.

use serde_json::Value;

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

/// Without these an event has no time and no place to go to.
pub(super) const ALWAYS: [&str; 4] = ["@timestamp", "type", "data_stream", "@metadata"];

/// `drop_event`: for all that its `when` lets through.
#[derive(Debug)]
pub(super) struct DropEvent;

impl Processor for DropEvent {
    fn run(&self, _: &mut Event) -> Flow {
        Flow::Drop
    }
}

#[derive(Debug)]
struct DropFields {
    fields: Vec<FieldPath>,
    patterns: Vec<regex::Regex>,
}

impl Processor for DropFields {
    fn run(&self, event: &mut Event) -> Flow {
        for field in &self.fields {
            event.remove(field);
        }
        if !self.patterns.is_empty() {
            event.retain(|key| !self.patterns.iter().any(|pattern| pattern.is_match(key)));
        }
        Flow::Keep
    }

    fn touches(&self) -> Option<Vec<String>> {
        self.patterns.is_empty().then(|| self.fields.iter().map(|field| field.first().to_owned()).collect())
    }
}

/// `drop_fields`; `@timestamp` stays. A name between slashes is a pattern of top-level names.
pub(super) fn drop(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&["ignore_missing"]);
    let (fields, patterns) = names(config)?;
    let fields = fields.into_iter().filter(|field| field.first() != "@timestamp").collect();
    Ok(Box::new(DropFields { fields, patterns }))
}

fn names(config: &Config) -> Result<(Vec<FieldPath>, Vec<regex::Regex>), Mistake> {
    let (mut fields, mut patterns) = (Vec::new(), Vec::new());
    for name in config.texts("fields")? {
        match name.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(text) => patterns
                .push(crate::config::pattern(text).map_err(|problem| config.mistake("fields", problem))?),
            None => fields.push(FieldPath::new(&name)),
        }
    }
    if fields.is_empty() && patterns.is_empty() {
        return Err(config.mistake("fields", "is missing: name the fields"));
    }
    Ok((fields, patterns))
}

#[derive(Debug)]
struct IncludeFields {
    fields: Vec<FieldPath>,
    patterns: Vec<regex::Regex>,
}

impl Processor for IncludeFields {
    fn run(&self, event: &mut Event) -> Flow {
        let kept: Vec<(FieldPath, Value)> =
            self.fields.iter().filter_map(|field| Some((field.clone(), event.get(field)?.clone()))).collect();
        event
            .retain(|key| ALWAYS.contains(&key) || self.patterns.iter().any(|pattern| pattern.is_match(key)));
        for (field, value) in kept {
            event.put(&field, value);
        }
        Flow::Keep
    }
}

/// `include_fields`: nothing else stays.
pub(super) fn include(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let (fields, patterns) = names(config)?;
    Ok(Box::new(IncludeFields { fields, patterns }))
}

/// Pairs of fields, and what to do when a pair does not work out.
#[derive(Debug)]
struct Pairs {
    pairs: Vec<(FieldPath, FieldPath)>,
    keep_source: bool,
    ignore_missing: bool,
    fail_on_error: bool,
}

impl Processor for Pairs {
    fn run(&self, event: &mut Event) -> Flow {
        let before = (self.fail_on_error && self.pairs.len() > 1).then(|| event.clone());
        for (from, to) in &self.pairs {
            if let Err(problem) = self.one(event, from, to) {
                if !self.fail_on_error {
                    continue;
                }
                if let Some(before) = before {
                    event.restore(before);
                }
                event.put(&FieldPath::new("error.message"), Value::String(problem));
                return Flow::Keep;
            }
        }
        Flow::Keep
    }

    fn touches(&self) -> Option<Vec<String>> {
        let names = self.pairs.iter().flat_map(|(from, to)| [from.first(), to.first()]);
        // A failure writes `error` into the event.
        Some(names.map(str::to_owned).chain(self.fail_on_error.then(|| "error".to_owned())).collect())
    }
}

impl Pairs {
    fn one(&self, event: &mut Event, from: &FieldPath, to: &FieldPath) -> Result<(), String> {
        if event.get(to).is_some() {
            return Err(format!("target field {to} already exists: drop or rename it first"));
        }
        let value = if self.keep_source {
            event.spend_copy(from).map_err(|error| format!("field {from}: {error}"))?;
            event.get(from).cloned()
        } else {
            event.remove(from)
        };
        match value {
            Some(value) => {
                event.put(to, value);
                Ok(())
            }
            None if self.ignore_missing => Ok(()),
            None => Err(format!("field {from} is not in the event")),
        }
    }
}

fn pairs(config: &Config, keep_source: bool) -> Result<Box<dyn Processor>, Mistake> {
    let wrong = || config.mistake("fields", "must be a list of {from: <field>, to: <field>}");
    let list = config.value("fields").and_then(Value::as_array).ok_or_else(wrong)?;
    let text = |item: &Value, key| item.get(key).and_then(Value::as_str).map(FieldPath::new);
    let pairs = list
        .iter()
        .map(|item| text(item, "from").zip(text(item, "to")).ok_or_else(wrong))
        .collect::<Result<_, _>>()?;
    Ok(Box::new(Pairs {
        pairs,
        keep_source,
        ignore_missing: config.boolean("ignore_missing", false)?,
        fail_on_error: config.boolean("fail_on_error", true)?,
    }))
}

/// `rename`.
pub(super) fn rename(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    pairs(config, false)
}

/// `copy_fields`.
pub(super) fn copy(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    pairs(config, true)
}
