//! What can be asked about agents.

use super::test::Test;
use super::{Field, Kind, Query};
use crate::documents::{Agent, AgentState, AuditReason, CheckinStatus, UnhealthyReason};
use crate::status::Status;

/// What can be asked about agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentField {
    /// Its id.
    Id,
    /// The policy that it should run.
    PolicyId,
    /// What people call it by.
    Tags,
    /// How it is.
    Status,
    /// Its version.
    Version,
    /// The name of its machine.
    Hostname,
    /// The system of its machine.
    Platform,
    /// The processor of its machine.
    Architecture,
    /// Whether its key is good.
    Active,
    /// The revision that it runs.
    PolicyRevision,
    /// Whether it can become another version by itself.
    Upgradeable,
    /// The key that it came with.
    EnrollmentKey,
    /// Its own key.
    AccessKey,
    /// `PERMANENT` or `OPAMP`.
    Type,
    /// The spaces that it is seen in.
    Namespaces,
    /// When it enrolled.
    EnrolledAt,
    /// When it was last heard of.
    LastCheckin,
    /// How it says it is.
    LastCheckinStatus,
    /// The same for a person.
    LastCheckinMessage,
    /// What of it is not healthy.
    UnhealthyReason,
    /// Where a running upgrade stands.
    UpgradeState,
    /// The version that a running upgrade goes to.
    UpgradeTarget,
    /// The action of a running upgrade.
    UpgradeAction,
    /// When it was asked to become another version.
    UpgradeStartedAt,
    /// When it last became another version.
    UpgradedAt,
    /// When it was asked to leave.
    UnenrollmentStartedAt,
    /// When it left.
    UnenrolledAt,
    /// Why it said that it is gone.
    AuditReason,
    /// When it said so.
    AuditTime,
}

/// What is known of an agent that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its id.
    pub id: &'a str,
    /// What was decided about it.
    pub agent: &'a Agent,
    /// What it reports.
    pub state: &'a AgentState,
    /// How it is.
    pub status: Status,
}

/// The names of fields, as they are in the documented index. The first of a field is the one that it is printed
/// with. A leading `fleet-agents.` is left out.
pub(super) const NAMES: [(&str, AgentField); 39] = [
    ("id", AgentField::Id),
    ("_id", AgentField::Id),
    ("agent.id", AgentField::Id),
    ("local_metadata.elastic.agent.id", AgentField::Id),
    ("policy_id", AgentField::PolicyId),
    ("policy_base_id", AgentField::PolicyId),
    ("tags", AgentField::Tags),
    ("status", AgentField::Status),
    ("agent.version", AgentField::Version),
    ("version", AgentField::Version),
    ("local_metadata.elastic.agent.version", AgentField::Version),
    ("local_metadata.host.hostname", AgentField::Hostname),
    ("local_metadata.host.name", AgentField::Hostname),
    ("hostname", AgentField::Hostname),
    ("local_metadata.os.platform", AgentField::Platform),
    ("local_metadata.host.architecture", AgentField::Architecture),
    ("active", AgentField::Active),
    ("policy_revision_idx", AgentField::PolicyRevision),
    ("policy_revision", AgentField::PolicyRevision),
    ("local_metadata.elastic.agent.upgradeable", AgentField::Upgradeable),
    ("enrollment_key_id", AgentField::EnrollmentKey),
    ("access_api_key_id", AgentField::AccessKey),
    ("type", AgentField::Type),
    ("namespaces", AgentField::Namespaces),
    ("enrolled_at", AgentField::EnrolledAt),
    ("last_checkin", AgentField::LastCheckin),
    ("last_checkin_status", AgentField::LastCheckinStatus),
    ("last_checkin_message", AgentField::LastCheckinMessage),
    ("unhealthy_reason", AgentField::UnhealthyReason),
    ("upgrade_details.state", AgentField::UpgradeState),
    ("upgrade_details", AgentField::UpgradeState),
    ("upgrade_details.target_version", AgentField::UpgradeTarget),
    ("upgrade_details.action_id", AgentField::UpgradeAction),
    ("upgrade_started_at", AgentField::UpgradeStartedAt),
    ("upgraded_at", AgentField::UpgradedAt),
    ("unenrollment_started_at", AgentField::UnenrollmentStartedAt),
    ("unenrolled_at", AgentField::UnenrolledAt),
    ("audit_unenrolled_reason", AgentField::AuditReason),
    ("audit_unenrolled_time", AgentField::AuditTime),
];

