//! One field as an engine maps it.

use serde_json::{Map, Value, json};

use super::fields::Field;
use super::{Engine, ecs};

/// The longest text of a keyword that is indexed, in characters, where a definition says nothing.
const IGNORE_ABOVE: u32 = 1024;
/// What a scaled number is multiplied with, where a definition says nothing.
const SCALE: u32 = 1000;

/// Parameters that definitions may have, by what takes them.
const OF_KEYWORDS: &[&str] =
    &["ignore_above", "normalizer", "null_value", "copy_to", "index", "doc_values", "eager_global_ordinals"];
const OF_TEXTS: &[&str] = &["analyzer", "search_analyzer", "norms", "index", "copy_to", "index_options"];
const OF_NUMBERS: &[&str] = &["index", "doc_values", "null_value", "coerce", "ignore_malformed", "copy_to"];
const OF_OTHERS: &[&str] = &["index", "doc_values", "null_value", "ignore_malformed", "copy_to"];

/// What becomes of a definition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Leaf {
    /// A mapping.
    Mapping(Map<String, Value>),
    /// Nothing: why.
    LeftOut(String),
}

/// The type of a field: what it says, else what the schema says, else a keyword.
pub(super) fn kind_of<'a>(field: &'a Field, path: &str) -> &'a str {
    match field.kind.as_deref() {
        Some(kind) => kind,
        None if is_ecs(field) => ecs::look_up(path).kind,
        None if field.fields.is_empty() => "keyword",
        None => "group",
    }
}

fn is_ecs(field: &Field) -> bool {
    field.text("external") == Some("ecs")
}

/// How an engine maps a field that has no fields below it.
pub(super) fn leaf(field: &Field, path: &str, engine: &Engine, is_time_series: bool) -> Leaf {
    let kind = kind_of(field, path);
    let mut mapping = match typed(kind, field, engine) {
        Leaf::Mapping(mapping) => mapping,
        left_out => return left_out,
    };
    if is_ecs(field) && field.kind.is_none() && ecs::look_up(path).has_text {
        mapping.insert("fields".to_owned(), json!({"text": {"type": "match_only_text"}}));
    }
    multi_fields(field, engine, &mut mapping);
    tell_unit(field, &mut mapping);
    if is_time_series {
        time_series(field, &mut mapping);
    }
    Leaf::Mapping(mapping)
}

/// The type and its parameters alone.
pub(super) fn typed(kind: &str, field: &Field, engine: &Engine) -> Leaf {
    let is_opensearch = engine.is_opensearch();
    let taken: &[&str] = match kind {
        "keyword" => return Leaf::Mapping(keyword(field)),
        "constant_keyword" => return Leaf::Mapping(constant(field, engine)),
        "text" | "match_only_text" => OF_TEXTS,
        "wildcard" => &["ignore_above", "null_value", "copy_to"],
        "long" | "integer" | "short" | "byte" | "double" | "float" | "half_float" | "unsigned_long" => {
            OF_NUMBERS
        }
        "scaled_float" => {
            let mut mapping = with("scaled_float", field, OF_NUMBERS);
            let scale = field.rest.get("scaling_factor").cloned().unwrap_or_else(|| SCALE.into());
            mapping.insert("scaling_factor".to_owned(), scale);
            return Leaf::Mapping(mapping);
        }
        "date" | "date_nanos" => {
            let mut mapping = with(kind, field, OF_OTHERS);
            if let Some(format) = field.text("date_format") {
                mapping.insert("format".to_owned(), format.into());
            }
            return Leaf::Mapping(mapping);
        }
        "boolean" | "ip" | "geo_point" | "geo_shape" | "binary" | "ip_range" | "integer_range"
        | "float_range" | "long_range" | "double_range" | "date_range" | "token_count" | "completion"
        | "join" => OF_OTHERS,
        "flattened" if is_opensearch => return Leaf::Mapping(with("flat_object", field, &[])),
        "flattened" => &["ignore_above", "index", "doc_values", "depth_limit"],
        "alias" => &["path"],
        "version" | "counted_keyword" if is_opensearch => return Leaf::Mapping(keyword(field)),
        "version" => &[],
        "counted_keyword" => &["index"],
        "histogram" | "aggregate_metric_double" | "semantic_text" | "dense_vector" if is_opensearch => {
            return Leaf::LeftOut(format!("this engine has no {kind}"));
        }
        "aggregate_metric_double" => &["metrics", "default_metric"],
        "histogram" => &["ignore_malformed"],
        "semantic_text" => &["inference_id"],
        "dense_vector" => &["dims", "index", "similarity"],
        "array" => return array(field, engine),
        other => return Leaf::LeftOut(format!("{other} is no type that is known here")),
    };
    Leaf::Mapping(with(kind, field, taken))
}

