//! What packages would put into a console of somebody else's, and what people would do by hand for an engine. There
//! is no such console, and engines are set up by themselves (`engines`): these routes say so.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right::{ReadPackages, WritePackages};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KIND, Which};
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;
use crate::management::routes::{Routes, delete, get, post};
use crate::management::{Management, Space};
use crate::packages::PackagesError;

/// The routes of assets.
pub(super) fn routes(routes: Routes) -> Routes {
    let put = |path| post(path, WritePackages, "Does nothing: nothing of a package is installed elsewhere");
    let drop =
        |path| delete(path, WritePackages, "Does nothing: nothing of a package is installed elsewhere");
    let look = |path, summary| get(path, ReadPackages, summary);
    let kibana = "/api/fleet/epm/packages/{name}/{version}/kibana_assets";
    let rules = "/api/fleet/epm/packages/{name}/{version}/rule_assets";
    let streams = "/api/fleet/epm/packages/{name}/{version}/datastream_assets";
    let transforms = "/api/fleet/epm/packages/{name}/{version}/transforms/authorize";
    let key = "/api/fleet/epm/verification_key_id";
    let routes = routes
        .add(put(kibana).body::<Spaces>().answers::<Success>(), install)
        .add(drop(kibana).answers::<Success>(), remove)
        .add(put(rules).answers::<Success>(), nothing)
        .add(drop(streams).answers::<Success>(), nothing)
        .add(
            post(transforms, WritePackages, "Says that there is nothing to authorize")
                .body::<Transforms>()
                .answers::<Vec<Authorized>>(),
            authorize,
        );
    routes
        .add(
            post(
                "/api/fleet/epm/bulk_assets",
                ReadPackages,
                "Shows installed assets, of which there are none",
            )
            .reads()
            .body::<AssetIds>()
            .answers::<Assets>(),
            bulk,
        )
        .add(look(key, "The key that packages are checked with").answers::<KeyId>(), key_id)
}

/// The most spaces that may be named at once.
const MOST_SPACES: usize = 100;

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Success {
    success: bool,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct Spaces {
    /// The spaces that want the package; the one of the path if it names none.
    space_ids: Option<Vec<String>>,
    force: Option<bool>,
}

/// Notes which spaces want the package: its installation tells them.
pub(super) async fn install(
    State(management): State<Management>,
    caller: Caller,
    which: Which,
    space: Space,
    Input(body): Input<Spaces>,
) -> Result<Json<Success>, ApiError> {
    let spaces = body.space_ids.unwrap_or_else(|| vec![space.0.to_string()]);
    if spaces.len() > MOST_SPACES || spaces.iter().any(|space| space.len() > 256) {
        let text = format!("[request body.space_ids]: at most {MOST_SPACES} spaces, of 256 bytes each");
        return Err(ApiError::BadRequest(text));
    }
    let record = management.fleet.packages.note_spaces(&which.name, &spaces, true).await?;
    caller.changed(KIND, &which.name, None, Some(super::install::told(&record)));
    Ok(Json(Success { success: true }))
}

/// Notes that a space does not want the package any more.
pub(super) async fn remove(
    State(management): State<Management>,
    caller: Caller,
    which: Which,
    space: Space,
) -> Result<Json<Success>, ApiError> {
    let record = management.fleet.packages.note_spaces(&which.name, &[space.0.to_string()], false).await?;
    caller.changed(KIND, &which.name, None, Some(super::install::told(&record)));
    Ok(Json(Success { success: true }))
}

/// There is nothing to install or to remove, of a package that is installed.
pub(super) async fn nothing(
    State(management): State<Management>,
    which: Which,
) -> Result<Json<Success>, ApiError> {
    require_installed(&management, &which.name).await?;
    Ok(Json(Success { success: true }))
}

async fn require_installed(management: &Management, name: &str) -> Result<(), ApiError> {
    match management.fleet.packages.installed(name).await? {
        Some(_) => Ok(()),
        None => Err(PackagesError::NotInstalled(name.to_owned()).into()),
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct Transforms {
    transforms: Vec<Transform>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Transform {
    transform_id: String,
}

/// What became of one transform.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct Authorized {
    transform_id: String,
    success: bool,
    error: Option<String>,
}

/// Transforms run with what the server logs in with.
pub(super) async fn authorize(
    State(management): State<Management>,
    which: Which,
    Input(body): Input<Transforms>,
) -> Result<Json<Vec<Authorized>>, ApiError> {
    require_installed(&management, &which.name).await?;
    let told = body.transforms.into_iter().map(|transform| Authorized {
        transform_id: transform.transform_id,
        success: false,
        error: Some(
            "transforms run with the server's login to the engine: there is nothing to authorize".to_owned(),
        ),
    });
    Ok(Json(told.collect()))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct AssetIds {
    asset_ids: Vec<AssetId>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct AssetId {
    id: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(in crate::management) struct Assets {
    items: Vec<BTreeMap<String, Value>>,
}

/// No asset is installed, so that none of them is found.
pub(super) async fn bulk(Input(asked): Input<AssetIds>) -> Result<Json<Assets>, ApiError> {
    match asked.asset_ids.iter().position(|asset| asset.id.is_empty() || asset.kind.is_empty()) {
        Some(at) => {
            let text = format!("[request body.assetIds[{at}]]: id and type are needed");
            Err(ApiError::BadRequest(text))
        }
        None => Ok(Json(Assets::default())),
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct KeyId {
    id: Option<String>,
}

/// Packages are not checked against a signature.
pub(super) async fn key_id() -> Json<KeyId> {
    Json(KeyId { id: None })
}
