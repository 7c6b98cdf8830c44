//! Packages that are made here.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KIND;
use super::install::told;
use super::shapes::{Done, Status};
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;
use crate::management::{Management, Space};
use crate::packages::custom::{Custom, Dataset, DatasetType, FIRST_VERSION};
use crate::packages::{ArchiveKind, InstallSource, Installed};

/// The most datasets of a package.
const MOST_DATASETS: usize = 100;
/// The longest name of a package or a dataset.
const LONGEST_NAME: usize = 100;
/// The longest text of a package in bytes.
const LONGEST_README: usize = 1 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct Make {
    /// What the package is called: lower-case letters, digits and `_`.
    integration_name: String,
    /// Where its data goes.
    datasets: Vec<MadeDataset>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MadeDataset {
    /// Lower-case letters, digits, `_` and `.`.
    name: String,
    #[serde(rename = "type")]
    kind: DatasetType,
}

/// Makes a package, and installs it.
pub(super) async fn make(
    State(management): State<Management>,
    caller: Caller,
    space: Space,
    Input(body): Input<Make>,
) -> Result<Json<Done>, ApiError> {
    let name = &body.integration_name;
    check_name("integrationName", name, "")?;
    if body.datasets.is_empty() || body.datasets.len() > MOST_DATASETS {
        let text = format!("[request body.datasets]: 1 to {MOST_DATASETS} datasets are needed");
        return Err(ApiError::BadRequest(text));
    }
    let mut datasets: Vec<Dataset> = Vec::with_capacity(body.datasets.len());
    for (at, dataset) in body.datasets.iter().enumerate() {
        let field = format!("datasets[{at}].name");
        check_name(&field, &dataset.name, ".")?;
        // As `shop.access` of the package `shop`: what it is called within.
        let within = dataset.name.strip_prefix(&format!("{name}.")).unwrap_or(&dataset.name);
        if datasets.iter().any(|other| other.name == within) {
            let text = format!("[request body.{field}]: {within:?} is there twice");
            return Err(ApiError::BadRequest(text));
        }
        datasets.push(Dataset { name: within.to_owned(), kind: dataset.kind });
    }
    let is_there =
        management.fleet.packages.available(true).await.iter().any(|one| one.summary.name == *name);
    if is_there {
        let text =
            format!("[request body.integrationName]: a package {name} exists already: choose another name");
        return Err(ApiError::Conflict(text));
    }
    let custom = Custom {
        name,
        version: FIRST_VERSION,
        categories: &["custom".to_owned()],
        datasets: &datasets,
        readme: None,
    };
    let installed = management.keep_custom(&custom, &space).await?;
    caller.changed(KIND, name, None, Some(told(&installed.record)));
    Ok(Json(Done::from(&installed.record)))
}

fn check_name(field: &str, name: &str, more: &str) -> Result<(), ApiError> {
    let fits = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_' || more.contains(letter)
    };
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    if starts && name.len() <= LONGEST_NAME && name.chars().all(fits) && !name.ends_with('.') {
        return Ok(());
    }
    let also = if more.is_empty() { "" } else { ", ." };
    Err(ApiError::BadRequest(format!(
        "[request body.{field}]: lower-case letters, digits and _{also}, at most {LONGEST_NAME}, a letter first"
    )))
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::management) struct Change {
    /// The package's text, in Markdown.
    #[serde(rename = "readMeData")]
    readme: Option<String>,
    /// Where it stands in a catalogue.
    categories: Option<Vec<String>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Changed {
    id: String,
    result: ChangedTo,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ChangedTo {
    version: String,
    status: Status,
}

/// Gives a package that was made here another text: its next version.
pub(super) async fn change(
    State(management): State<Management>,
    caller: Caller,
    space: Space,
    Path(name): Path<String>,
    Input(body): Input<Change>,
) -> Result<Json<Changed>, ApiError> {
    if body.readme.as_ref().is_some_and(|text| text.len() > LONGEST_README) {
        let text = format!("[request body.readMeData]: longer than {LONGEST_README} bytes");
        return Err(ApiError::BadRequest(text));
    }
    let packages = &management.fleet.packages;
    let before = packages.installed(&name).await?;
    let is_custom =
        |record: &crate::packages::InstalledPackage| record.install_source == InstallSource::Custom;
    let before = before.filter(is_custom).ok_or_else(|| ApiError::not_found("Custom integration", &name))?;
    let package = packages.get(&name, &before.version).await?;
    let package = package.ok_or_else(|| ApiError::not_found("Custom integration", &name))?;
    let datasets = package.data_streams.iter().filter_map(|stream| {
        Some(Dataset { name: stream.path.clone(), kind: DatasetType::of(&stream.kind)? })
    });
    let version = next_version(&before.version);
    let custom = Custom {
        name: &name,
        version: &version,
        categories: body.categories.as_deref().unwrap_or(&package.categories),
        datasets: &datasets.collect::<Vec<_>>(),
        readme: body.readme.as_deref().or(package.readme.as_deref()),
    };
    let installed = management.keep_custom(&custom, &space).await?;
    let record = &installed.record;
    caller.changed(KIND, &name, Some(told(&before)), Some(told(record)));
    let result = ChangedTo { version: record.version.clone(), status: Status::of(Some(record)) };
    Ok(Json(Changed { id: name, result }))
}

/// What comes after `1.0.0`: `1.0.1`.
fn next_version(version: &str) -> String {
    semver::Version::parse(version)
        .map(|version| semver::Version::new(version.major, version.minor, version.patch + 1).to_string())
        .unwrap_or_else(|_| FIRST_VERSION.to_owned())
}

impl Management {
    async fn keep_custom(&self, custom: &Custom<'_>, space: &Space) -> Result<Installed, ApiError> {
        let archive = custom.archive().map_err(|error| ApiError::Internal(Box::new(error)))?;
        let (source, now) = (InstallSource::Custom, self.fleet.clock.now());
        Ok(self.fleet.packages.upload(ArchiveKind::TarGz, source, archive, &space.0, now).await?)
    }
}
