//! `decode_xml`: elements and attributes become fields, all of them texts.

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Map, Value};

use super::Processor;
use super::attempt::{self, Attempt};
use super::decode::merge_top;
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

/// Elements within elements: each is a recursion.
const MOST_DEPTH: usize = 64;

/// Elements, attributes and texts of one document, each of which needs memory.
const MOST_NODES: u32 = 100_000;

/// Attributes of one element, and declared prefixes of one document: each is compared with all others.
const MOST_ATTRIBUTES: usize = 250;
const MOST_PREFIXES: usize = 100;

#[derive(Debug)]
struct DecodeXml {
    field: FieldPath,
    /// Where it goes; `None`: to the top.
    target: Option<FieldPath>,
    overwrite: bool,
    to_lower: bool,
    document_id: Option<FieldPath>,
    ignore_missing: bool,
}

impl Attempt for DecodeXml {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let Some(text) = attempt::text(event, &self.field, self.ignore_missing)? else { return Ok(()) };
        let mut map = self.document(text).map_err(|problem| format!("field {}: {problem}", self.field))?;
        if let Some(Value::String(id)) = self.document_id.as_ref().and_then(|id| take(&mut map, id)) {
            event.put(&FieldPath::new("@metadata._id"), Value::String(id));
        }
        match &self.target {
            None => merge_top(event, map, self.overwrite),
            Some(target) if self.overwrite || event.get(target).is_none() => {
                event.put(target, Value::Object(map));
            }
            Some(target) => {
                return Err(format!("target field {target} already exists: drop or rename it first"));
            }
        }
        Ok(())
    }
}

fn take(map: &mut Map<String, Value>, path: &FieldPath) -> Option<Value> {
    let mut event = Value::Object(std::mem::take(map));
    let taken = path.remove_from(&mut event);
    if let Value::Object(rest) = event {
        *map = rest;
    }
    taken
}

impl DecodeXml {
    fn document(&self, text: &str) -> Result<Map<String, Value>, String> {
        check(text)?;
        // Without a document type nothing can be made to expand.
        let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..Default::default() };
        let document = Document::parse_with_options(text.trim_start(), options)
            .map_err(|error| format!("is no XML: {error}"))?;
        let root = document.root_element();
        Ok(Map::from_iter([(self.name(root.tag_name().name()), self.element(root, MOST_DEPTH)?)]))
    }

    fn element(&self, element: Node<'_, '_>, depth: usize) -> Result<Value, String> {
        if depth == 0 {
            return Err(format!("has more than {MOST_DEPTH} elements within each other"));
        }
        let mut map = Map::new();
        for attribute in element.attributes() {
            add(&mut map, self.name(attribute.name()), Value::String(attribute.value().to_owned()));
        }
        let mut text = String::new();
        for child in element.children() {
            if child.is_element() {
                add(&mut map, self.name(child.tag_name().name()), self.element(child, depth - 1)?);
            } else if child.is_text() {
                text.push_str(child.text().unwrap_or_default());
            }
        }
        let text = text.trim();
        if map.is_empty() {
            return Ok(Value::String(text.to_owned()));
        }
        if !text.is_empty() {
            add(&mut map, "#text".to_owned(), Value::String(text.to_owned()));
        }
        Ok(Value::Object(map))
    }

    fn name(&self, name: &str) -> String {
        if self.to_lower { name.to_lowercase() } else { name.to_owned() }
    }
}

/// Refuses, before it is parsed, what would take the parser a time that grows with the square of its length.
fn check(text: &str) -> Result<(), String> {
    if text.matches("xmlns").nth(MOST_PREFIXES).is_some() {
        return Err(format!("says xmlns more than {MOST_PREFIXES} times"));
    }
    // Nowhere within an element's own part, not even in the value of an attribute, may a `<` stand.
    let has_many = |part: &str| {
        let mut quote = None;
        let mut count = 0;
        for byte in part.bytes() {
            match (quote, byte) {
                (None, b'>') => break,
                (None, b'=') => count += 1,
                (None, b'\'' | b'"') => quote = Some(byte),
                (Some(open), byte) if open == byte => quote = None,
                _ => {}
            }
        }
        count > MOST_ATTRIBUTES
    };
    if text.split('<').skip(1).any(has_many) {
        return Err(format!("has an element with more than {MOST_ATTRIBUTES} attributes"));
    }
    Ok(())
}

/// What is there several times becomes a list.
fn add(map: &mut Map<String, Value>, key: String, value: Value) {
    match map.get_mut(&key) {
        None => {
            map.insert(key, value);
        }
        Some(Value::Array(list)) => list.push(value),
        Some(one) => *one = Value::Array(vec![one.take(), value]),
    }
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let field = config.text("field")?.unwrap_or_else(|| "message".to_owned());
    let target = config.text("target_field")?.unwrap_or_else(|| field.clone());
    let decode = DecodeXml {
        field: FieldPath::new(&field),
        target: (!target.is_empty()).then(|| FieldPath::new(&target)),
        overwrite: config.boolean("overwrite_keys", true)?,
        to_lower: config.boolean("to_lower", true)?,
        document_id: config.text("document_id")?.map(|path| FieldPath::new(&path)),
        ignore_missing: config.boolean("ignore_missing", false)?,
    };
    attempt::unless_ignored(config, decode)
}