impl Field for AgentField {
    const THINGS: &'static str = "agents";

    fn named(name: &str) -> Option<AgentField> {
        let short = name.strip_prefix("fleet-agents.").unwrap_or(name);
        NAMES.iter().find(|(known, _)| *known == short).map(|(_, field)| *field)
    }

    fn known() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }

    fn name(&self) -> String {
        NAMES.iter().find(|(_, field)| field == self).map_or("", |(name, _)| name).to_owned()
    }

    fn kind(&self) -> Kind {
        match self {
            AgentField::Version | AgentField::UpgradeTarget => Kind::Version,
            AgentField::PolicyRevision => Kind::Number,
            AgentField::EnrolledAt
            | AgentField::LastCheckin
            | AgentField::UpgradeStartedAt
            | AgentField::UpgradedAt
            | AgentField::UnenrollmentStartedAt
            | AgentField::UnenrolledAt
            | AgentField::AuditTime => Kind::Time,
            _ => Kind::Text,
        }
    }
}

impl Query<AgentField> {
    /// Whether it is about this agent.
    #[must_use]
    pub fn chooses(&self, about: &About<'_>) -> bool {
        self.matches(|field, test| field.passes(test, about))
    }
}

impl AgentField {
    fn passes(self, test: &Test, about: &About<'_>) -> bool {
        let (agent, state) = (about.agent, about.state);
        match self {
            AgentField::Id => test.text(about.id),
            AgentField::PolicyId => test.text(&agent.policy_id),
            AgentField::Tags => agent.tags.iter().any(|tag| test.text(tag)),
            AgentField::Status => test.text(about.status.as_str()),
            AgentField::Version => test.version(&agent.agent.version),
            AgentField::Hostname => test.text(&agent.host.hostname),
            AgentField::Platform => test.text(&agent.host.platform),
            AgentField::Architecture => test.text(&agent.host.architecture),
            AgentField::Active => test.bool(agent.active),
            AgentField::PolicyRevision => test.number(state.policy_revision_idx),
            AgentField::Upgradeable => test.bool(agent.agent.upgradeable),
            AgentField::EnrollmentKey => test.text(agent.enrollment_key_id.as_deref().unwrap_or_default()),
            AgentField::AccessKey => test.text(&agent.access_api_key_id),
            AgentField::Type => test.text(agent.kind.as_str()),
            AgentField::Namespaces => agent.namespaces.iter().any(|space| test.text(space)),
            AgentField::EnrolledAt => test.time(Some(agent.enrolled_at)),
            AgentField::LastCheckin => test.time(state.last_checkin),
            AgentField::LastCheckinStatus => {
                test.text(state.last_checkin_status.map_or("", CheckinStatus::as_str))
            }
            AgentField::LastCheckinMessage => test.text(&state.last_checkin_message),
            AgentField::UnhealthyReason => {
                state.unhealthy_reason.iter().any(|reason| test.text(UnhealthyReason::as_str(*reason)))
            }
            AgentField::UpgradeState | AgentField::UpgradeTarget | AgentField::UpgradeAction => {
                state.upgrade_details.as_ref().is_some_and(|details| match self {
                    AgentField::UpgradeState => test.text(&details.state),
                    AgentField::UpgradeTarget => test.version(&details.target_version),
                    _ => test.text(&details.action_id),
                })
            }
            AgentField::UpgradeStartedAt => test.time(agent.upgrade_started_at),
            AgentField::UpgradedAt => test.time(state.upgraded_at),
            AgentField::UnenrollmentStartedAt => test.time(agent.unenrollment_started_at),
            AgentField::UnenrolledAt => test.time(agent.unenrolled_at),
            AgentField::AuditReason => {
                test.text(agent.audit_unenrolled_reason.map_or("", AuditReason::as_str))
            }
            AgentField::AuditTime => test.time(agent.audit_unenrolled_time),
        }
    }
}
