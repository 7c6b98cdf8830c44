//! Processors that add what the policy says.

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, UtcOffset};

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};
use crate::syslog::Zone;

#[derive(Debug)]
struct AddFields {
    fields: Vec<(FieldPath, Value)>,
}

impl Processor for AddFields {
    fn run(&self, event: &mut Event) -> Flow {
        for (path, value) in &self.fields {
            event.deep_merge(path, value.clone());
        }
        Flow::Keep
    }

    fn touches(&self) -> Option<Vec<String>> {
        Some(self.fields.iter().map(|(path, _)| path.first().to_owned()).collect())
    }
}

/// `add_fields`: `target` defaults to `fields`; empty, the fields go to the top.
pub(super) fn fields(config: &Config, default_target: &str) -> Result<Box<dyn Processor>, Mistake> {
    let target = config.text("target")?.unwrap_or_else(|| default_target.to_owned());
    let given = config.section("fields")?;
    if given.map().is_empty() {
        return Err(config.mistake("fields", "is missing: name the fields to add"));
    }
    Ok(Box::new(AddFields { fields: below(&target, given.map().clone()) }))
}

/// `add_labels`: the same below `labels`.
pub(super) fn labels(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let given = config.section("labels")?;
    if given.map().is_empty() {
        return Err(config.mistake("labels", "is missing: name the labels to add"));
    }
    Ok(Box::new(AddFields { fields: below("labels", given.map().clone()) }))
}

fn below(target: &str, fields: Map<String, Value>) -> Vec<(FieldPath, Value)> {
    if target.is_empty() || target == "@root" {
        fields.into_iter().map(|(key, value)| (FieldPath::top(key), value)).collect()
    } else {
        vec![(FieldPath::new(target), Value::Object(fields))]
    }
}

#[derive(Debug)]
struct AddTags {
    target: FieldPath,
    tags: Vec<String>,
}

impl Processor for AddTags {
    fn run(&self, event: &mut Event) -> Flow {
        append(event, &self.target, &self.tags);
        Flow::Keep
    }

    fn touches(&self) -> Option<Vec<String>> {
        Some(vec![self.target.first().to_owned()])
    }
}

/// Adds texts to a list, those that are not there yet.
pub(super) fn append(event: &mut Event, target: &FieldPath, tags: &[String]) {
    let mut list = match event.get(target) {
        Some(Value::Array(list)) => list.clone(),
        Some(Value::String(one)) => vec![json!(one)],
        _ => Vec::new(),
    };
    for tag in tags {
        if !list.iter().any(|there| there == tag) {
            list.push(json!(tag));
        }
    }
    event.put(target, Value::Array(list));
}

/// `add_tags`: `target` defaults to `tags`.
pub(super) fn tags(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let tags = config.texts("tags")?;
    if tags.is_empty() {
        return Err(config.mistake("tags", "is missing: name the tags to add"));
    }
    let target = FieldPath::new(&config.text("target")?.unwrap_or_else(|| "tags".to_owned()));
    Ok(Box::new(AddTags { target, tags }))
}

/// The machine's zone, whose offset changes with summer time.
#[derive(Debug)]
struct AddLocale {
    zone: Zone,
    /// The minute in which the offset was asked for last, and the offset.
    known: Mutex<(i64, String)>,
}

impl Processor for AddLocale {
    fn run(&self, event: &mut Event) -> Flow {
        let now = OffsetDateTime::now_utc();
        let minute = now.unix_timestamp() / 60;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != minute {
            *known = (minute, offset_text(self.zone.offset(now)));
        }
        event.put(&FieldPath::new("event.timezone"), json!(known.1));
        Flow::Keep
    }
}

fn offset_text(offset: UtcOffset) -> String {
    let (hours, minutes, _) = offset.as_hms();
    let sign = if offset.is_negative() { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", hours.unsigned_abs(), minutes.unsigned_abs())
}

/// `add_locale`: the machine's offset from UTC, which times without a zone need. Always as an offset, the one form
/// that names the moment.
pub(super) fn locale(config: &Config) -> Box<dyn Processor> {
    config.allow(&["format"]);
    Box::new(AddLocale { zone: Zone::local(), known: Mutex::default() })
}

#[derive(Debug)]
struct AddId {
    target: FieldPath,
}

impl Processor for AddId {
    fn run(&self, event: &mut Event) -> Flow {
        let id: u128 = rand::random();
        event.put(&self.target, json!(format!("{id:032x}")));
        Flow::Keep
    }
}

/// `add_id`: a random id, as the document's own by default.
pub(super) fn id(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&["type"]);
    let target = config.text("target_field")?.unwrap_or_else(|| "@metadata._id".to_owned());
    Ok(Box::new(AddId { target: FieldPath::new(&target) }))
}
