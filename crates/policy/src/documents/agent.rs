//! An agent as it was enrolled and as people changed it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_access::key::KeyDigest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::timestamp::Timestamp;

/// What was decided about an agent: by its enrolment, by people, and by itself when it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agent {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: AgentKind,
    /// Whether its key is good.
    pub active: bool,
    /// The policy that it should run.
    pub policy_id: Arc<str>,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// Its version.
    pub agent: AgentVersion,
    /// Where it runs.
    #[serde(skip_serializing_if = "Host::is_empty")]
    pub host: Host,
    /// What people call it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
    /// The spaces that it is seen in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Arc<str>>,
    /// The first half of its key. Empty: it has none of its own.
    pub access_api_key_id: Box<str>,
    /// What the second half is checked against.
    pub access_api_key_digest: KeyDigest,
    /// The enrolment key that it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment_key_id: Option<Arc<str>>,
    /// The attempt that it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment_id: Option<Box<str>>,
    /// Hash of the token that lets another agent take its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_token: Option<Box<str>>,
    /// When somebody asked it to leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unenrollment_started_at: Option<Timestamp>,
    /// When it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unenrolled_at: Option<Timestamp>,
    /// Why: `manual` or `timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unenrolled_reason: Option<Arc<str>>,
    /// When it told that it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_unenrolled_time: Option<Timestamp>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_unenrolled_reason: Option<AuditReason>,
    /// When somebody asked it to become another version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_started_at: Option<Timestamp>,
    /// To which version its policy sent it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_upgrade: Option<Box<AutoUpgrade>>,
}

/// An upgrade that a policy asked for by itself; see [`crate::upgrades`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoUpgrade {
    /// The version.
    pub version: Box<str>,
    /// When it was asked, newest first.
    pub attempts: Vec<Timestamp>,
}

/// What an agent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AgentKind {
    /// An agent that checks in, with a key of its own.
    #[default]
    Permanent,
    /// A collector that speaks OpAMP, with the key that it enrolled with.
    Opamp,
}

impl AgentKind {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AgentKind::Permanent => "PERMANENT",
            AgentKind::Opamp => "OPAMP",
        }
    }
}

/// The version of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentVersion {
    /// `9.6.0`
    pub version: Arc<str>,
    /// Whether it can become another version by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub upgradeable: bool,
}

/// What lists show of the machine of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Its name.
    pub hostname: Box<str>,
    /// `linux`, `windows`, `darwin`, or a distribution's name.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub platform: Arc<str>,
    /// `x86_64`
    #[serde(skip_serializing_if = "str::is_empty")]
    pub architecture: Arc<str>,
}

impl Host {
    fn is_empty(&self) -> bool {
        *self == Host::default()
    }
}

/// Why an agent says that it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditReason {
    /// It was removed from its machine.
    Uninstall,
    /// Its endpoint protection lost it.
    Orphaned,
    /// Its key was no longer good.
    KeyRevoked,
    /// It enrolled with another server.
    Migrated,
}

impl AuditReason {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AuditReason::Uninstall => "uninstall",
            AuditReason::Orphaned => "orphaned",
            AuditReason::KeyRevoked => "key_revoked",
            AuditReason::Migrated => "migrated",
        }
    }
}

/// The large part of what an agent reports. Only read when somebody looks at it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentDetails {
    /// The machine and the agent: an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_metadata: Option<Box<RawValue>>,
    /// What a person gave at enrolment: an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_provided_metadata: Option<Box<RawValue>>,
    /// What it runs: an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<Box<RawValue>>,
    /// What tells a collector from others: an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifying_attributes: Option<Box<RawValue>>,
    /// What else there is to know of a collector: an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_identifying_attributes: Option<Box<RawValue>>,
    /// How a collector and its parts are: an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Box<RawValue>>,
    /// The configuration that a collector runs, without its secrets: an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_config: Option<Box<RawValue>>,
    /// What was sent in a form that cannot be kept, by field: why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<String, String>,
}
