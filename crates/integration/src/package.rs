//! A package: what its manifests say, and its templates, ready to be rendered.

mod changelog;
mod data_stream;
mod layout;
mod manifest;
mod reader;
mod variable;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

pub use self::changelog::{Change, ChangelogEntry};
pub use self::data_stream::{DataStream, Stream, StreamElasticsearch};
use self::layout::LayoutIndex;
pub use self::layout::{DATASET_VAR, LayoutInput, LayoutStream, TYPE_VAR};
use self::reader::Files;
pub use self::variable::{SelectOption, VarType, Variable};
use crate::archive::Archive;
use crate::template::{Template, TemplateError};

/// Why a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file that must be there is not.
    #[error("{file}: the package has no such file")]
    Missing {
        /// Below the package's folder.
        file: String,
    },
    /// A file is not UTF-8, or not YAML.
    #[error("{file}:{line}: {problem}")]
    NotYaml {
        /// Below the package's folder.
        file: String,
        /// From 1.
        line: usize,
        /// A sentence without its end.
        problem: String,
    },
    /// Its policy templates, inputs, streams and variables are too many together.
    #[error("manifest.yml: the inputs of all policy templates have more than {most} streams and variables")]
    TooLarge {
        /// As many as there may be.
        most: usize,
    },
    /// A value is not what it must be.
    #[error("{file}:{line}: {field}: {problem}")]
    Field {
        /// Below the package's folder.
        file: String,
        /// From 1.
        line: usize,
        /// As `policy_templates[0].name`.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageType {
    /// Knows a product: inputs, data streams, assets.
    Integration,
    /// One input, for whatever it is pointed at.
    Input,
    /// Assets alone: nothing for agents.
    Content,
}

/// What a package needs; empty where it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Conditions {
    /// A range of versions of the server, as `^8.12.0 || ^9.0.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kibana_version: Option<String>,
    /// A subscription; kept, and never asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic_subscription: Option<String>,
    /// A range of versions of the agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
}

/// A picture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Image {
    /// As the manifest has it, from the package's root: `/img/logo.svg`.
    pub src: String,
    /// Where the server serves it: `/package/<name>/<version>/img/logo.svg`.
    pub path: String,
    /// What it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// As `32x32`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// A media type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// An input that a policy template offers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Input {
    /// As `logfile` or `nginx/metrics`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    pub title: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Of the whole input, for all its streams.
    pub vars: Vec<Variable>,
    /// Below `agent/input/`: what stands beside `streams`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_path: Option<String>,
    /// `logs` or `metrics`: how pages group it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_group: Option<String>,
    /// Whether it may be there more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi: Option<bool>,
}

/// One way to use a package.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PolicyTemplate {
    /// Unique in the package.
    pub name: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// The data streams (names of folders) that belong to it; all where it names none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_streams: Vec<String>,
    /// What it offers; empty in an input package, which is one input itself.
    pub inputs: Vec<Input>,
    /// Whether it may be used more than once in one agent policy.
    pub multiple: bool,
    /// For all its inputs.
    pub vars: Vec<Variable>,
    /// Where it stands in a catalogue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Of an input package: `logs`, `metrics`, `traces`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of an input package: the type of its input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Of an input package, below `agent/input/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_path: Option<String>,
    /// Where it may run, as the manifest has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_modes: Option<Value>,
    /// Its own pictures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub icons: Vec<Image>,
    /// Its own pictures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub screenshots: Vec<Image>,
}

