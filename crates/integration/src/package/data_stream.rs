//! Data streams: `data_stream/<folder>/manifest.yml`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::PackageError;
use super::reader::{Files, Manifest, Section};
use super::variable::{self, Variable};

/// What a data stream asks of the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct StreamElasticsearch {
    /// Whether the data's own dataset counts.
    pub dynamic_dataset: bool,
    /// Whether the data's own namespace counts.
    pub dynamic_namespace: bool,
    /// Privileges on its indices, in place of those that are usual; `None` where it names none.
    #[serde(serialize_with = "as_indices", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub privileges: Option<Vec<String>>,
    /// The rest, as the manifest has it: `index_mode`, `source_mode`, `index_template` …
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl StreamElasticsearch {
    /// `settings`, `mappings`, `ingest_pipeline` or `data_stream` of `index_template`, which may be written with
    /// dots.
    pub(crate) fn index_template(&self, part: &str) -> Option<&Value> {
        let nested = self.rest.get("index_template").and_then(|template| template.get(part));
        nested.or_else(|| self.rest.get(&format!("index_template.{part}")))
    }

    /// The pipeline that documents go through, where it is not `default`.
    pub(crate) fn pipeline(&self) -> Option<&str> {
        let nested = self.index_template("ingest_pipeline").and_then(|pipeline| pipeline.get("name"));
        nested.or_else(|| self.index_template("ingest_pipeline.name"))?.as_str()
    }

    /// Whether the engine is to hide it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.index_template("data_stream").and_then(|stream| stream.get("hidden")) == Some(&Value::Bool(true))
    }
}

/// `{"indices": [...]}`, as in a manifest.
fn as_indices<S: Serializer>(privileges: &Option<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    BTreeMap::from([("indices", privileges)]).serialize(serializer)
}

/// How an input fills a data stream.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Stream {
    /// The input's type.
    pub input: String,
    /// For people.
    pub title: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it is on where nobody says otherwise.
    pub enabled: bool,
    /// Below the data stream's `agent/stream/`.
    pub template_path: String,
    /// What people set.
    pub vars: Vec<Variable>,
}

/// Where data goes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DataStream {
    /// Its folder.
    pub path: String,
    /// For people.
    pub title: String,
    /// `logs`, `metrics`, `traces`, `synthetics` or another.
    #[serde(rename = "type")]
    pub kind: String,
    /// As `nginx.access`.
    pub dataset: String,
    /// Whether data streams begin with the dataset instead of being named by it.
    pub dataset_is_prefix: bool,
    /// Whether the engine hides it.
    pub hidden: bool,
    /// A policy of the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ilm_policy: Option<String>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What it asks of the engine.
    pub elasticsearch: StreamElasticsearch,
    /// How it is filled.
    pub streams: Vec<Stream>,
}

/// All data streams, in order of their folders.
pub(super) fn read_all(files: &mut Files<'_>, package: &str) -> Result<Vec<DataStream>, PackageError> {
    let archive = files.archive;
    let folders: BTreeSet<&str> = archive
        .below("data_stream/")
        .filter_map(|(path, _)| path.strip_prefix("data_stream/")?.strip_suffix("/manifest.yml"))
        .filter(|folder| !folder.contains('/'))
        .collect();
    let mut all = Vec::with_capacity(folders.len());
    for folder in folders {
        if let Some(manifest) = files.open(&format!("data_stream/{folder}/manifest.yml"))? {
            all.push(read(&manifest, folder, package)?);
        }
    }
    Ok(all)
}

fn read(manifest: &Manifest, folder: &str, package: &str) -> Result<DataStream, PackageError> {
    let section = manifest.section()?;
    let dataset = section.text("dataset").filter(|text| !text.is_empty());
    let title = section.text("title").unwrap_or_else(|| folder.to_owned());
    Ok(DataStream {
        path: folder.to_owned(),
        streams: section.sections("streams", |stream| read_stream(&stream, &title))?,
        title,
        kind: section.need("type")?,
        dataset: dataset.unwrap_or_else(|| format!("{package}.{folder}")),
        dataset_is_prefix: section.flag("dataset_is_prefix").unwrap_or(false),
        hidden: section.flag("hidden").unwrap_or(false),
        ilm_policy: section.text("ilm_policy"),
        release: section.text("release"),
        elasticsearch: elasticsearch(&section)?,
    })
}

fn read_stream(section: &Section<'_>, title: &str) -> Result<Stream, PackageError> {
    Ok(Stream {
        input: section.need("input")?,
        title: section.text("title").unwrap_or_else(|| title.to_owned()),
        description: section.text_or_empty("description"),
        enabled: section.flag("enabled").unwrap_or(true),
        template_path: section.text("template_path").unwrap_or_else(|| "stream.yml.hbs".to_owned()),
        vars: variable::read_all(section)?,
    })
}

fn elasticsearch(section: &Section<'_>) -> Result<StreamElasticsearch, PackageError> {
    let mut rest = section.object("elasticsearch");
    for own in ["dynamic_dataset", "dynamic_namespace", "privileges"] {
        rest.remove(own);
    }
    let read = section.section("elasticsearch", |engine| {
        let privileges = engine.section("privileges", |privileges| Ok(privileges.texts("indices")))?;
        Ok(StreamElasticsearch {
            dynamic_dataset: engine.flag("dynamic_dataset").unwrap_or(false),
            dynamic_namespace: engine.flag("dynamic_namespace").unwrap_or(false),
            privileges: privileges.filter(|indices| !indices.is_empty()),
            rest,
        })
    })?;
    Ok(read.unwrap_or_default())
}