fn with(kind: &str, field: &Field, taken: &[&str]) -> Map<String, Value> {
    let mut mapping = Map::from_iter([("type".to_owned(), Value::from(kind))]);
    for key in taken {
        if let Some(value) = field.rest.get(*key).filter(|value| !value.is_null()) {
            mapping.insert((*key).to_owned(), value.clone());
        }
    }
    mapping
}

/// A list is mapped as what is in it.
fn array(field: &Field, engine: &Engine) -> Leaf {
    match field.text("object_type") {
        Some(inner) if inner != "array" => typed(inner, field, engine),
        _ => Leaf::Mapping(keyword(field)),
    }
}

fn keyword(field: &Field) -> Map<String, Value> {
    let mut mapping = with("keyword", field, OF_KEYWORDS);
    // What is not indexed is not cut off either.
    let is_indexed = mapping.get("index") != Some(&Value::Bool(false));
    if is_indexed && !mapping.contains_key("ignore_above") {
        mapping.insert("ignore_above".to_owned(), IGNORE_ABOVE.into());
    }
    mapping
}

/// OpenSearch takes no constant that is not said: there it is a keyword.
fn constant(field: &Field, engine: &Engine) -> Map<String, Value> {
    match field.rest.get("value").filter(|value| !value.is_null()) {
        Some(value) => Map::from_iter([
            ("type".to_owned(), Value::from("constant_keyword")),
            ("value".to_owned(), text_of(value)),
        ]),
        None if engine.is_opensearch() => keyword(&Field::default()),
        None => Map::from_iter([("type".to_owned(), Value::from("constant_keyword"))]),
    }
}

fn text_of(value: &Value) -> Value {
    match value {
        Value::String(_) => value.clone(),
        other => other.to_string().into(),
    }
}

fn multi_fields(field: &Field, engine: &Engine, mapping: &mut Map<String, Value>) {
    let Some(Value::Array(given)) = field.rest.get("multi_fields") else { return };
    let mut fields = Map::new();
    for one in given {
        let Some(Value::String(name)) = one.get("name") else { continue };
        let Value::Object(rest) = one.clone() else { continue };
        let kind = rest.get("type").and_then(Value::as_str).unwrap_or("keyword").to_owned();
        let inner = Field { name: name.clone(), kind: None, fields: Vec::new(), rest };
        if let Leaf::Mapping(mapped) = typed(&kind, &inner, engine) {
            fields.insert(name.clone(), Value::Object(mapped));
        }
    }
    if !fields.is_empty() {
        mapping.insert("fields".to_owned(), Value::Object(fields));
    }
}

/// What a number counts, and in what: pages of the engine show it.
fn tell_unit(field: &Field, mapping: &mut Map<String, Value>) {
    if mapping.get("type").and_then(Value::as_str) == Some("alias") {
        return;
    }
    let mut meta = Map::new();
    for key in ["unit", "metric_type"] {
        if let Some(text) = field.text(key) {
            meta.insert(key.to_owned(), text.into());
        }
    }
    if !meta.is_empty() {
        mapping.insert("meta".to_owned(), Value::Object(meta));
    }
}

/// What an index of time series must be told of a field.
fn time_series(field: &Field, mapping: &mut Map<String, Value>) {
    if field.rest.get("dimension") == Some(&Value::Bool(true)) {
        mapping.insert("time_series_dimension".to_owned(), true.into());
        // A series is not told apart by a part of a text.
        mapping.remove("ignore_above");
    }
    if let Some(metric @ ("gauge" | "counter")) = field.text("metric_type") {
        mapping.insert("time_series_metric".to_owned(), metric.into());
    }
}
