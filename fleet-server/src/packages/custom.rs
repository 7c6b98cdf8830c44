//! Packages that are made here, of a name and datasets: for logs that no other package knows.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The first version of each.
pub const FIRST_VERSION: &str = "1.0.0";

/// What kind of data a dataset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DatasetType {
    /// Lines of files.
    Logs,
    /// Sent by others.
    Metrics,
    /// Sent by others.
    Traces,
    /// Sent by others.
    Synthetics,
    /// Sent by others.
    Profiling,
}

impl DatasetType {
    /// By its name in manifests.
    #[must_use]
    pub fn of(name: &str) -> Option<DatasetType> {
        serde_json::from_value(name.into()).ok()
    }

    fn name(self) -> &'static str {
        match self {
            DatasetType::Logs => "logs",
            DatasetType::Metrics => "metrics",
            DatasetType::Traces => "traces",
            DatasetType::Synthetics => "synthetics",
            DatasetType::Profiling => "profiling",
        }
    }
}

/// Where data goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Below the package's name: lower-case letters, digits, `_` and `.`.
    pub name: String,
    /// What it holds.
    pub kind: DatasetType,
}

/// A package to be made.
#[derive(Clone, Debug)]
pub struct Custom<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Where it stands in a catalogue.
    pub categories: &'a [String],
    /// Where its data goes.
    pub datasets: &'a [Dataset],
    /// Its text; one is made if there is none.
    pub readme: Option<&'a str>,
}

const STREAM: &str = "\
{{#if paths}}
paths:
{{#each paths}}
  - {{escape_string this}}
{{/each}}
{{/if}}
{{#if processors}}
processors:
{{processors}}
{{/if}}
";

impl Custom<'_> {
    /// The archive, a tar compressed with gzip.
    ///
    /// # Errors
    /// None that is of the input: everything is written to memory.
    pub fn archive(&self) -> io::Result<Bytes> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        let mut add = |path: String, content: String| {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let path = format!("{}-{}/{path}", self.name, self.version);
            tar.append_data(&mut header, path, content.as_bytes())
        };
        // JSON is YAML, and needs no quoting that could go wrong.
        add("manifest.yml".to_owned(), self.manifest())?;
        add("docs/README.md".to_owned(), self.readme())?;
        for dataset in self.datasets {
            let folder = format!("data_stream/{}", dataset.name);
            add(format!("{folder}/manifest.yml"), self.data_stream(dataset))?;
            add(format!("{folder}/fields/base-fields.yml"), fields())?;
            if dataset.kind == DatasetType::Logs {
                add(format!("{folder}/agent/stream/stream.yml.hbs"), STREAM.to_owned())?;
            }
        }
        Ok(tar.into_inner()?.finish()?.into())
    }

    fn manifest(&self) -> String {
        let has_logs = self.datasets.iter().any(|dataset| dataset.kind == DatasetType::Logs);
        let inputs = if has_logs {
            json!([{
                "type": "filestream",
                "title": "Log files",
                "description": "Collect the lines of log files.",
            }])
        } else {
            json!([])
        };
        json!({
            "format_version": "3.0.0",
            "name": self.name,
            "title": self.name,
            "version": self.version,
            "type": "integration",
            "description": format!("Data of {}.", self.name),
            "categories": self.categories,
            "owner": {"github": "fleet", "type": "community"},
            "policy_templates": [{
                "name": self.name,
                "title": self.name,
                "description": format!("Collect data of {}.", self.name),
                "inputs": inputs,
            }],
        })
        .to_string()
    }

    fn readme(&self) -> String {
        if let Some(readme) = self.readme {
            return readme.to_owned();
        }
        let mut text = format!("# {}\n\nData of {}, in these data streams:\n\n", self.name, self.name);
        for Dataset { name, kind } in self.datasets {
            // Writing to a text does not fail.
            let _ = writeln!(text, "* `{}-{}.{name}`", kind.name(), self.name);
        }
        text
    }

    fn data_stream(&self, dataset: &Dataset) -> String {
        let streams = if dataset.kind == DatasetType::Logs {
            json!([{
                "input": "filestream",
                "title": format!("Lines of {}", dataset.name),
                "template_path": "stream.yml.hbs",
                "vars": [
                    {
                        "name": "paths", "type": "text", "title": "Paths", "multi": true, "required": true,
                        "show_user": true, "default": [format!("/var/log/{}/*.log", self.name)],
                    },
                    {
                        "name": "processors", "type": "yaml", "title": "Processors", "multi": false,
                        "required": false, "show_user": false,
                    },
                ],
            }])
        } else {
            json!([])
        };
        json!({
            "title": dataset.name,
            "type": dataset.kind.name(),
            "dataset": format!("{}.{}", self.name, dataset.name),
            "streams": streams,
        })
        .to_string()
    }
}

/// What every document of a data stream has.
fn fields() -> String {
    json!([
        {"name": "data_stream.type", "type": "constant_keyword"},
        {"name": "data_stream.dataset", "type": "constant_keyword"},
        {"name": "data_stream.namespace", "type": "constant_keyword"},
        {"name": "@timestamp", "type": "date"},
    ])
    .to_string()
}

#[cfg(test)]
mod tests {
    use fleet_integration::{Archive, Package};

    use super::*;

    #[test]
    fn what_is_made_is_a_package() {
        let datasets = [("access", DatasetType::Logs), ("load", DatasetType::Metrics)]
            .map(|(name, kind)| Dataset { name: name.to_owned(), kind });
        let custom = Custom {
            name: "shop",
            version: FIRST_VERSION,
            categories: &["custom".to_owned()],
            datasets: &datasets,
            readme: None,
        };
        let archive = Archive::tar_gz(&custom.archive().unwrap()).unwrap();
        let package = Package::read(&archive).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("shop", "1.0.0"));
        let names: Vec<&str> = package.data_streams.iter().map(|stream| stream.dataset.as_str()).collect();
        assert_eq!(names, ["shop.access", "shop.load"]);
        assert_eq!(package.template_errors().count(), 0);
        assert_eq!(package.layout().len(), 1);
        assert!(package.readme.unwrap().contains("`logs-shop.access`"));
    }
}
