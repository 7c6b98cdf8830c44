//! The collections and what their documents hold.
//!
//! Names and shapes are those of the documented indices of Fleet, so that a search engine can hold them as its
//! users know them. What changes often lies apart from what is large: an agent is three documents of one id.
//! [`Agent`] is what was decided about it, [`AgentState`] what it reports, [`AgentDetails`] the large part of
//! what it reports.

mod action;
mod agent;
mod agent_policy;
mod artifact;
mod defaults;
mod download_source;
mod file;
mod fleet_server_host;
mod fleet_settings;
mod kafka;
mod output;
mod policy;
mod proxy;
mod secret;
mod state;
mod uninstall_token;

pub use action::{
    Action, ActionResult, ActionTargets, INLINE_TARGETS, Outcome, Refusal, SecretReference,
    TARGETS_PER_DOCUMENT, targets_id,
};
pub use agent::{Agent, AgentDetails, AgentKind, AgentVersion, AuditReason, AutoUpgrade, Host};
pub use agent_policy::{
    AgentFeature, AgentPolicy, DEFAULT_INACTIVITY_TIMEOUT, GlobalDataTag, MonitoringDiagnostics,
    MonitoringHttp, RequiredVersion,
};
pub use artifact::Artifact;
pub use defaults::{SETTING_DEFAULTS_ID, SettingDefaults};
pub use download_source::{DownloadAuth, DownloadAuthSecrets, DownloadSecrets, DownloadSource};
pub use file::{
    FileChunk, FileDetails, FileDocument, FileHash, FileStatus, FileTargets, TransitHash, part_id,
};
pub use fleet_server_host::{ClientAuth, FleetServerHost, HostSecrets, HostTls, HostTlsSecrets};
pub use fleet_settings::{DeleteUnenrolledAgents, FLEET_SETTINGS_ID, FleetSettings};
pub use kafka::{
    KafkaAuth, KafkaComparison, KafkaCompression, KafkaConnection, KafkaGroup, KafkaHash, KafkaHeader,
    KafkaMechanism, KafkaPartition, KafkaSasl, KafkaTopic, KafkaWhen,
};
pub use output::{Output, OutputKind, OutputPreset, OutputSecrets};
pub use policy::{DeployedPolicy, PolicyParts, SigningSince};
pub use proxy::Proxy;
pub use secret::{SecretField, Tls, TlsSecrets, VerificationMode};
pub use state::{
    AckedAction, AgentState, CheckinStatus, OpampState, PendingRestart, PolicyFailure, RemoteConfig,
    RemoteConfigOutcome, UnhealthyReason, UpgradeAttempt,
};
pub use uninstall_token::UninstallToken;

use fleet_store::Collection;

/// [`Agent`] by its id.
pub static AGENTS: Collection = Collection { name: "agents", indexed: &[] };
/// [`AgentState`] by the agent's id.
pub static AGENT_STATES: Collection = Collection { name: "agent-states", indexed: &[] };
/// [`AgentDetails`] by the agent's id.
pub static AGENT_DETAILS: Collection = Collection { name: "agent-details", indexed: &[] };
/// [`AgentPolicy`] by its id.
pub static AGENT_POLICIES: Collection = Collection { name: "agent-policies", indexed: &[] };
/// [`DeployedPolicy`] by the policy's id: the newest revision.
pub static POLICIES: Collection = Collection { name: "policies", indexed: &[] };
/// Policies that are too large for a document, in parts.
pub static POLICY_PARTS: Collection = Collection { name: "policy-parts", indexed: &[] };
/// [`Action`] by a document id of its own: one action may be several documents.
pub static ACTIONS: Collection = Collection { name: "actions", indexed: &[] };
/// [`ActionTargets`] by [`targets_id`].
pub static ACTION_TARGETS: Collection = Collection { name: "action-targets", indexed: &[] };
/// [`ActionResult`] by `<action id>:<agent id>`.
pub static ACTION_RESULTS: Collection = Collection { name: "action-results", indexed: &[] };
/// [`FileDocument`] by its id: what agents have uploaded, and what is to be delivered to them.
pub static FILES: Collection = Collection { name: "files", indexed: &["agent_id"] };
/// [`FileChunk`] by [`FileChunk::id`].
pub static FILE_CHUNKS: Collection = Collection { name: "file-chunks", indexed: &[] };
/// The bytes of chunks, in parts that fit into a document each.
pub static FILE_PARTS: Collection = Collection { name: "file-parts", indexed: &[] };
/// [`Artifact`] by its id.
pub static ARTIFACTS: Collection = Collection { name: "artifacts", indexed: &[] };
/// The bytes of artifacts that are too large for a document, in parts.
pub static ARTIFACT_PARTS: Collection = Collection { name: "artifact-parts", indexed: &[] };
/// [`Output`] by its id.
pub static OUTPUTS: Collection = Collection { name: "outputs", indexed: &[] };
/// [`FleetServerHost`] by its id.
pub static FLEET_SERVER_HOSTS: Collection = Collection { name: "fleet-server-hosts", indexed: &[] };
/// [`Proxy`] by its id.
pub static PROXIES: Collection = Collection { name: "proxies", indexed: &[] };
/// [`DownloadSource`] by its id.
pub static DOWNLOAD_SOURCES: Collection = Collection { name: "download-sources", indexed: &[] };
/// [`UninstallToken`] by the id of its policy.
pub static UNINSTALL_TOKENS: Collection = Collection { name: "uninstall-tokens", indexed: &[] };
/// [`FleetSettings`] by [`FLEET_SETTINGS_ID`].
pub static FLEET_SETTINGS: Collection = Collection { name: "fleet-settings", indexed: &[] };
/// [`SettingDefaults`] by [`SETTING_DEFAULTS_ID`].
pub static SETTING_DEFAULTS: Collection = Collection { name: "setting-defaults", indexed: &[] };
