//! What is of a package as a whole: pipelines and templates.

use serde_json::Value;

use super::pipelines::{self, Names};
use super::{Asset, AssetKind, Assets, Engine};
use crate::archive::Archive;
use crate::package::{Package, PackageType};
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
        for (name, mut body) in objects(made, archive, folder) {
            if engine.is_opensearch() {
                name_no_lifecycle(&mut body);
            }
            made.assets.push(Asset::template(kind, name, body, package, false));
        }
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

/// OpenSearch refuses a template that names a policy of an index's life: there they say themselves for what they are.
pub(super) fn name_no_lifecycle(body: &mut Value) {
    let Some(Value::Object(settings)) = body.pointer_mut("/template/settings") else { return };
    settings.retain(|key, _| {
        let key = key.strip_prefix("index.").unwrap_or(key);
        key != "lifecycle" && !key.starts_with("lifecycle.")
    });
    if let Some(Value::Object(index)) = settings.get_mut("index") {
        index.retain(|key, _| key != "lifecycle" && !key.starts_with("lifecycle."));
    }
}

/// The objects in the files of a folder, by the files' names without their ends.
pub(super) fn objects(made: &mut Assets, archive: &Archive, folder: &str) -> Vec<(String, Value)> {
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
