//! `/api/fleet/settings`, and what outputs, hosts, proxies and download sources have in common.
//!
//! | module | what |
//! |---|---|
//! | `object` | listing, showing, making, changing and removing, for every kind |
//! | `edit` | what a request makes of an object |
//! | `address` | addresses that people write |
//! | `secrets` | what goes to the secret store, and what the audit trail shows |
//! | `defaults` | what is used where nothing is named |
//! | `uses` | who uses what: what may not be removed, and which policies a change touches |
//! | `first` | what is made at the first start |

pub(super) mod address;
mod defaults;
pub(super) mod edit;
mod first;
pub(super) mod object;
mod secrets;
pub(super) mod uses;

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right;
use fleet_policy::documents::{FLEET_SETTINGS_ID, FleetSettings};
use fleet_store::{Expect, WriteError};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Management;
use super::caller::Caller;
use super::catalogue::Item;
use super::error::ApiError;
use super::input::Input;
use super::routes::{Routes, get, post, put};
use edit::{WRITE, edited};

pub(super) use first::ensure_first;

/// What the audit trail calls the settings of everything.
const KIND: &str = "settings";
/// Fields that the server sets, or that mean something only to the original.
const IGNORED: [&str; 15] = [
    "id",
    "version",
    "preconfigured_fields",
    "secret_storage_requirements_met",
    "output_secret_storage_requirements_met",
    "action_secret_storage_requirements_met",
    "ssl_secret_storage_requirements_met",
    "download_source_auth_secret_storage_requirements_met",
    "use_space_awareness_migration_status",
    "use_space_awareness_migration_started_at",
    "ilm_migration_status",
    "additional_yaml_config",
    "kibana_ca_sha256",
    "kibana_urls",
    "fleet_server_hosts",
];

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let path = "/api/fleet/settings";
    routes
        .add(
            get(path, Right::ReadSettings, "Shows the settings of everything").answers::<Item<Shown>>(),
            show,
        )
        .add(
            put(path, WRITE, "Changes the settings of everything")
                .body::<FleetSettings>()
                .ignores(&IGNORED)
                .answers::<Item<Shown>>(),
            update,
        )
        .add(
            post(
                "/api/fleet/logstash_api_keys",
                WRITE,
                "Makes a key with which Logstash writes to the search engine",
            ),
            logstash_api_key,
        )
}

type Answer<T> = Result<Json<T>, ApiError>;

/// The settings as they are shown: with what is always so here.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Shown {
    id: &'static str,
    #[serde(flatten)]
    settings: FleetSettings,
    preconfigured_fields: Vec<String>,
    secret_storage_requirements_met: bool,
    output_secret_storage_requirements_met: bool,
    action_secret_storage_requirements_met: bool,
    ssl_secret_storage_requirements_met: bool,
    download_source_auth_secret_storage_requirements_met: bool,
}

impl From<FleetSettings> for Shown {
    fn from(settings: FleetSettings) -> Shown {
        Shown {
            id: FLEET_SETTINGS_ID,
            settings,
            preconfigured_fields: Vec::new(),
            secret_storage_requirements_met: true,
            output_secret_storage_requirements_met: true,
            action_secret_storage_requirements_met: true,
            ssl_secret_storage_requirements_met: true,
            download_source_auth_secret_storage_requirements_met: true,
        }
    }
}

async fn show(State(management): State<Management>) -> Answer<Item<Shown>> {
    let found = management.fleet.settings.fleet.read(FLEET_SETTINGS_ID).await?;
    let settings = found.map(|found| found.value.clone()).unwrap_or_default();
    Ok(Json(Item { item: settings.into() }))
}

async fn update(
    State(management): State<Management>,
    caller: Caller,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<Shown>> {
    let table = &management.fleet.settings.fleet;
    let found = table.read(FLEET_SETTINGS_ID).await?;
    let before = found.as_ref().map(|found| found.value.clone()).unwrap_or_default();
    let made: FleetSettings = edited(secrets::fields(&before), &body, &IGNORED)?;
    if made == before {
        return Ok(Json(Item { item: made.into() }));
    }
    let expect = found.map_or(Expect::Absent, |found| Expect::Revision(found.revision));
    match table.put(FLEET_SETTINGS_ID, made, expect).await {
        Ok(made) => {
            let made = made.value.clone();
            caller.changed(KIND, FLEET_SETTINGS_ID, Some(json!(before)), Some(json!(made)));
            Ok(Json(Item { item: made.into() }))
        }
        Err(WriteError::Conflict { .. }) => {
            let current = table.read(FLEET_SETTINGS_ID).await?;
            let current = json!(current.map(|found| found.value.clone()).unwrap_or_default());
            let text = "the settings were changed by somebody else meanwhile".to_owned();
            Err(ApiError::Changed { text, current })
        }
        Err(error) => Err(error.into()),
    }
}

/// Keys for Logstash are keys of a search engine.
async fn logstash_api_key() -> Result<Json<Value>, ApiError> {
    let text = "no search engine is configured that could make the key: make one there, with the privileges that \
                the documentation of the Logstash output names";
    Err(ApiError::Body(StatusCode::NOT_IMPLEMENTED, text.to_owned()))
}
