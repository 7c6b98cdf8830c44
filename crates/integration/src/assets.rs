//! What a package puts into the engine that its data goes to: mappings, templates and ingest pipelines.
//!
//! All of it follows from the package and from what the engine can do: nothing here asks anybody.
//!
//! | module | what |
//! |---|---|
//! | [`fields`] | field definitions, read |
//! | [`mappings`] | from them to mappings |
//! | `leaf` | one field |
//! | `ecs` | the types of fields of the common schema |
//! | `lifecycles` | policies of indices' lives |
//! | `templates` | component and index templates |
//! | `pipelines` | ingest pipelines |
//! | `whole` | what is of a package as a whole |
//! | `ism` | policies of indices' lives, as OpenSearch has them |
//! | `transforms` | transforms, and what they write to |

mod ecs;
pub mod fields;
mod ism;
mod leaf;
mod lifecycles;
pub mod mappings;
mod pipelines;
mod templates;
mod transforms;
mod whole;

use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::archive::Archive;
use crate::package::{DataStream, Package, PackageType};

/// Who made an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Elasticsearch.
    Elasticsearch,
    /// OpenSearch.
    OpenSearch,
}

/// What must be known of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Who made it.
    pub family: Family,
    /// Major and minor version.
    pub version: (u32, u32),
    /// Policies of an index's life that it has: naming another is refused, or stops the index's life.
    pub lifecycles: BTreeSet<String>,
    /// Why no such policy can be put there, for people; `None`: it can.
    pub no_lifecycles: Option<String>,
    /// Why no transform can be put there; `None`: it can.
    pub no_transforms: Option<String>,
}

impl Engine {
    pub(crate) fn is_opensearch(&self) -> bool {
        self.family == Family::OpenSearch
    }
}

/// What kind of thing is put into an engine. In the order in which they are put there: each refers to those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetKind {
    /// An ingest pipeline.
    IngestPipeline,
    /// A policy of an index's life.
    IlmPolicy,
    /// The same in OpenSearch.
    IsmPolicy,
    /// A part of index templates.
    ComponentTemplate,
    /// An index template.
    IndexTemplate,
    /// A transform.
    Transform,
}

impl AssetKind {
    /// Where those of the kind lie in the engine, with a slash at both ends.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            AssetKind::IngestPipeline => "/_ingest/pipeline/",
            AssetKind::ComponentTemplate => "/_component_template/",
            AssetKind::IndexTemplate => "/_index_template/",
            AssetKind::IlmPolicy => "/_ilm/policy/",
            AssetKind::IsmPolicy => "/_plugins/_ism/policies/",
            AssetKind::Transform => "/_transform/",
        }
    }
}

/// Something to be put into an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// What it is.
    pub kind: AssetKind,
    /// Its name there.
    pub name: String,
    /// It.
    pub body: Value,
    /// Of the body: whether it is there already. It stands in the body too.
    pub checksum: String,
    /// Whether it is for people to change: it is made once, and left alone from then on.
    pub is_users: bool,
    /// Whether it is to run from then on. Only transforms do.
    pub is_started: bool,
}

/// All of a package.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assets {
    /// In the order in which they are put there.
    pub assets: Vec<Asset>,
    /// What of the package is left out, and why: for people.
    pub notes: Vec<String>,
}

/// A data stream that is not named in the package but by whoever set it up: those of input packages are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// `logs`, `metrics` …
    pub kind: String,
    /// Its dataset.
    pub dataset: String,
    /// The folder of the package's data stream whose fields it has; empty: those of the package.
    pub folder: String,
}

/// What `package`, whose files are in `archive`, puts into `engine`, for its own data streams and `targets`.
#[must_use]
pub fn assets(package: &Package, archive: &Archive, targets: &BTreeSet<Target>, engine: &Engine) -> Assets {
    let mut made = Assets::default();
    let own_name = |stream: &DataStream| (stream.kind.clone(), stream.dataset.clone());
    let own: BTreeSet<_> = package.data_streams.iter().map(own_name).collect();
    let mut engine = engine.clone();
    // Indices of OpenSearch name none.
    if engine.no_lifecycles.is_none() && !engine.is_opensearch() {
        engine.lifecycles.extend(lifecycles::names(package, archive));
    }
    let engine = &engine;
    for stream in &package.data_streams {
        templates::add(&mut made, package, archive, stream, engine);
    }
    for target in targets {
        if own.contains(&(target.kind.clone(), target.dataset.clone())) {
            continue;
        }
        let stream = package.data_streams.iter().find(|stream| stream.path == target.folder);
        match stream {
            Some(stream) => {
                let stream = DataStream {
                    kind: target.kind.clone(),
                    dataset: target.dataset.clone(),
                    dataset_is_prefix: false,
                    ..stream.clone()
                };
                templates::add(&mut made, package, archive, &stream, engine);
            }
            None if package.kind == PackageType::Input => {
                templates::add(&mut made, package, archive, &of_input(package, target), engine);
            }
            None => {}
        }
    }
    whole::add(&mut made, package, archive, engine);
    lifecycles::add(&mut made, package, archive, targets, engine);
    transforms::add(&mut made, package, archive, engine);
    made.assets.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    made.assets.dedup_by(|a, b| (a.kind, &a.name) == (b.kind, &b.name));
    made
}

