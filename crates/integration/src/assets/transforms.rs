//! Transforms: `elasticsearch/transform/<name>/`.
//!
//! Each is known by the version that it says it has, else by that of its package: one that changed is another one,
//! which begins to run before the one before is removed. What it has written stays.

use serde_json::{Map, Value, json};

use super::mappings::mappings;
use super::templates::nested;
use super::{Asset, AssetKind, Assets, Engine, fields, whole};
use crate::archive::Archive;
use crate::compile::merge;
use crate::package::Package;
use crate::yaml;

/// Before templates of data streams: what a transform writes to is an index.
const PRIORITY: u32 = 250;
/// So many fields that no definition knows find room beside those that it does.
const SPARE_FIELDS: usize = 1000;
const FOLDER: &str = "elasticsearch/transform/";

/// Adds the transforms of a package, and the templates of the indices that they write to.
pub(super) fn add(made: &mut Assets, package: &Package, archive: &Archive, engine: &Engine) {
    let mut names: Vec<&str> = archive
        .below(FOLDER)
        .filter_map(|(path, _)| path.strip_prefix(FOLDER)?.split_once('/').map(|(name, _)| name))
        .collect();
    names.dedup();
    for name in names {
        if let Some(why) = &engine.no_transforms {
            made.notes.push(format!("transform {name} is not installed: {why}"));
        } else if let Err(wrong) = one(made, package, archive, name, engine) {
            made.notes.push(format!("transform {name} is not installed: {wrong}"));
        }
    }
}

fn one(
    made: &mut Assets,
    package: &Package,
    archive: &Archive,
    name: &str,
    engine: &Engine,
) -> Result<(), String> {
    let folder = format!("{FOLDER}{name}/");
    let read = |file: &str| -> Result<Option<Map<String, Value>>, String> {
        let Some(bytes) = archive.file(&format!("{folder}{file}")) else { return Ok(None) };
        let text = whole::names(package, archive).put_into(&String::from_utf8_lossy(bytes));
        match yaml::parse_json(&text) {
            Ok(Value::Object(object)) => Ok(Some(object)),
            Ok(Value::Null) => Ok(Some(Map::new())),
            Ok(_) => Err(format!("{file} is not an object")),
            Err(error) => Err(format!("{file}: {error}")),
        }
    };
    let mut body = match read("transform.yml")? {
        Some(body) => body,
        None => read("default.json")?.ok_or("transform.yml is missing")?,
    };
    let manifest = read("manifest.yml")?.unwrap_or_default();
    let index = body.get("dest").and_then(|dest| dest["index"].as_str());
    let index = index.ok_or("dest.index says to which index it writes, and is missing")?.to_owned();
    let own = body.remove("_meta").unwrap_or_default();
    let version = match &own["fleet_transform_version"] {
        Value::String(version) => version.clone(),
        Value::Number(version) => version.to_string(),
        _ => package.version.clone(),
    };
    let base = format!("logs-{}.{name}", package.name);
    template(
        made,
        package,
        archive,
        &Written { base: &base, folder: &folder, index: &index },
        &manifest,
        engine,
    );
    let is_started = manifest.get("start") != Some(&Value::Bool(false));
    let id = format!("{base}-default-{version}");
    made.assets.push(Asset::transform(id, Value::Object(body), package, is_started));
    Ok(())
}

/// The index that a transform writes to.
struct Written<'a> {
    base: &'a str,
    folder: &'a str,
    index: &'a str,
}

fn template(
    made: &mut Assets,
    package: &Package,
    archive: &Archive,
    written: &Written<'_>,
    manifest: &Map<String, Value>,
    engine: &Engine,
) {
    let name = format!("{}-template", written.base);
    let mut notes = Vec::new();
    let defined = fields::read(archive, &format!("{}fields/", written.folder), &mut notes);
    let mut mapped = mappings(&defined, engine, false);
    notes.append(&mut mapped.notes);
    made.notes.extend(notes.into_iter().map(|note| format!("{name}: {note}")));
    let given = manifest.get("destination_index_template");
    let of_index = |key: &str| given.and_then(|given| given.get(key)?.as_object());
    let limit = mapped.count.div_ceil(SPARE_FIELDS) * SPARE_FIELDS + SPARE_FIELDS;
    let mut settings =
        Map::from_iter([("index".to_owned(), json!({"mapping": {"total_fields": {"limit": limit}}}))]);
    if let Some(own) = of_index("settings") {
        merge(&mut settings, &nested(own));
    }
    // What comes from several data streams is not of one.
    let of_stream = json!({"type": "keyword", "ignore_above": 1024});
    mapped.body["properties"]["data_stream"] =
        json!({"properties": {"type": of_stream, "dataset": of_stream, "namespace": of_stream}});
    if let Some(own) = of_index("mappings") {
        merge(&mut mapped.body, own);
    }
    let (of_package, of_users) = (format!("{name}@package"), format!("{name}@custom"));
    let body = json!({"template": {"settings": settings, "mappings": mapped.body}});
    let component = AssetKind::ComponentTemplate;
    made.assets.push(Asset::template(component, of_package.clone(), body, package, false));
    let empty = json!({"template": {"settings": {}}});
    made.assets.push(Asset::template(component, of_users.clone(), empty, package, true));
    let index = json!({
        "index_patterns": [written.index], "priority": PRIORITY, "composed_of": [of_package, of_users],
    });
    made.assets.push(Asset::template(AssetKind::IndexTemplate, name, index, package, false));
}
