//! Component and index templates of a data stream.

use serde_json::{Map, Value, json};

use super::fields;
use super::mappings::mappings;
use super::{Asset, AssetKind, Assets, Engine, pipelines, whole};
use crate::archive::Archive;
use crate::compile::merge;
use crate::package::{DataStream, Package};

/// Before what comes with an engine (100), behind what people make for themselves.
pub(super) const PRIORITY: u32 = 200;
/// Where many datasets share a template, those that have one of their own come first.
const PRIORITY_OF_PREFIXES: u32 = 150;
/// So many fields that no definition knows find room beside those that it does.
const SPARE_FIELDS: usize = 1000;

/// Adds the templates of a data stream, and its pipelines.
pub(super) fn add(
    made: &mut Assets,
    package: &Package,
    archive: &Archive,
    stream: &DataStream,
    engine: &Engine,
) {
    let pipeline = pipelines::add(made, package, archive, stream);
    let name = format!("{}-{}", stream.kind, stream.dataset);
    let (of_package, of_users) = (format!("{name}@package"), format!("{name}@custom"));
    let body = package_template(made, archive, stream, engine, pipeline, &name);
    let component = AssetKind::ComponentTemplate;
    made.assets.push(Asset::template(component, of_package.clone(), body, package, false));
    let empty = json!({"template": {"settings": {}}});
    made.assets.push(Asset::template(component, of_users.clone(), empty, package, true));
    let (pattern, priority) = pattern(stream);
    let hidden = !engine.is_opensearch() && (stream.hidden || stream.elasticsearch.is_hidden());
    let index = json!({
        "index_patterns": [pattern],
        "priority": priority,
        "composed_of": [of_package, of_users],
        "data_stream": if hidden { json!({"hidden": true}) } else { json!({}) },
    });
    made.assets.push(Asset::template(AssetKind::IndexTemplate, name, index, package, false));
}

/// The names that data streams of this one's template have, and its priority.
pub(super) fn pattern(stream: &DataStream) -> (String, u32) {
    let name = format!("{}-{}", stream.kind, stream.dataset);
    if stream.dataset_is_prefix {
        (format!("{name}.*-*"), PRIORITY_OF_PREFIXES)
    } else {
        (format!("{name}-*"), PRIORITY)
    }
}

fn package_template(
    made: &mut Assets,
    archive: &Archive,
    stream: &DataStream,
    engine: &Engine,
    pipeline: Option<String>,
    name: &str,
) -> Value {
    let folder = match stream.path.as_str() {
        "" => "fields/".to_owned(),
        path => format!("data_stream/{path}/fields/"),
    };
    let asked = stream.elasticsearch.rest.get("index_mode").and_then(Value::as_str);
    let mut notes = Vec::new();
    let defined = fields::read(archive, &folder, &mut notes);
    let is_series = asked == Some("time_series") && !engine.is_opensearch() && engine.version.0 >= 8;
    let mut mapped = mappings(&defined, engine, is_series);
    // An index of time series needs something that tells them apart.
    let is_series = is_series && mapped.has_dimensions;
    if !is_series {
        mapped = mappings(&defined, engine, false);
    }
    notes.append(&mut mapped.notes);
    made.notes.extend(notes.into_iter().map(|note| format!("{name}: {note}")));
    let mut index = Map::new();
    if is_series {
        index.insert("mode".to_owned(), "time_series".into());
    } else if let Some(mode) = asked {
        made.notes.push(format!("{name}: index_mode {mode} is left out"));
    }
    let limit = mapped.count.div_ceil(SPARE_FIELDS) * SPARE_FIELDS + SPARE_FIELDS;
    index.insert("mapping".to_owned(), json!({"total_fields": {"limit": limit}}));
    if let Some(pipeline) = pipeline {
        index.insert("default_pipeline".to_owned(), pipeline.into());
    }
    let lifecycle = stream.ilm_policy.as_deref().unwrap_or(&stream.kind);
    if engine.lifecycles.contains(lifecycle) {
        index.insert("lifecycle".to_owned(), json!({"name": lifecycle}));
    }
    let mut settings = Map::from_iter([("index".to_owned(), Value::Object(index))]);
    if let Some(Value::Object(own)) = stream.elasticsearch.index_template("settings") {
        merge(&mut settings, &nested(own));
    }
    if let Some(Value::Object(own)) = stream.elasticsearch.index_template("mappings") {
        merge(&mut mapped.body, own);
    }
    let mut body = json!({"template": {"settings": settings, "mappings": mapped.body}});
    if engine.is_opensearch() {
        whole::name_no_lifecycle(&mut body);
    }
    body
}

/// Settings below `index`, whether they are written so or not, with keys with dots taken apart: `index.codec`,
/// `codec` and `index: {codec}` say the same.
pub(super) fn nested(settings: &Map<String, Value>) -> Map<String, Value> {
    let mut done = Map::new();
    for (key, value) in settings {
        let key =
            if key == "index" || key.starts_with("index.") { key.clone() } else { format!("index.{key}") };
        let value = match value {
            Value::Object(inner) => Value::Object(apart(inner)),
            other => other.clone(),
        };
        let whole = key.rsplit('.').fold(value, |inner, part| json!({part: inner}));
        if let Value::Object(whole) = whole {
            merge(&mut done, &whole);
        }
    }
    done
}

fn apart(settings: &Map<String, Value>) -> Map<String, Value> {
    let mut done = Map::new();
    for (key, value) in settings {
        let value = match value {
            Value::Object(inner) => Value::Object(apart(inner)),
            other => other.clone(),
        };
        if let Value::Object(whole) = key.rsplit('.').fold(value, |inner, part| json!({part: inner})) {
            merge(&mut done, &whole);
        }
    }
    done
}
