//! Processors that decode what is inside a field.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::attempt::{self, Attempt};
use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

#[derive(Debug)]
struct DecodeJson {
    fields: Vec<FieldPath>,
    /// Where it goes; `None`: in place of the text. Empty: to the top.
    target: Option<String>,
    depth: u64,
    process_array: bool,
    overwrite: bool,
    expand: bool,
    add_error: bool,
    document_id: Option<FieldPath>,
}

impl Processor for DecodeJson {
    fn run(&self, event: &mut Event) -> Flow {
        for field in &self.fields {
            let Some(text) = event.text(field) else { continue };
            if let Err(error) = event.spend(text.len()) {
                event.put(&FieldPath::new("error.message"), json!(format!("field {field}: {error}")));
                continue;
            }
            match serde_json::from_str::<Value>(text) {
                Ok(value) => self.place(event, field, value),
                Err(error) if self.add_error => {
                    let problem = json!(format!("field {field} is no JSON: {error}"));
                    event.put(&FieldPath::new("error.message"), problem);
                    event.put(&FieldPath::new("error.field"), json!(field.to_string()));
                }
                Err(_) => {}
            }
        }
        Flow::Keep
    }
}

impl DecodeJson {
    fn place(&self, event: &mut Event, field: &FieldPath, value: Value) {
        let mut value = deeper(value, self.depth.saturating_sub(1), self.process_array);
        if value.is_array() && !self.process_array {
            return;
        }
        if let (true, Value::Object(map)) = (self.expand, &value) {
            value = Value::Object(crate::config::nested(map));
        }
        if let (Some(id), Value::Object(map)) = (&self.document_id, &mut value)
            && let Some(Value::String(text)) = map.remove(&id.to_string())
        {
            event.put(&FieldPath::new("@metadata._id"), Value::String(text));
        }
        match (self.target.as_deref(), value) {
            (None, value) => event.put(field, value),
            (Some(""), Value::Object(map)) => merge_top(event, map, self.overwrite),
            (Some(""), _) => {}
            (Some(target), value) => event.put(&FieldPath::new(target), value),
        }
    }
}

/// Merges decoded keys into the top of an event; without `overwrite`, what is there stays.
pub(crate) fn merge_top(event: &mut Event, map: Map<String, Value>, overwrite: bool) {
    for (key, value) in map {
        let path = FieldPath::top(key);
        if overwrite {
            event.deep_merge(&path, value);
        } else if event.get(&path).is_none() {
            event.put(&path, value);
        }
    }
}

/// Decodes texts inside that are JSON themselves.
fn deeper(value: Value, depth: u64, arrays: bool) -> Value {
    match value {
        Value::String(text) if depth > 0 && text.starts_with(['{', '[']) => match serde_json::from_str(&text)
        {
            Ok(inner) => deeper(inner, depth - 1, arrays),
            Err(_) => Value::String(text),
        },
        Value::Object(map) if depth > 0 => {
            map.into_iter().map(|(key, value)| (key, deeper(value, depth, arrays))).collect()
        }
        Value::Array(list) if depth > 0 && arrays => {
            list.into_iter().map(|value| deeper(value, depth, arrays)).collect()
        }
        other => other,
    }
}

/// `decode_json_fields`.
pub(super) fn json(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let fields = config.texts("fields")?;
    if fields.is_empty() {
        return Err(config.mistake("fields", "is missing: name the fields to decode"));
    }
    Ok(Box::new(DecodeJson {
        fields: fields.iter().map(|field| FieldPath::new(field)).collect(),
        target: config.text("target")?,
        // A bound on nesting: each level is a recursion.
        depth: config.number("max_depth", 1)?.min(32),
        process_array: config.boolean("process_array", false)?,
        overwrite: config.boolean("overwrite_keys", false)?,
        expand: config.boolean("expand_keys", false)?,
        add_error: config.boolean("add_error_key", false)?,
        document_id: config.text("document_id")?.map(|name| FieldPath::new(&name)),
    }))
}

#[derive(Debug)]
struct DecodeBase64 {
    from: FieldPath,
    to: FieldPath,
    ignore_missing: bool,
}

impl Attempt for DecodeBase64 {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let Some(text) = attempt::text(event, &self.from, self.ignore_missing)? else { return Ok(()) };
        let decoded = STANDARD
            .decode(text.trim_end_matches('=').to_owned() + padding(text))
            .map_err(|error| format!("field {} is no base64: {error}", self.from))?;
        event.put(&self.to, json!(String::from_utf8_lossy(&decoded)));
        Ok(())
    }
}

/// Texts come with and without their padding.
fn padding(text: &str) -> &'static str {
    match text.trim_end_matches('=').len() % 4 {
        2 => "==",
        3 => "=",
        _ => "",
    }
}

/// `decode_base64_field`.
pub(super) fn base64(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let from = config.text("field.from")?.ok_or_else(|| config.mistake("field.from", "is missing"))?;
    let to = config.text("field.to")?.unwrap_or_else(|| from.clone());
    let decode = DecodeBase64 {
        from: FieldPath::new(&from),
        to: FieldPath::new(&to),
        ignore_missing: config.boolean("ignore_missing", false)?,
    };
    attempt::telling(config, decode)
}
