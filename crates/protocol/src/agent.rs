//! The API of the agents, as Elastic Agents from 7.13 on speak it: enrol, check in, acknowledge, upload.
//!
//! Requests borrow from the body that they were read from, and what the server only keeps or passes on stays
//! JSON text ([`RawValue`](serde_json::value::RawValue)). Fields that the server does not know are ignored;
//! absent optional fields are left out of answers.

mod ack;
mod answer;
mod checkin;
mod enroll;
mod error;
mod upload;
mod version;

pub use ack::{AckItem, AckRequest, AckResponse, Event};
pub use answer::{Action, ActionType, CheckinResponse, Signed, UnknownActionType};
pub use checkin::{CheckinRequest, Rollback, UpgradeDetails, UpgradeReport};
pub use enroll::{EnrollMetadata, EnrollRequest, EnrollResponse, EnrolledAgent};
pub use error::ErrorBody;
pub use upload::{UploadBeginRequest, UploadBeginResponse, UploadFile, UploadFinishRequest, UploadHash};
pub use version::{UserAgentError, Version};

/// The one version of this API: the value of the header `Elastic-Api-Version`.
pub const API_VERSION: &str = "2023-06-01";

/// The id of the `POLICY_CHANGE` action that carries a revision of a policy.
#[must_use]
pub fn policy_action_id(policy_id: &str, revision: u64) -> String {
    format!("policy:{policy_id}:{revision}")
}

/// Whether this is the id of a `POLICY_CHANGE` action, of whatever policy.
#[must_use]
pub fn is_policy_action(id: &str) -> bool {
    id.starts_with("policy:")
}

/// The revision of `policy_id` that the id of a `POLICY_CHANGE` action names; `None`: it names another policy,
/// or is no such id.
///
/// Agents before 8.15 were given a fourth part, the coordinator's index; it is ignored.
#[must_use]
pub fn policy_action_revision(id: &str, policy_id: &str) -> Option<u64> {
    let rest = id.strip_prefix("policy:")?.strip_prefix(policy_id)?.strip_prefix(':')?;
    let (revision, coordinator) = rest.split_once(':').unwrap_or((rest, "0"));
    coordinator.parse::<u64>().ok()?;
    revision.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_policy_actions_are_read_in_both_forms() {
        assert_eq!(policy_action_revision("policy:web:7", "web"), Some(7));
        assert_eq!(policy_action_revision("policy:web:7:1", "web"), Some(7));
        assert_eq!(policy_action_revision("policy:team:5:7", "team:5"), Some(7));
        for id in [
            "policy:",
            "policy:web",
            "policy:web:",
            "policy:web:x",
            "policy:web:-1",
            "policy:other:1",
            "web:1",
        ] {
            assert_eq!(policy_action_revision(id, "web"), None, "{id}");
        }
        assert_eq!(policy_action_revision(&policy_action_id("web#9.2", 3), "web#9.2"), Some(3));
    }
}
