//! What is of a package as a whole: pipelines, templates, policies of an index's life.

use serde_json::Value;

use super::pipelines::{self, Names};
use super::{Asset, AssetKind, Assets, Engine};
use crate::archive::Archive;
use crate::package::{DataStream, Package, PackageType};
use crate::yaml;

/// The folders of a package's own assets that are known here.
const KNOWN: [&str; 5] =
    ["ingest_pipeline/", "ilm_policy/", "component_template/", "index_template/", "transform/"];

/// Adds what is of the package as a whole, but for its transforms.
pub(super) fn add(made: &mut Assets, package: &Package, archive: &Archive, engine: &Engine) {
    // Those at the top of an input package are of each data stream that is made of it.
    if package.kind != PackageType::Input {
        pipelines::add_of_package(made, package, archive);
    }
    for (folder, kind) in [
        ("elasticsearch/component_template/", AssetKind::ComponentTemplate),
        ("elasticsearch/index_template/", AssetKind::IndexTemplate),
    ] {
        for (name, body) in objects(made, archive, folder) {
            made.assets.push(Asset::template(kind, name, body, package, false));
        }
    }
    for (name, body) in objects(made, archive, "elasticsearch/ilm_policy/") {
        add_lifecycle(made, package, engine, name, &body);
    }
    let left_out = archive.paths().filter_map(|path| path.strip_prefix("elasticsearch/"));
    let left_out = left_out.filter(|path| !KNOWN.iter().any(|known| path.starts_with(known)));
    let mut folders: Vec<&str> = left_out.map(|path| path.split('/').next().unwrap_or(path)).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        made.notes.push(format!("elasticsearch/{folder}: things of this kind are not installed"));
    }
}

/// Adds the policies that a data stream brings for its indices' lives.
pub(super) fn add_of_stream(
    made: &mut Assets,
    package: &Package,
    archive: &Archive,
    stream: &DataStream,
    engine: &Engine,
) {
    if stream.path.is_empty() {
        return;
    }
    let folder = format!("data_stream/{}/elasticsearch/ilm/", stream.path);
    for (name, body) in objects(made, archive, &folder) {
        let name = format!("{}-{}-{name}", stream.kind, stream.dataset);
        add_lifecycle(made, package, engine, name, &body);
    }
}

/// The names of the policies that a package brings.
pub(super) fn lifecycles(package: &Package, archive: &Archive) -> Vec<String> {
    let mut unheard = Assets::default();
    let mut names: Vec<String> = objects(&mut unheard, archive, "elasticsearch/ilm_policy/")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for stream in package.data_streams.iter().filter(|stream| !stream.path.is_empty()) {
        let folder = format!("data_stream/{}/elasticsearch/ilm/", stream.path);
        let found = objects(&mut unheard, archive, &folder).into_iter();
        names.extend(found.map(|(name, _)| format!("{}-{}-{name}", stream.kind, stream.dataset)));
    }
    names
}

fn add_lifecycle(made: &mut Assets, package: &Package, engine: &Engine, name: String, body: &Value) {
    if let Some(why) = &engine.no_lifecycles {
        made.notes.push(format!("ilm_policy {name} is not installed: {why}"));
        return;
    }
    if !body["policy"].is_object() {
        made.notes.push(format!("ilm_policy {name}: there is no policy in it"));
        return;
    }
    made.assets.push(Asset::lifecycle(name, body, package));
}

/// The objects in the files of a folder, by the files' names without their ends.
fn objects(made: &mut Assets, archive: &Archive, folder: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (path, bytes) in archive.below(folder) {
        let file = path.strip_prefix(folder).unwrap_or(path);
        let Some((name, "yml" | "yaml" | "json")) = file.rsplit_once('.') else { continue };
        if name.is_empty() || name.contains('/') {
            continue;
        }
        match yaml::parse_json(&String::from_utf8_lossy(bytes)) {
            Ok(body @ Value::Object(_)) => found.push((name.to_owned(), body)),
            Ok(_) => made.notes.push(format!("{path}: not an object")),
            Err(error) => made.notes.push(format!("{path}: {error}")),
        }
    }
    found
}

/// What names of pipelines stand for where something of the whole package names one.
pub(super) fn names<'a>(package: &'a Package, archive: &'a Archive) -> Names<'a> {
    Names::of_package(package, archive)
}
