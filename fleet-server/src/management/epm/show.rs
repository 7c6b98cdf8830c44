//! One package: all that is known of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use fleet_integration::inputs::{template_inputs, template_inputs_yaml};
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Which;
use super::shapes::{InEngine, InstallationInfo, Status, saved_object};
use crate::engines::EnginePackage;
use crate::engines::record::package_id;
use crate::management::Management;
use crate::management::error::ApiError;
use crate::management::input::Params;
use crate::packages::summary::Summary;
use crate::packages::{InstallSource, Opened, PackagesError, version};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct ShowQuery {
    /// Everything is shown, whether it is asked for or not.
    full: Option<bool>,
    /// No package is checked against a signature.
    ignore_unverified: Option<bool>,
    /// Whether the newest version may be one before a release.
    prerelease: Option<bool>,
    /// There is nothing to show beside that.
    with_metadata: Option<bool>,
}

/// A package, with its manifest.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Shown {
    item: Map<String, Value>,
    /// The same, for those who ask in the old way.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Map<String, Value>>,
    metadata: Metadata,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Metadata {
    has_policies: bool,
}

/// A package.
pub(super) async fn show(
    State(management): State<Management>,
    which: Which,
    Params(query): Params<ShowQuery>,
) -> Result<Json<Shown>, ApiError> {
    let prerelease = query.prerelease == Some(true);
    let mut shown = management.show_package(&which.name, which.version.as_deref(), prerelease).await?;
    shown.response = which.is_old.then(|| shown.item.clone());
    Ok(Json(shown))
}

impl Management {
    /// All that is known of a package; of the version that lists show, if none is named.
    pub(super) async fn show_package(
        &self,
        name: &str,
        version: Option<&str>,
        prerelease: bool,
    ) -> Result<Shown, ApiError> {
        let packages = &self.fleet.packages;
        let record = packages.attempted(name).await?;
        let here = packages.available_here(name);
        let newest = packages.newest(name, prerelease).await.ok();
        let wanted = match (version, &here, &newest) {
            (Some(version), _, _) => version.to_owned(),
            (None, Some(here), _) if here.is_sent() => here.summary.version.clone(),
            (None, _, Some(newest)) => newest.clone(),
            (None, Some(here), None) => here.summary.version.clone(),
            (None, None, None) => return Err(ApiError::not_found("Package", name)),
        };
        let mut item = match packages.open(name, &wanted).await? {
            Some(opened) => described(&opened),
            None => self.described_elsewhere(name, &wanted).await?,
        };
        let latest = newest.into_iter().chain(here.map(|here| here.latest));
        let latest = latest.max_by(|a, b| version::compare(a, b)).unwrap_or(wanted);
        item.insert("latestVersion".to_owned(), latest.into());
        item.insert("status".to_owned(), json!(Status::of(record.as_ref())));
        let engines = self.engines_of(name);
        if let Some(record) = &record {
            item.insert("keepPoliciesUpToDate".to_owned(), record.keep_policies_up_to_date.into());
            item.insert("installationInfo".to_owned(), json!(InstallationInfo::of(record, &engines)));
            item.insert("savedObject".to_owned(), saved_object(record, &engines));
        }
        item.insert("engines".to_owned(), json!(engines));
        let uses = self.count_uses_of(name);
        Ok(Shown { item, response: None, metadata: Metadata { has_policies: uses.package_policy_count > 0 } })
    }

    /// How far it is in the engines that have some of it.
    pub(super) fn engines_that_have(&self, name: &str) -> Vec<InEngine> {
        let known = self.fleet.engines.packages.all();
        let of_package = known.values().map(|found| &found.value).filter(|found| found.name == name);
        of_package.map(|found| InEngine::of(found, self.problem_of(&found.output_id))).collect()
    }

    /// How far it is in the engines of outputs. Those that cannot be administered say why, of each package that
    /// belongs there.
    fn engines_of(&self, name: &str) -> Vec<InEngine> {
        let mut told = self.engines_that_have(name);
        for output_id in self.fleet.engines.wanting(&self.fleet, name) {
            let is_known = self.fleet.engines.packages.get(&package_id(&output_id, name)).is_some();
            if let Some(problem) = self.problem_of(&output_id).filter(|_| !is_known) {
                let nothing = EnginePackage { output_id, ..EnginePackage::default() };
                told.push(InEngine::of(&nothing, Some(problem)));
            }
        }
        told
    }

    fn problem_of(&self, output_id: &str) -> Option<String> {
        self.fleet.engines.records.get(output_id)?.value.problem.clone()
    }

