//! The objects of the API.

use std::collections::BTreeMap;

use fleet_unit::UnitOption;
use serde::{Deserialize, Serialize};

use super::json::null_is_default;

/// A unit: its options, and where it is and should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Unit {
    /// `inactive`, `loaded` or `launched`: what its machine has done so far.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub current_state: String,
    /// `inactive`, `loaded` or `launched`: what is asked for.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub desired_state: String,
    /// The machine that it is placed on; none if it is pending or global.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_is_default")]
    pub machine_id: String,
    /// The unit's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub name: String,
    /// The unit file.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub options: Vec<UnitOption>,
}

/// A page of the list of units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnitPage {
    /// How to ask for the next page, see [`PageToken`](super::PageToken); empty on the last one.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub next_page_token: String,
    /// In the order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub units: Vec<Unit>,
}

/// What systemd says of a unit on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnitState {
    /// The hash of the unit file that this machine has, 40 hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub hash: String,
    /// The machine.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_is_default")]
    pub machine_id: String,
    /// The unit's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub name: String,
    /// systemd's `ActiveState`: `active`, `inactive`, `failed` …
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub systemd_active_state: String,
    /// systemd's `LoadState`: `loaded`, `not-found` …
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub systemd_load_state: String,
    /// systemd's `SubState`: `running`, `dead` …
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub systemd_sub_state: String,
}

/// A page of the list of unit states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnitStatePage {
    /// How to ask for the next page; empty on the last one.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub next_page_token: String,
    /// In the order of unit and machine.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub states: Vec<UnitState>,
}

/// A machine of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Machine {
    /// Its machine-id.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub id: String,
    /// What units can ask for with `MachineMetadata`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub metadata: BTreeMap<String, String>,
    /// The address that it says it has.
    #[serde(rename = "primaryIP", skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_is_default")]
    pub primary_ip: String,
}

/// A page of the list of machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachinePage {
    /// In the order of their ids.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub machines: Vec<Machine>,
    /// How to ask for the next page; empty on the last one.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub next_page_token: String,
}

/// What every failed request is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The one key of the body.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The HTTP status once more.
    pub code: u16,
    /// The reason. May be empty.
    #[serde(default, deserialize_with = "null_is_default")]
    pub message: String,
}

impl ErrorBody {
    /// The body of an answer with this status.
    pub fn new(code: u16, message: impl Into<String>) -> ErrorBody {
        ErrorBody { error: ErrorDetail { code, message: message.into() } }
    }
}
