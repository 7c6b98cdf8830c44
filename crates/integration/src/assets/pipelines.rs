//! Ingest pipelines of a data stream.

use serde_json::Value;

use super::{Asset, Assets};
use crate::archive::Archive;
use crate::package::{DataStream, Package};
use crate::yaml;

/// What stands for the installed name of another pipeline of the data stream.
const REFERENCE: &str = "IngestPipeline";

/// Adds the pipelines of a data stream. Answers the name of the one that its documents go through.
pub(super) fn add(
    made: &mut Assets,
    package: &Package,
    archive: &Archive,
    stream: &DataStream,
) -> Option<String> {
    let folder = match stream.path.as_str() {
        "" => "elasticsearch/ingest_pipeline/".to_owned(),
        path => format!("data_stream/{path}/elasticsearch/ingest_pipeline/"),
    };
    let base = format!("{}-{}-{}", stream.kind, stream.dataset, package.version);
    let installed = |name: &str| match name {
        "default" => base.clone(),
        other => format!("{base}-{other}"),
    };
    let wanted = stream.elasticsearch.pipeline().unwrap_or("default");
    let mut first = None;
    for (path, bytes) in archive.below(&folder) {
        let file = path.strip_prefix(&folder).unwrap_or(path);
        let Some((name, "yml" | "yaml" | "json")) = file.rsplit_once('.') else { continue };
        let text = replaced(&String::from_utf8_lossy(bytes), installed);
        let body = match yaml::parse_json(&text) {
            Ok(body @ Value::Object(_)) => body,
            Ok(_) => {
                made.notes.push(format!("{path}: not a pipeline"));
                continue;
            }
            Err(error) => {
                made.notes.push(format!("{path}: {error}"));
                continue;
            }
        };
        if name == wanted {
            first = Some(installed(name));
        }
        made.assets.push(Asset::pipeline(installed(name), body, package));
    }
    first
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
