//! Settings of everything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The id of the one document in [`super::FLEET_SETTINGS`].
pub const FLEET_SETTINGS_ID: &str = "fleet-default-settings";

/// Settings of everything. There is one document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FleetSettings {
    /// Whether versions of packages that are not finished are shown.
    pub prerelease_integrations_enabled: bool,
    /// Whether somebody has seen a notice. Kept, and means nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_seen_add_data_notice: Option<bool>,
    /// Whether what packages tell of themselves is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integration_knowledge_enabled: Option<bool>,
    /// Whether agents that have been unenrolled are removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_unenrolled_agents: Option<DeleteUnenrolledAgents>,
}

/// Whether agents that have been unenrolled are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteUnenrolledAgents {
    /// Whether.
    pub enabled: bool,
    /// Whether that comes from a file.
    #[serde(default)]
    pub is_preconfigured: bool,
}
