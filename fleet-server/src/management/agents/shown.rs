//! An agent as it is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_policy::agents::Snapshot;
use fleet_policy::documents::{
    AgentDetails, AuditReason, CheckinStatus, PolicyFailure, RemoteConfig, UnhealthyReason, UpgradeAttempt,
};
use fleet_policy::status::Status;
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::agent::{Rollback, UpgradeDetails};
use fleet_protocol::opamp::AgentCapability;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// An agent as it is shown. The large part of what it reports is there when a single one is asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct ShownAgent {
    id: Arc<str>,
    #[serde(rename = "type")]
    kind: &'static str,
    active: bool,
    #[schemars(with = "String")]
    enrolled_at: Timestamp,
    policy_id: Arc<str>,
    policy_revision: u64,
    agent: Version,
    access_api_key_id: String,
    tags: Vec<Arc<str>>,
    /// How it is, by what it says and when it was last heard of.
    #[schemars(with = "String")]
    status: Status,
    packages: Vec<String>,
    local_metadata: Value,
    #[serde(flatten)]
    reported: Reported,
    #[serde(flatten)]
    large: BTreeMap<&'static str, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Version {
    id: Arc<str>,
    version: Arc<str>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Reported {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    last_checkin: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    last_checkin_status: Option<CheckinStatus>,
    last_checkin_message: Arc<str>,
    #[schemars(with = "Vec<String>")]
    unhealthy_reason: Vec<UnhealthyReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    upgrade_details: Option<Box<UpgradeDetails>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    upgrade_attempt: Option<Box<UpgradeAttempt>>,
    /// When its policy sent it to another version by itself, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    upgrade_attempts: Option<Vec<Timestamp>>,
    /// Versions that it could go back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    upgrade: Option<Upgrade>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    upgraded_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    upgrade_started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    unenrolled_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unenrolled_reason: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    unenrollment_started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    audit_unenrolled_reason: Option<AuditReason>,
    /// The newest revision that it could not apply, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    policy_failure: Option<Box<PolicyFailure>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_num: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    remote_config_status: Option<RemoteConfig>,
}

#[derive(Debug, Serialize)]
struct Upgrade {
    rollbacks: Vec<Rollback>,
}

impl ShownAgent {
    /// As it stands in a list.
    pub(in crate::management) fn new(snapshot: &Snapshot, status: Status) -> ShownAgent {
        let agent = &snapshot.agent;
        let version = &agent.agent;
        ShownAgent {
            id: Arc::clone(&snapshot.id),
            kind: agent.kind.as_str(),
            active: agent.active,
            enrolled_at: agent.enrolled_at,
            policy_id: Arc::clone(&agent.policy_id),
            policy_revision: snapshot.state.policy_revision_idx,
            agent: Version { id: Arc::clone(&snapshot.id), version: Arc::clone(&version.version) },
            access_api_key_id: agent.access_api_key_id.to_string(),
            tags: agent.tags.clone(),
            status,
            packages: Vec::new(),
            local_metadata: json!({
                "elastic": {"agent": {
                    "id": &*snapshot.id, "version": &*version.version, "upgradeable": version.upgradeable,
                }},
                "host": {"hostname": &*agent.host.hostname, "architecture": &*agent.host.architecture},
                "os": {"platform": &*agent.host.platform},
            }),
            reported: Reported::new(snapshot),
            large: BTreeMap::new(),
        }
    }

    /// With the large part of what it reports.
    pub(super) fn with(mut self, details: &AgentDetails) -> ShownAgent {
        if let Some(metadata) = parsed(details.local_metadata.as_deref()) {
            self.local_metadata = metadata;
        }
        for (field, text) in [
            ("user_provided_metadata", &details.user_provided_metadata),
            ("components", &details.components),
            ("identifying_attributes", &details.identifying_attributes),
            ("non_identifying_attributes", &details.non_identifying_attributes),
            ("health", &details.health),
            ("effective_config", &details.effective_config),
        ] {
            self.large.extend(parsed(text.as_deref()).map(|given| (field, given)));
        }
        if !details.rejected.is_empty() {
            self.large.insert("rejected", json!(details.rejected));
        }
        self
    }
}

impl Reported {
    fn new(snapshot: &Snapshot) -> Reported {
        let (agent, state) = (&snapshot.agent, &snapshot.state);
        let rollbacks = state.rollbacks.clone();
        let opamp = state.opamp.as_ref();
        Reported {
            last_checkin: state.last_checkin,
            last_checkin_status: state.last_checkin_status,
            last_checkin_message: Arc::clone(&state.last_checkin_message),
            unhealthy_reason: state.unhealthy_reason.clone(),
            upgrade_details: state.upgrade_details.clone(),
            upgrade_attempt: state.upgrade_attempt.clone(),
            upgrade_attempts: agent.auto_upgrade.as_ref().map(|auto| auto.attempts.clone()),
            upgrade: (!rollbacks.is_empty()).then_some(Upgrade { rollbacks }),
            upgraded_at: state.upgraded_at,
            upgrade_started_at: agent.upgrade_started_at,
            unenrolled_at: agent.unenrolled_at,
            unenrolled_reason: agent.unenrolled_reason.clone(),
            unenrollment_started_at: agent.unenrollment_started_at,
            audit_unenrolled_reason: agent.audit_unenrolled_reason,
            policy_failure: state.policy_failure.clone(),
            capabilities: opamp.map(|opamp| AgentCapability::names(opamp.capabilities)),
            sequence_num: opamp.map(|opamp| opamp.sequence_num),
            remote_config_status: opamp.and_then(|opamp| opamp.remote_config_status.clone()),
        }
    }
}

fn parsed(text: Option<&RawValue>) -> Option<Value> {
    serde_json::from_str(text?.get()).ok()
}
