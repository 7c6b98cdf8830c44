//! What was put into engines.

use fleet_integration::assets::{AssetKind, Family};
use fleet_policy::timestamp::Timestamp;
use fleet_store::Collection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// [`EngineRecord`] by its output's id.
pub static ENGINES: Collection = Collection { name: "engines", indexed: &[] };
/// [`EnginePackage`] by [`package_id`].
pub static ENGINE_PACKAGES: Collection = Collection { name: "engine-packages", indexed: &[] };

/// Notes that are kept of one package.
pub(super) const MOST_NOTES: usize = 50;

/// What is known of an output's engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineRecord {
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<(u32, u32)>,
    /// The cluster's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Whether agents get keys of their own.
    pub makes_keys: bool,
    /// Why it cannot be administered: for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When that was found.
    pub since: Timestamp,
}

/// How far a package is in an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineStatus {
    /// It is being put there.
    #[default]
    Installing,
    /// It is there.
    Installed,
    /// It could not be put there.
    InstallFailed,
    /// It is being removed.
    Removing,
}

/// Something in an engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct InstalledAsset {
    /// Its name.
    pub id: String,
    /// What it is.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub kind: AssetKind,
}

/// What of a package is in an output's engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnginePackage {
    /// The output.
    pub output_id: String,
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How far it is.
    pub status: EngineStatus,
    /// Why it could not be put there, or could not be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What is there of it, or may be. Written before it is put there, so that nothing is forgotten.
    pub assets: Vec<InstalledAsset>,
    /// What of it the engine has of somebody else: that is left alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<InstalledAsset>,
    /// What of the package is left out, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// When this was so first.
    pub since: Timestamp,
}

/// What a package in an engine is known by. In no package's name is an `@`.
#[must_use]
pub fn package_id(output_id: &str, package: &str) -> String {
    format!("{output_id}@{package}")
}