/// The data stream of an input package, which has its fields and pipelines at its top.
fn of_input(package: &Package, target: &Target) -> DataStream {
    DataStream {
        path: String::new(),
        title: package.title.clone(),
        kind: target.kind.clone(),
        dataset: target.dataset.clone(),
        dataset_is_prefix: false,
        hidden: false,
        ilm_policy: None,
        release: None,
        elasticsearch: crate::package::StreamElasticsearch::default(),
        streams: Vec::new(),
    }
}

impl Asset {
    /// A template: what is told of it stands in its `_meta`.
    fn template(kind: AssetKind, name: String, mut body: Value, package: &Package, is_users: bool) -> Asset {
        let own = body["_meta"].take();
        body["_meta"] = marked(own, package);
        let checksum = checksum(&body);
        body["_meta"]["checksum"] = checksum.clone().into();
        Asset { kind, name, body, checksum, is_users, is_started: false }
    }

    /// A policy of an index's life.
    fn lifecycle(name: String, body: &Value, package: &Package) -> Asset {
        // What else there may be is not taken.
        let mut policy = body["policy"].clone();
        let own = policy["_meta"].take();
        policy["_meta"] = marked(own, package);
        let checksum = checksum(&policy);
        policy["_meta"]["checksum"] = checksum.clone().into();
        let body = json!({"policy": policy});
        Asset { kind: AssetKind::IlmPolicy, name, body, checksum, is_users: false, is_started: false }
    }

    /// A transform. It is the same in another version of its package, as long as it does the same.
    fn transform(name: String, mut body: Value, package: &Package, is_started: bool) -> Asset {
        let checksum = checksum(&body);
        body["_meta"] = marked(Value::Null, package);
        body["_meta"]["checksum"] = checksum.clone().into();
        Asset { kind: AssetKind::Transform, name, body, checksum, is_users: false, is_started }
    }

    /// A pipeline. Not every engine lets it have a `_meta`, so that its description tells.
    fn pipeline(name: String, mut body: Value, package: &Package) -> Asset {
        let checksum = checksum(&json!([body, package.version]));
        let said = body["description"].as_str().unwrap_or_default().trim();
        let mark = format!("{PIPELINE_MARK}{checksum}]");
        let description = format!("{said} (package {} {}) {mark}", package.name, package.version);
        body["description"] = description.trim().into();
        Asset { kind: AssetKind::IngestPipeline, name, body, checksum, is_users: false, is_started: false }
    }
}

/// What stands before the checksum in the description of what has no `_meta`.
const PIPELINE_MARK: &str = "[managed by fleet: ";

/// The checksum in something that an engine has, if it is ours: what is not is never changed.
#[must_use]
pub fn checksum_in(kind: AssetKind, body: &Value) -> Option<&str> {
    if matches!(kind, AssetKind::IngestPipeline | AssetKind::IsmPolicy) {
        let said = if kind == AssetKind::IsmPolicy { &body["policy"] } else { body };
        let description = said["description"].as_str()?;
        return description.rsplit_once(PIPELINE_MARK)?.1.strip_suffix(']');
    }
    if kind == AssetKind::IlmPolicy {
        return body["policy"]["_meta"]["checksum"].as_str();
    }
    body["_meta"]["checksum"].as_str()
}

/// What is told of something, beside what it tells itself.
fn marked(own: Value, package: &Package) -> Value {
    let mut meta = if own.is_object() { own } else { json!({}) };
    meta["package"] = json!({"name": package.name, "version": package.version});
    meta["managed_by"] = "fleet".into();
    meta["managed"] = true.into();
    meta
}

fn checksum(body: &Value) -> String {
    let digest = digest(&SHA256, body.to_string().as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
