//! Policies of indices' lives that a package brings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ism::{self, Pattern};
use super::{Asset, Assets, Engine, Target, templates, whole};
use crate::archive::Archive;
use crate::package::{DataStream, Package};

/// Of the package as a whole.
const FOLDER: &str = "elasticsearch/ilm_policy/";

/// The policies of a package by their names, with what is wrong with them.
fn all(made: &mut Assets, package: &Package, archive: &Archive) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for stream in package.data_streams.iter().filter(|stream| !stream.path.is_empty()) {
        let folder = format!("data_stream/{}/elasticsearch/ilm/", stream.path);
        let own = whole::objects(made, archive, &folder).into_iter();
        found.extend(own.map(|(name, body)| (format!("{}-{}-{name}", stream.kind, stream.dataset), body)));
    }
    found.extend(whole::objects(made, archive, FOLDER));
    found
}

/// The names of the policies that a package brings.
pub(super) fn names(package: &Package, archive: &Archive) -> Vec<String> {
    // What is wrong with them is told by whoever adds them.
    let found = all(&mut Assets::default(), package, archive);
    found.into_iter().map(|(name, _)| name).collect()
}

/// Adds the policies of a package.
pub(super) fn add(
    made: &mut Assets,
    package: &Package,
    archive: &Archive,
    targets: &BTreeSet<Target>,
    engine: &Engine,
) {
    let found = all(made, package, archive);
    let patterns = match engine.is_opensearch() && engine.no_lifecycles.is_none() {
        true => patterns(package, archive, targets),
        false => BTreeMap::new(),
    };
    for (name, body) in found {
        if let Some(why) = &engine.no_lifecycles {
            made.notes.push(format!("ilm_policy {name} is not installed: {why}"));
        } else if !body["policy"].is_object() {
            made.notes.push(format!("ilm_policy {name}: there is no policy in it"));
        } else if engine.is_opensearch() {
            let patterns = patterns.get(&name).map_or(&[][..], Vec::as_slice);
            ism::add(made, package, name, &body, patterns);
        } else {
            made.assets.push(Asset::lifecycle(name, &body, package));
        }
    }
}

/// What has which policy: data streams of the package, those that people made of it, and its own templates.
fn patterns(
    package: &Package,
    archive: &Archive,
    targets: &BTreeSet<Target>,
) -> BTreeMap<String, Vec<Pattern>> {
    let mut found: BTreeMap<String, BTreeSet<Pattern>> = BTreeMap::new();
    let mut add = |policy: &str, pattern: Pattern| {
        found.entry(policy.to_owned()).or_default().insert(pattern);
    };
    let policy_of = |stream: &DataStream| {
        let settings = stream.elasticsearch.index_template("settings").and_then(lifecycle_in);
        settings.or_else(|| stream.ilm_policy.clone()).unwrap_or_else(|| stream.kind.clone())
    };
    for stream in &package.data_streams {
        let (pattern, priority) = templates::pattern(stream);
        add(&policy_of(stream), Pattern { priority: priority.into(), pattern, is_stream: true });
    }
    for target in targets {
        let stream = package.data_streams.iter().find(|stream| stream.path == target.folder);
        let policy = stream.map_or_else(|| target.kind.clone(), policy_of);
        let pattern = format!("{}-{}-*", target.kind, target.dataset);
        add(&policy, Pattern { priority: templates::PRIORITY.into(), pattern, is_stream: true });
    }
    for (_, body) in whole::objects(&mut Assets::default(), archive, "elasticsearch/index_template/") {
        let Some(policy) = lifecycle_in(&body["template"]["settings"]) else { continue };
        let names = body["index_patterns"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let priority = body["priority"].as_u64().unwrap_or(0);
        for pattern in names {
            let (pattern, is_stream) = (pattern.to_owned(), body["data_stream"].is_object());
            add(&policy, Pattern { priority, pattern, is_stream });
        }
    }
    found.into_iter().map(|(policy, patterns)| (policy, patterns.into_iter().collect())).collect()
}

/// The policy that settings of indices name, however they are written.
fn lifecycle_in(settings: &Value) -> Option<String> {
    let Value::Object(settings) = settings else { return None };
    let settings = Value::Object(templates::nested(settings));
    settings.pointer("/index/lifecycle/name")?.as_str().map(str::to_owned)
}
