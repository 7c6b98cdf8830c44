//! What the original never told: why a unit is where it is, or nowhere.

use serde::{Deserialize, Serialize};

use super::json::null_is_default;

/// Why a unit is pending, or where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Explanation {
    /// What its machine has done so far: `inactive`, `loaded` or `launched`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub current_state: String,
    /// What is asked for: `inactive`, `loaded` or `launched`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub desired_state: String,
    /// Whether it runs on every machine that fits.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "null_is_default")]
    pub global: bool,
    /// The machine that it is placed on; empty if it is pending or global.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_is_default")]
    pub machine_id: String,
    /// The unit's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub name: String,
    /// Why it cannot run on the machines that it is not on. Machines with the same reason stand together.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub reasons: Vec<Reason>,
    /// The number of the last restart that was asked for, 0 if none was since the unit was made. Later ones have
    /// higher numbers; the first one may have any.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub restarts: u64,
    /// How it is on each machine that has to do with it, in the order of their ids.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub states: Vec<ExplainedState>,
}

/// How a unit is on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExplainedState {
    /// What the machine has done so far: `inactive`, `loaded` or `launched`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub current_state: String,
    /// Why the last thing that the machine tried with the unit failed.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub error: String,
    /// The machine.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_is_default")]
    pub machine_id: String,
    /// The number of the last restart that it has carried out.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub restarts: u64,
    /// systemd's `ActiveState`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub systemd_active_state: String,
    /// systemd's `SubState`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub systemd_sub_state: String,
}

/// One reason, and the machines that it holds for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Reason {
    /// Ids of machines, in their order. Empty if the reason is no machine's, such as a failed engine.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub machines: Vec<String>,
    /// For a person: `metadata region=eu required, this machine has region=us`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub reason: String,
}

/// Asks that a unit be restarted where it runs. It has no fields yet; the body may be left out.
///
/// A restart is part of what is desired: it raises [`Explanation::restarts`], and each machine that runs
/// the unit restarts it once for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartRequest {}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
