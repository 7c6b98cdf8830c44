//! Ingest pipelines, of data streams and of packages as a whole.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Asset, Assets};
use crate::archive::Archive;
use crate::package::{DataStream, Package};
use crate::yaml;

/// What stands for the installed name of another pipeline.
const REFERENCE: &str = "IngestPipeline";
/// Where those of a package as a whole lie. Below a data stream's folder: where its own lie.
const OF_PACKAGE: &str = "elasticsearch/ingest_pipeline/";

/// What the names stand for that pipelines have within a package.
pub(super) struct Names<'a> {
    archive: &'a Archive,
    package: &'a Package,
    /// The folder of the data stream's, and what their installed names begin with.
    of_stream: Option<(String, String)>,
}

impl<'a> Names<'a> {
    /// Where the package as a whole names one.
    pub(super) fn of_package(package: &'a Package, archive: &'a Archive) -> Names<'a> {
        Names { archive, package, of_stream: None }
    }

    /// Where one of its data streams does: its own come first.
    fn of_stream(package: &'a Package, archive: &'a Archive, stream: &DataStream) -> Names<'a> {
        let folder = match stream.path.as_str() {
            "" => OF_PACKAGE.to_owned(),
            path => format!("data_stream/{path}/{OF_PACKAGE}"),
        };
        let base = format!("{}-{}-{}", stream.kind, stream.dataset, package.version);
        Names { archive, package, of_stream: Some((folder, base)) }
    }

    fn folder(&self) -> &str {
        self.of_stream.as_ref().map_or(OF_PACKAGE, |(folder, _)| folder)
    }

    fn is_in(&self, folder: &str, name: &str) -> bool {
        ["yml", "yaml", "json"]
            .iter()
            .any(|end| self.archive.file(&format!("{folder}{name}.{end}")).is_some())
    }

    /// The installed name of one.
    fn installed(&self, name: &str) -> String {
        let of_package = || format!("{}-{}-{name}", self.package.name, self.package.version);
        match &self.of_stream {
            None => of_package(),
            Some((folder, _)) if !self.is_in(folder, name) && self.is_in(OF_PACKAGE, name) => of_package(),
            Some((_, base)) if name == "default" => base.clone(),
            Some((_, base)) => format!("{base}-{name}"),
        }
    }

    /// Puts installed names where `{{ IngestPipeline "name" }}` stands in a text.
    pub(super) fn put_into(&self, text: &str) -> String {
        replaced(text, |name| self.installed(name))
    }
}

/// Adds the pipelines of a data stream. Answers the name of the one that its documents go through.
pub(super) fn add(
    made: &mut Assets,
    package: &Package,
    archive: &Archive,
    stream: &DataStream,
) -> Option<String> {
    let names = Names::of_stream(package, archive, stream);
    let wanted = stream.elasticsearch.pipeline().unwrap_or("default");
    add_all(made, &names).contains(wanted).then(|| names.installed(wanted))
}

/// Adds the pipelines of the package as a whole.
pub(super) fn add_of_package(made: &mut Assets, package: &Package, archive: &Archive) {
    add_all(made, &Names::of_package(package, archive));
}

/// Adds what lies in the folder, and answers the names that they have there.
fn add_all(made: &mut Assets, names: &Names<'_>) -> BTreeSet<String> {
    let (folder, mut added) = (names.folder(), BTreeSet::new());
    for (path, bytes) in names.archive.below(folder) {
        let file = path.strip_prefix(folder).unwrap_or(path);
        let Some((name, "yml" | "yaml" | "json")) = file.rsplit_once('.') else { continue };
        match yaml::parse_json(&names.put_into(&String::from_utf8_lossy(bytes))) {
            Ok(body @ Value::Object(_)) => {
                made.assets.push(Asset::pipeline(names.installed(name), body, names.package));
                added.insert(name.to_owned());
            }
            Ok(_) => made.notes.push(format!("{path}: not a pipeline")),
            Err(error) => made.notes.push(format!("{path}: {error}")),
        }
    }
    added
}

/// Puts installed names where `{{ IngestPipeline "name" }}` stands, with either kind of quotes.
fn replaced(text: &str, installed: impl Fn(&str) -> String) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let (before, after) = rest.split_at(at);
        done.push_str(before);
        let inner = after[2..].split_once("}}");
        let name = inner.and_then(|(inner, _)| {
            let name = inner.trim().strip_prefix(REFERENCE)?.trim();
            let name = name.trim_matches(['\'', '"']);
            (!name.is_empty()).then(|| name.to_owned())
        });
        match (name, inner) {
            (Some(name), Some((_, tail))) => {
                done.push_str(&installed(&name));
                rest = tail;
            }
            _ => {
                done.push_str("{{");
                rest = &after[2..];
            }
        }
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_pipelines_are_put_in() {
        let installed = |name: &str| format!("logs-a-1-{name}");
        for (text, expected) in [
            (r#"name: '{{ IngestPipeline "x" }}'"#, "name: 'logs-a-1-x'"),
            ("name: \"{{IngestPipeline 'x'}}\"", "name: \"logs-a-1-x\""),
            ("value: '{{{_ingest.timestamp}}}'", "value: '{{{_ingest.timestamp}}}'"),
            ("{{ IngestPipeline", "{{ IngestPipeline"),
            ("{{ x }}{{ IngestPipeline \"y\" }}", "{{ x }}logs-a-1-y"),
        ] {
            assert_eq!(replaced(text, installed), expected, "{text}");
        }
    }
}
