//! What is answered of an installation.

use std::collections::BTreeMap;

use fleet_policy::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::engines::record::{EnginePackage, EngineStatus, InstalledAsset};
use crate::packages::{FailedAttempt, InstallSource, InstallStatus, InstalledPackage};

/// Whether a package can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::management) enum Status {
    Installed,
    NotInstalled,
    InstallFailed,
}

impl Status {
    pub(super) fn of(record: Option<&InstalledPackage>) -> Status {
        match record.map(|record| record.install_status) {
            Some(InstallStatus::Installed) => Status::Installed,
            Some(InstallStatus::InstallFailed) => Status::InstallFailed,
            None => Status::NotInstalled,
        }
    }
}

/// What is known of an installation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::management) struct InstallationInfo {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    version: String,
    install_status: InstallStatus,
    install_source: InstallSource,
    /// Nothing of a package is checked against a signature.
    verification_status: &'static str,
    /// Nothing is installed in a console of somebody else's.
    installed_kibana: Vec<Value>,
    /// What is in the engines of outputs.
    installed_es: Vec<InstalledAsset>,
    installed_kibana_space_id: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    additional_spaces_installed_kibana: BTreeMap<String, Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_version: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    latest_install_failed_attempts: Vec<FailedAttempt>,
    #[schemars(with = "String")]
    created_at: Timestamp,
    #[schemars(with = "String")]
    updated_at: Timestamp,
}

impl InstallationInfo {
    /// Of a package, and of what is in engines of it.
    pub(super) fn of(record: &InstalledPackage, engines: &[InEngine]) -> InstallationInfo {
        let spaces = record.other_spaces.iter().map(|space| (space.clone(), Vec::new()));
        InstallationInfo {
            kind: "epm-packages",
            name: record.name.clone(),
            version: record.version.clone(),
            install_status: record.install_status,
            install_source: record.install_source,
            verification_status: "unknown",
            installed_kibana: Vec::new(),
            installed_es: installed_es(engines),
            installed_kibana_space_id: record.space.clone(),
            additional_spaces_installed_kibana: spaces.collect(),
            previous_version: record.previous_version.clone(),
            latest_install_failed_attempts: record.failed_attempts.clone(),
            created_at: record.installed_at,
            updated_at: record.installed_at,
        }
    }
}

/// How far a package is in the engine of an output.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::management) struct InEngine {
    /// The output.
    output_id: String,
    /// The version that is there.
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    /// How far it is.
    status: EngineStatus,
    /// Why it is not there, or not gone, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// What is there of it.
    assets: Vec<InstalledAsset>,
    /// What is there of somebody else's making: it is left alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_alone: Vec<InstalledAsset>,
    /// What of the package this engine cannot have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Since when that is so.
    #[schemars(with = "String")]
    updated_at: Timestamp,
}

impl InEngine {
    /// As it is noted; `problem`: why the engine cannot be administered at all.
    pub(super) fn of(record: &EnginePackage, problem: Option<String>) -> InEngine {
        let status = match problem {
            Some(_) if record.status == EngineStatus::Installing => EngineStatus::InstallFailed,
            _ => record.status,
        };
        InEngine {
            output_id: record.output_id.clone(),
            version: record.version.clone(),
            status,
            message: problem.or_else(|| record.problem.clone()),
            assets: record.assets.clone(),
            left_alone: record.foreign.clone(),
            notes: record.notes.clone(),
            updated_at: record.since,
        }
    }
}

/// What is in any engine, each once.
fn installed_es(engines: &[InEngine]) -> Vec<InstalledAsset> {
    let mut all: Vec<InstalledAsset> =
        engines.iter().flat_map(|engine| engine.assets.iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

/// The same, as it was told before there was [`InstallationInfo`].
pub(super) fn saved_object(record: &InstalledPackage, engines: &[InEngine]) -> Value {
    json!({
        "id": record.name,
        "type": "epm-packages",
        "created_at": record.installed_at,
        "attributes": {
            "name": record.name,
            "version": record.version,
            "install_version": record.version,
            "install_status": record.install_status,
            "install_source": record.install_source,
            "installed_kibana": [],
            "installed_es": installed_es(engines),
            "installed_kibana_space_id": record.space,
            "keep_policies_up_to_date": record.keep_policies_up_to_date,
        },
    })
}

/// What was installed.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Done {
    /// What was put into an engine: nothing as long as none is configured.
    items: Vec<Value>,
    #[serde(rename = "_meta")]
    meta: Meta,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Meta {
    install_source: InstallSource,
    name: String,
    version: String,
}

impl From<&InstalledPackage> for Done {
    fn from(record: &InstalledPackage) -> Done {
        let (name, version) = (record.name.clone(), record.version.clone());
        Done { items: Vec::new(), meta: Meta { install_source: record.install_source, name, version } }
    }
}

/// What was removed.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(in crate::management) struct Removed {
    /// What was in an engine: nothing as long as none is configured.
    pub(super) items: Vec<Value>,
}

/// Where it went back to.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct RolledBack {
    pub(super) success: bool,
    pub(super) version: String,
}
