//! `append`: values at the end of a list.

use std::collections::HashSet;

use serde_json::Value;

use super::Processor;
use super::attempt::{self, Attempt};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

#[derive(Debug)]
struct Append {
    target: FieldPath,
    fields: Vec<FieldPath>,
    values: Vec<Value>,
    ignore_empty: bool,
    ignore_missing: bool,
    allow_duplicate: bool,
}

impl Attempt for Append {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let mut list = List::new(as_list(event.get(&self.target)), self.allow_duplicate);
        for field in &self.fields {
            match event.get(field) {
                None if self.ignore_missing => {}
                None => return Err(format!("field {field} is not in the event")),
                value => {
                    event.spend_copy(field).map_err(|error| format!("field {field}: {error}"))?;
                    self.add(&mut list, as_list(value));
                }
            }
        }
        self.add(&mut list, self.values.clone());
        event.put(&self.target, Value::Array(list.values));
        Ok(())
    }
}

impl Append {
    fn add(&self, list: &mut List, values: Vec<Value>) {
        for value in values {
            let is_empty = value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty);
            if !(self.ignore_empty && is_empty) {
                list.push(value);
            }
        }
    }
}

/// The list that becomes longer.
struct List {
    values: Vec<Value>,
    /// What is in it, where nothing may be added twice: a list may have as many values as a line has letters.
    known: Option<HashSet<Value>>,
}

impl List {
    fn new(values: Vec<Value>, allow_duplicate: bool) -> List {
        let known = (!allow_duplicate).then(|| values.iter().cloned().collect());
        List { values, known }
    }

    fn push(&mut self, value: Value) {
        if self.known.as_mut().is_none_or(|known| known.insert(value.clone())) {
            self.values.push(value);
        }
    }
}

fn as_list(value: Option<&Value>) -> Vec<Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
    }
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let values = as_list(config.value("values"));
    let fields: Vec<FieldPath> = config.texts("fields")?.iter().map(|field| FieldPath::new(field)).collect();
    if values.is_empty() && fields.is_empty() {
        return Err(config.mistake("values", "is missing: give values or fields"));
    }
    let append = Append {
        target: attempt::needed(config, "target_field")?,
        fields,
        values,
        ignore_empty: config.boolean("ignore_empty_values", false)?,
        ignore_missing: config.boolean("ignore_missing", false)?,
        allow_duplicate: config.boolean("allow_duplicate", true)?,
    };
    attempt::telling(config, append)
}