/// A package. Made once, shared by all who use it.
#[derive(Debug, Clone)]
pub struct Package {
    /// As `nginx`.
    pub name: String,
    /// For people.
    pub title: String,
    /// A semantic version.
    pub version: String,
    /// For people.
    pub description: String,
    /// Of the format that it is written in; empty where it does not say.
    pub format_version: String,
    /// What it is for.
    pub kind: PackageType,
    /// Where it stands in a catalogue.
    pub categories: Vec<String>,
    /// What it needs.
    pub conditions: Conditions,
    /// `{github, type}`, as the manifest has it.
    pub owner: Map<String, Value>,
    /// How far it is: `ga`, `beta`, `experimental`; older packages say it so.
    pub release: Option<String>,
    /// Its logos.
    pub icons: Vec<Image>,
    /// What it looks like.
    pub screenshots: Vec<Image>,
    /// For all its inputs.
    pub vars: Vec<Variable>,
    /// The ways to use it.
    pub policy_templates: Vec<PolicyTemplate>,
    /// `all`, `combined_policy` or `individual_policies`: how pages show them.
    pub policy_templates_behavior: Option<String>,
    /// Where its data goes, in order of their folders.
    pub data_streams: Vec<DataStream>,
    /// Privileges on the cluster that its agents' keys need.
    pub cluster_privileges: Vec<String>,
    /// Whether it needs agents that run as root.
    pub needs_root: bool,
    /// `docs/README.md`.
    pub readme: Option<String>,
    /// `changelog.yml`, newest first; empty where it cannot be read.
    pub changelog: Vec<ChangelogEntry>,
    /// The rest of its files.
    pub archive: Archive,
    layout: Vec<LayoutInput>,
    index: LayoutIndex,
    templates: BTreeMap<String, Result<Arc<Template>, TemplateError>>,
}

impl Package {
    /// Reads a package out of its files. What it has that nobody knows is ignored.
    ///
    /// # Errors
    /// The first file that is missing or says what cannot be; its line is named.
    pub fn read(archive: &Archive) -> Result<Package, PackageError> {
        let mut files = Files::new(archive);
        let mut package = manifest::read(&mut files)?;
        package.data_streams = data_stream::read_all(&mut files, &package.name)?;
        package.layout = layout::lay_out(&package)?;
        package.index = LayoutIndex::of(&package.layout);
        package.templates = read_templates(archive);
        Ok(package)
    }

    /// What people can set up with it: each input of each policy template, with its streams.
    #[must_use]
    pub fn layout(&self) -> &[LayoutInput] {
        &self.layout
    }

    /// Where in the layout the input is that the simplified shape calls so.
    pub(crate) fn input_of_key(&self, key: &str) -> Option<usize> {
        self.index.by_key(key)
    }

    /// Where in the layout an input of this type and policy template is.
    pub(crate) fn input_of(&self, kind: &str, template: Option<&str>) -> Option<usize> {
        self.index.find(kind, template)
    }

    /// How many inputs are of a type.
    pub(crate) fn inputs_of_kind(&self, kind: &str) -> usize {
        self.index.count(kind)
    }

    /// The templates that cannot be used, which concerns only those who use them.
    pub fn template_errors(&self) -> impl Iterator<Item = &TemplateError> {
        self.templates.values().filter_map(|template| template.as_ref().err())
    }

    /// A template by its path below the package's folder.
    pub(crate) fn template(&self, path: &str) -> Option<&Result<Arc<Template>, TemplateError>> {
        self.templates.get(path)
    }

    /// The pictures' and texts' address on the server.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/package/{}/{}", self.name, self.version)
    }
}

/// The most bytes of all templates together: ten times what the largest packages have.
const LARGEST_TEMPLATES: usize = 8 * 1024 * 1024;

fn read_templates(archive: &Archive) -> BTreeMap<String, Result<Arc<Template>, TemplateError>> {
    let is_template = |path: &&str| {
        path.starts_with("agent/input/")
            || (path.starts_with("data_stream/") && path.contains("/agent/stream/"))
    };
    let (mut templates, mut size) = (BTreeMap::new(), 0);
    for path in archive.paths().filter(is_template) {
        let Some(bytes) = archive.file(path) else { continue };
        size += bytes.len();
        let template = if size > LARGEST_TEMPLATES {
            let problem = format!("the templates are larger than {LARGEST_TEMPLATES} bytes together");
            Err(TemplateError { file: path.to_owned(), line: 1, problem })
        } else {
            Template::read(path, bytes).map(Arc::new)
        };
        templates.insert(path.to_owned(), template);
    }
    templates
}
