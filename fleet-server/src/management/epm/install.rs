//! Installing packages, and removing them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use http::request::Parts;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::shapes::{Done, Removed, RolledBack};
use super::show::Shown;
use super::{KIND, Which};
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::{Input, Params};
use crate::management::{Management, Space};
use crate::packages::{Install, InstalledPackage};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct InstallQuery {
    /// Whether the newest version may be one before a release.
    pub(super) prerelease: Option<bool>,
    /// There are no mappings that could not be updated.
    pub(super) ignore_mapping_update_errors: Option<bool>,
    /// There are no data streams that could be rolled over.
    pub(super) skip_data_stream_rollover: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct InstallBody {
    /// Whether going back to an older version is meant.
    force: Option<bool>,
    /// Whether it does not matter what the package says it needs.
    ignore_constraints: Option<bool>,
}

/// What the trail keeps of a record.
pub(super) fn told(record: &InstalledPackage) -> Value {
    json!({
        "name": record.name,
        "version": record.version,
        "install_status": record.install_status,
        "install_source": record.install_source,
        "keep_policies_up_to_date": record.keep_policies_up_to_date,
    })
}

/// Installs a package that is here, or in the registry.
pub(super) async fn install(
    State(management): State<Management>,
    caller: Caller,
    which: Which,
    space: Space,
    Params(query): Params<InstallQuery>,
    Input(body): Input<InstallBody>,
) -> Result<Json<Done>, ApiError> {
    let packages = &management.fleet.packages;
    let before = packages.attempted(&which.name).await?;
    let ask = Install {
        name: &which.name,
        version: which.version.as_deref(),
        force: body.force == Some(true),
        ignore_constraints: body.ignore_constraints == Some(true),
        prerelease: query.prerelease == Some(true),
        space: &space.0,
        now: management.fleet.clock.now(),
    };
    let installed = packages.install(&ask).await?;
    caller.changed(KIND, &which.name, before.as_ref().map(told), Some(told(&installed.record)));
    management.upgrade_with(&installed.record, false, &caller).await;
    Ok(Json(Done::from(&installed.record)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct SettingsBody {
    /// Whether integrations are upgraded with their package.
    keep_policies_up_to_date: Option<bool>,
    /// Settings that mean something to the original alone.
    #[serde(flatten)]
    #[schemars(skip)]
    rest: BTreeMap<String, Value>,
}

/// Settings of a package that are not here to be set.
pub(super) const OTHERS: [&str; 2] =
    ["namespace_customization_enabled_for", "namespaceCustomizationEnabledFor"];

/// Changes the settings of an installed package.
pub(super) async fn set(
    State(management): State<Management>,
    caller: Caller,
    which: Which,
    Input(body): Input<SettingsBody>,
) -> Result<Json<Shown>, ApiError> {
    if let Some(unknown) = body.rest.keys().find(|key| !OTHERS.contains(&key.as_str())) {
        let text = format!("[request body.{unknown}]: there is no such setting; keepPoliciesUpToDate is one");
        return Err(ApiError::BadRequest(text));
    }
    let packages = &management.fleet.packages;
    let before = packages.installed(&which.name).await?;
    if let Some(keep) = body.keep_policies_up_to_date {
        let after = packages.keep_policies_up_to_date(&which.name, keep).await?;
        caller.changed(KIND, &which.name, before.as_ref().map(told), Some(told(&after)));
    }
    let version = which.version.or(before.map(|before| before.version));
    Ok(Json(management.show_package(&which.name, version.as_deref(), true).await?))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct RemoveQuery {
    /// Whether it is removed although integrations are of it.
    force: Option<bool>,
}

/// The same in a body, as it used to be sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RemoveBody {
    force: Option<bool>,
}

/// Removes a package that nothing uses.
pub(super) async fn remove(
    State(management): State<Management>,
    caller: Caller,
    which: Which,
    Params(query): Params<RemoveQuery>,
    Input(body): Input<RemoveBody>,
) -> Result<Json<Removed>, ApiError> {
    let force = query.force.or(body.force) == Some(true);
    let packages = &management.fleet.packages;
    let before = packages.attempted(&which.name).await?;
    packages.uninstall(&which.name, which.version.as_deref(), force).await?;
    let after = packages.attempted(&which.name).await?;
    caller.changed(KIND, &which.name, before.as_ref().map(told), after.as_ref().map(told));
    Ok(Json(Removed::default()))
}

/// Goes back to the version that was installed before.
pub(super) async fn roll_back(
    State(management): State<Management>,
    caller: Caller,
    which: Which,
    space: Space,
) -> Result<Json<RolledBack>, ApiError> {
    let packages = &management.fleet.packages;
    let before = packages.installed(&which.name).await?;
    let now = management.fleet.clock.now();
    let installed = packages.roll_back(&which.name, &space.0, now).await?;
    caller.changed(KIND, &which.name, before.as_ref().map(told), Some(told(&installed.record)));
    Ok(Json(RolledBack { success: true, version: installed.record.version }))
}

impl FromRequestParts<Management> for Space {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Management) -> Result<Space, ApiError> {
        Ok(parts.extensions.get::<Space>().cloned().unwrap_or_else(|| Space("default".into())))
    }
}
