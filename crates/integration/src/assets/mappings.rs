//! From field definitions to mappings.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Engine;
use super::fields::Field;
use super::leaf::{Leaf, kind_of, leaf, typed};

/// The deepest path: engines refuse deeper ones.
const DEEPEST: usize = 20;

/// Mappings of an index, and what of the definitions is not in them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mappings {
    /// As engines take them.
    pub body: Map<String, Value>,
    /// How many fields they have, groups too: engines have a limit.
    pub count: usize,
    /// Whether a field tells time series apart.
    pub has_dimensions: bool,
    /// For people.
    pub notes: Vec<String>,
}

/// Maps `fields`. Texts that no definition knows become keywords. `is_time_series`: for an index of time series.
#[must_use]
pub fn mappings(fields: &[Field], engine: &Engine, is_time_series: bool) -> Mappings {
    let mut making = Making {
        engine,
        is_time_series: is_time_series && !engine.is_opensearch(),
        root: Node::default(),
        dynamic: Vec::new(),
        aliases: Vec::new(),
        made: Mappings::default(),
    };
    for field in base() {
        making.field("", &field, 0);
    }
    for field in fields {
        making.field("", field, 0);
    }
    making.finish()
}

/// What every data stream has, whether its package says so or not. A package that says something else wins.
fn base() -> Vec<Field> {
    let field = |name: &str, kind: &str| Field {
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
        ..Field::default()
    };
    let parts = ["data_stream.type", "data_stream.dataset", "data_stream.namespace"];
    let parts = parts.into_iter().map(|name| field(name, "constant_keyword"));
    std::iter::once(field("@timestamp", "date")).chain(parts).collect()
}

#[derive(Debug, Default)]
struct Node {
    /// Empty in an object that nothing is said of.
    mapping: Map<String, Value>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn is_value(&self) -> bool {
        let kind = self.mapping.get("type").and_then(Value::as_str);
        kind.is_some_and(|kind| !matches!(kind, "object" | "nested"))
    }

    fn into_json(mut self) -> Value {
        if !self.children.is_empty() || self.mapping.is_empty() {
            let children = self.children.into_iter().map(|(name, node)| (name, node.into_json()));
            self.mapping.insert("properties".to_owned(), Value::Object(children.collect()));
        }
        Value::Object(self.mapping)
    }

    fn count(&self) -> usize {
        self.children.values().map(|child| 1 + child.count()).sum()
    }

    fn find(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, name| node.children.get(name))
    }
}

struct Making<'a> {
    engine: &'a Engine,
    is_time_series: bool,
    root: Node,
    dynamic: Vec<Value>,
    /// Paths and what they stand for: decided when all others are known.
    aliases: Vec<(String, Map<String, Value>)>,
    made: Mappings,
}

