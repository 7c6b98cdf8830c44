//! `append`: values at the end of a list.

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
        let mut list = as_list(event.get(&self.target));
        for field in &self.fields {
            match event.get(field) {
                None if self.ignore_missing => {}
                None => return Err(format!("field {field} is not in the event")),
                value => self.add(&mut list, as_list(value)),
            }
        }
        self.add(&mut list, self.values.clone());
        event.put(&self.target, Value::Array(list));
        Ok(())
    }
}

impl Append {
    fn add(&self, list: &mut Vec<Value>, values: Vec<Value>) {
        for value in values {
            let is_empty = value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty);
            let unwanted =
                (self.ignore_empty && is_empty) || (!self.allow_duplicate && list.contains(&value));
            if !unwanted {
                list.push(value);
            }
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
