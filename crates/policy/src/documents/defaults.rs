//! What is used where nothing is named.

use serde::{Deserialize, Serialize};

/// The id of the one document in [`super::SETTING_DEFAULTS`].
pub const SETTING_DEFAULTS_ID: &str = "current";

/// Which object of each kind is used where nothing is named. All of them are in one document, so that there is
/// one of each at any time, whoever changes it; what objects say of themselves is made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingDefaults {
    /// The output for data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The output for what agents tell of themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring_output: Option<String>,
    /// Where agents find their servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet_server_host: Option<String>,
    /// Where they fetch new versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_source: Option<String>,
}