impl Making<'_> {
    fn note(&mut self, path: &str, text: impl std::fmt::Display) {
        self.made.notes.push(format!("{path}: {text}"));
    }

    fn field(&mut self, within: &str, field: &Field, depth: usize) {
        let path = if within.is_empty() { field.name.clone() } else { format!("{within}.{}", field.name) };
        if depth > DEEPEST || path.split('.').count() > DEEPEST || path.split('.').any(str::is_empty) {
            return self.note(&path, "is no path of a field, or a too deep one");
        }
        if field.rest.contains_key("runtime") && field.rest.get("runtime") != Some(&Value::Bool(false)) {
            self.note(&path, "is computed when it is read in the original: here it is a field like others");
        }
        match kind_of(field, &path) {
            "group" | "nested" | "group-nested" => self.group(&path, field, depth),
            "object" if field.rest.contains_key("object_type") || has_params(field) => {
                self.values(&path, field);
            }
            "object" => self.group(&path, field, depth),
            _ if path.contains('*') => self.values(&path, field),
            _ => self.value(&path, field),
        }
        if field.rest.get("dimension") == Some(&Value::Bool(true)) {
            self.made.has_dimensions = true;
        }
    }

    fn group(&mut self, path: &str, field: &Field, depth: usize) {
        let mut mapping = Map::new();
        if field.kind.as_deref().is_some_and(|kind| kind.ends_with("nested")) {
            mapping.insert("type".to_owned(), "nested".into());
        } else if field.fields.is_empty() {
            mapping.insert("type".to_owned(), "object".into());
        }
        for key in ["enabled", "dynamic", "include_in_parent", "include_in_root"] {
            if let Some(value) = field.rest.get(key).filter(|value| !value.is_null()) {
                mapping.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(value) = field.rest.get("subobjects") {
            if self.engine.is_opensearch() || !field.fields.is_empty() {
                self.note(path, "subobjects is left out");
            } else {
                mapping.insert("subobjects".to_owned(), value.clone());
            }
        }
        // A group that says nothing of itself is made by what is in it.
        if !mapping.is_empty() {
            self.put(path, mapping);
        }
        for inner in &field.fields {
            self.field(path, inner, depth + 1);
        }
    }

    fn value(&mut self, path: &str, field: &Field) {
        match leaf(field, path, self.engine, self.is_time_series) {
            Leaf::LeftOut(why) => self.note(path, format!("is left out: {why}")),
            Leaf::Mapping(mapping) if kind_of(field, path) == "alias" => {
                self.aliases.push((path.to_owned(), mapping));
            }
            Leaf::Mapping(mapping) => self.put(path, mapping),
        }
    }

    /// An object whose values are of one type, whatever they are called: it has a template for them.
    fn values(&mut self, path: &str, field: &Field) {
        let pattern = if path.contains('*') { path.to_owned() } else { format!("{path}.*") };
        let params = field.rest.get("object_type_params").and_then(Value::as_array).cloned();
        let params = params.unwrap_or_else(|| vec![Value::Object(field.rest.clone())]);
        for given in params {
            let Value::Object(given) = given else { continue };
            let own = field.kind.as_deref().filter(|kind| *kind != "object").unwrap_or("keyword");
            let kind = given.get("object_type").and_then(Value::as_str).unwrap_or(own).to_owned();
            let asked = given.get("object_type_mapping_type").and_then(Value::as_str).map(str::to_owned);
            let mut inner = Field { rest: field.rest.clone(), ..Field::default() };
            inner.rest.extend(given);
            self.dynamic_template(path, &pattern, &kind, asked.as_deref(), &inner);
        }
        if !path.contains('*') {
            self.put(path, Map::from_iter([("type".to_owned(), "object".into())]));
        }
    }

    fn dynamic_template(
        &mut self,
        path: &str,
        pattern: &str,
        kind: &str,
        asked: Option<&str>,
        field: &Field,
    ) {
        if kind == "object" {
            return;
        }
        let mut mapping = match typed(kind, field, self.engine) {
            Leaf::LeftOut(why) => return self.note(path, format!("is left out: {why}")),
            Leaf::Mapping(mapping) => mapping,
        };
        if self.is_time_series
            && let Some(metric @ ("gauge" | "counter")) = field.text("metric_type")
        {
            mapping.insert("time_series_metric".to_owned(), metric.into());
        }
        for found in asked.map_or_else(|| found_as(kind).to_vec(), |asked| vec![asked]) {
            let name = format!("{path}-{kind}-{found}");
            let template = json!({"path_match": pattern, "match_mapping_type": found, "mapping": mapping});
            self.dynamic.push(json!({name: template}));
        }
    }

    /// Puts a mapping at a path; what stood there is replaced, what is below it stays.
    fn put(&mut self, path: &str, mapping: Map<String, Value>) {
        let mut node = &mut self.root;
        for (index, name) in path.split('.').enumerate() {
            if index > 0 && node.is_value() {
                return self.note(path, "is left out: what it is in is a value itself");
            }
            node = node.children.entry(name.to_owned()).or_default();
        }
        let is_value = mapping.get("type").is_some_and(|kind| kind != "object" && kind != "nested");
        if is_value && !node.children.is_empty() {
            return self.note(path, "is left out: it has fields, and is a value itself");
        }
        if !is_value && node.is_value() {
            return self.note(path, "is left out: it is a value already");
        }
        node.mapping = mapping;
    }

    fn finish(mut self) -> Mappings {
        for (path, mapping) in std::mem::take(&mut self.aliases) {
            let of = mapping.get("path").and_then(Value::as_str).unwrap_or_default();
            match self.root.find(of).is_some_and(Node::is_value) {
                true => self.put(&path, mapping),
                false => self.note(&path, format!("is left out: it stands for {of:?}, which is no field")),
            }
        }
        // After the others: the first that fits counts.
        self.dynamic.push(json!({"texts-as-keywords": {
            "match_mapping_type": "string",
            "mapping": {"type": "keyword", "ignore_above": 1024},
        }}));
        self.made.count = self.root.count();
        let properties = match self.root.into_json() {
            Value::Object(mut root) => root.remove("properties").unwrap_or_else(|| json!({})),
            _ => json!({}),
        };
        self.made.body = Map::from_iter([
            ("date_detection".to_owned(), Value::Bool(false)),
            ("dynamic_templates".to_owned(), Value::Array(self.dynamic)),
            ("properties".to_owned(), properties),
        ]);
        self.made
    }
}

fn has_params(field: &Field) -> bool {
    field.rest.get("object_type_params").is_some_and(Value::is_array)
}

/// As what an engine finds values in JSON that are to become `kind`.
fn found_as(kind: &str) -> &'static [&'static str] {
    match kind {
        "long" | "integer" | "short" | "byte" | "unsigned_long" => &["long"],
        "double" | "float" | "half_float" | "scaled_float" => &["double", "long"],
        "boolean" => &["boolean"],
        "histogram" | "aggregate_metric_double" | "flattened" | "nested" => &["object"],
        "keyword" => &["string", "long", "double", "boolean"],
        _ => &["string"],
    }
}
