//! A policy as people edit it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::timestamp::Timestamp;

/// What people edit. What agents get is composed of it and deployed; see [`crate::compose`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AgentPolicy {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where its data goes by default.
    pub namespace: String,
    /// What it is for.
    pub description: String,
    /// Whether people are kept from changing it.
    pub is_managed: bool,
    /// Whether removing an agent from its machine needs a token.
    pub is_protected: bool,
    /// What agents tell of themselves: `logs`, `metrics`, `traces`.
    pub monitoring_enabled: Vec<String>,
    /// After so many seconds without a word an agent is inactive. 0: never.
    pub inactivity_timeout: u64,
    /// After so many seconds without a word an agent is unenrolled. 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unenroll_timeout: Option<u64>,
    /// The output that data goes to; none: the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_output_id: Option<String>,
    /// The output that what agents tell of themselves goes to; none: the default one for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring_output_id: Option<String>,
    /// Where its agents find their servers; none: the default hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet_server_host_id: Option<String>,
    /// Where its agents fetch new versions; none: the default source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_source_id: Option<String>,
    /// Fields that every document of its agents gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global_data_tags: Option<Vec<GlobalDataTag>>,
    /// Whether agents go on serving their monitoring endpoint when nothing is monitored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_monitoring_alive: Option<bool>,
    /// The monitoring endpoint of agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring_http: Option<MonitoringHttp>,
    /// Whether that endpoint serves profiles too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring_pprof_enabled: Option<bool>,
    /// How agents collect diagnostics and upload them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring_diagnostics: Option<MonitoringDiagnostics>,
    /// Versions that a share of the agents is upgraded to by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_versions: Option<Vec<RequiredVersion>>,
    /// Whether its integrations are run for the user, without an agent of theirs. Kept, and means nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supports_agentless: Option<bool>,
    /// Whether it is the policy of whoever names none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_default: bool,
    /// Whether it is the policy of the agents that supervise servers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_default_fleet_server: bool,
    /// Whether one of its integrations is the server of agents.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_fleet_server: bool,
    /// Settings of agents, by their names or paths; see [`crate::compose`].
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub advanced_settings: Map<String, Value>,
    /// Features of agents that are on: `[{"name": "fqdn", "enabled": true}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agent_features: Vec<AgentFeature>,
    /// What agents get is laid over with this, at the very end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Map<String, Value>>,
    /// The spaces that it is seen in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub space_ids: Vec<String>,
    /// Its integrations, by their ids. Each says which policies it is meant for; this is what counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub package_policies: Vec<String>,
    /// Grows with each edit, from 1.
    pub revision: u64,
    /// When it was last edited.
    #[schemars(with = "String")]
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
}

/// A feature of agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentFeature {
    /// Its name.
    pub name: String,
    /// Whether it is on.
    pub enabled: bool,
}

/// A field that every document gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobalDataTag {
    /// The field.
    pub name: String,
    /// A text or a number.
    pub value: Value,
}

/// The endpoint at which an agent tells how it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MonitoringHttp {
    /// Whether there is one.
    pub enabled: bool,
    /// The address it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How what it tells is gathered: `{"enabled": true}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<MonitoringBuffer>,
    /// Anything else, as it was given once.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// How what an agent's monitoring endpoint tells is gathered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MonitoringBuffer {
    /// Whether a history of it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// How agents collect diagnostics and upload them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MonitoringDiagnostics {
    /// How often they do: `{"interval": "1m", "burst": 1}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DiagnosticsLimit>")]
    pub limit: Option<Map<String, Value>>,
    /// How long they try: `{"max_retries": 10, "init_dur": "1s", "max_dur": "1m"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DiagnosticsUploader>")]
    pub uploader: Option<Map<String, Value>>,
}

/// [`MonitoringDiagnostics::limit`], as it is described.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "numbers are kept as they were written")]
struct DiagnosticsLimit {
    interval: Option<String>,
    burst: Option<f64>,
}

/// [`MonitoringDiagnostics::uploader`], as it is described.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "numbers are kept as they were written")]
struct DiagnosticsUploader {
    max_retries: Option<f64>,
    init_dur: Option<String>,
    max_dur: Option<String>,
}

/// A version that a share of the agents is upgraded to by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequiredVersion {
    /// The version.
    pub version: String,
    /// How many of a hundred.
    pub percentage: f64,
}

/// An agent that is silent for so many seconds is inactive, unless its policy says otherwise: two weeks.
pub const DEFAULT_INACTIVITY_TIMEOUT: u64 = 1_209_600;