    /// As the registry tells it.
    async fn described_elsewhere(&self, name: &str, version: &str) -> Result<Map<String, Value>, ApiError> {
        let not_found = || ApiError::not_found("Package", &format!("{name}-{version}"));
        let registry = self.fleet.packages.registry().ok_or_else(not_found)?;
        let found = registry.package(name, version).await.map_err(PackagesError::Registry)?;
        let Some(Value::Object(mut item)) = found else { return Err(not_found()) };
        let paths: Vec<String> = serde_json::from_value(item["assets"].take()).unwrap_or_default();
        // A registry tells them from its own root.
        let prefix = format!("/package/{name}/{version}/");
        let paths = paths.iter().map(|path| path.strip_prefix(&prefix).unwrap_or(path));
        item.insert("assets".to_owned(), assets(paths));
        item.insert("origin".to_owned(), json!(InstallSource::Registry));
        Ok(item)
    }

    fn count_uses_of(&self, name: &str) -> Stats {
        let mut count = 0;
        let mut policies = std::collections::BTreeSet::new();
        let rows = self.fleet.integrations.rows.all();
        for row in rows.values().map(|row| &row.value) {
            if row.package.as_ref().is_some_and(|package| *package.name == *name) {
                count += 1;
                policies.extend(row.policy_ids.iter());
            }
        }
        Stats { agent_policy_count: policies.len(), package_policy_count: count }
    }
}

/// What a package that was read is.
fn described(opened: &Opened) -> Map<String, Value> {
    let package = &opened.package;
    let mut item = match json!(Summary::of(package)) {
        Value::Object(item) => item,
        _ => Map::new(),
    };
    let data_streams = package.data_streams.iter().map(|stream| {
        let mut stream = json!(stream);
        stream["package"] = package.name.clone().into();
        stream
    });
    let readme = package.readme.as_ref().map(|_| format!("{}/docs/README.md", package.path()));
    let more = [
        ("origin", json!(opened.source)),
        ("screenshots", json!(package.screenshots)),
        ("vars", json!(package.vars)),
        ("policy_templates", json!(package.policy_templates)),
        ("data_streams", data_streams.collect::<Value>()),
        ("assets", assets(opened.paths.iter().map(|path| &**path))),
        ("readme", json!(readme)),
        ("changelog", json!(package.changelog)),
        ("elasticsearch", json!({"privileges": {"cluster": package.cluster_privileges}})),
        ("agent", json!({"privileges": {"root": package.needs_root}})),
        ("licensePath", Value::Null),
    ];
    item.extend(
        more.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)),
    );
    item
}

/// Files by what they are for: `{kibana: {dashboard: [{path, file, …}]}}`.
fn assets<'a>(paths: impl Iterator<Item = &'a str>) -> Value {
    let mut found: BTreeMap<&str, BTreeMap<String, Vec<Value>>> = BTreeMap::new();
    for path in paths {
        let parts: Vec<&str> = path.split('/').collect();
        let (service, kind, file, dataset) = match parts.as_slice() {
            [service @ ("kibana" | "elasticsearch"), kind, .., file] => (*service, *kind, *file, None),
            ["data_stream", dataset, service @ "elasticsearch", kind, .., file] => {
                (*service, *kind, *file, Some(*dataset))
            }
            _ => continue,
        };
        let mut asset = json!({"type": kind, "service": service, "path": path, "file": file});
        if let Some(dataset) = dataset {
            asset["dataset"] = dataset.into();
        }
        found.entry(service).or_default().entry(kind.to_owned()).or_default().push(asset);
    }
    json!(found)
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct StatsAnswer {
    response: Stats,
}

/// What uses a package.
#[derive(Debug, Serialize, JsonSchema)]
struct Stats {
    agent_policy_count: usize,
    package_policy_count: usize,
}

/// Counts what uses a package.
pub(super) async fn stats(
    State(management): State<Management>,
    Path(name): Path<String>,
) -> Result<Json<StatsAnswer>, ApiError> {
    Ok(Json(StatsAnswer { response: management.count_uses_of(&name) }))
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Yaml,
    Yml,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct InputsQuery {
    /// `json` unless it is said.
    format: Format,
    ignore_unverified: Option<bool>,
    prerelease: Option<bool>,
}

/// The inputs of a package as an example, for those who write policies by hand.
pub(super) async fn inputs(
    State(management): State<Management>,
    Path((name, version)): Path<(String, String)>,
    Params(query): Params<InputsQuery>,
) -> Result<Response, ApiError> {
    let opened = management.fleet.packages.look_at(&name, &version).await?;
    let opened = opened.ok_or_else(|| ApiError::not_found("Package", &format!("{name}-{version}")))?;
    let package = std::sync::Arc::clone(&opened.package);
    let format = query.format;
    let rendering = tokio::task::spawn_blocking(move || match format {
        Format::Json => template_inputs(&package).map(|inputs| Json(inputs).into_response()),
        Format::Yaml | Format::Yml => template_inputs_yaml(&package)
            .map(|text| ([(CONTENT_TYPE, "text/yaml; charset=utf-8")], text).into_response()),
    });
    let rendered = rendering.await.map_err(|error| ApiError::Internal(Box::new(error)))?;
    rendered.map_err(|error| ApiError::BadRequest(format!("{name}-{version}: {error}")))
}
