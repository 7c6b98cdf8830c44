//! `POST /api/fleet/agents/{id}/checkin`: what the server answers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The answer to a check-in.
#[derive(Debug, Serialize)]
pub struct CheckinResponse<'a> {
    /// `checkin`.
    pub action: &'static str,
    /// What the agent sends with its next check-in. Empty: it keeps the one that it has.
    pub ack_token: &'a str,
    /// What it is to do, in this order.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub actions: &'a [Action<'a>],
}

/// Something for an agent to do.
#[derive(Clone, Debug, Serialize)]
pub struct Action<'a> {
    /// The agent that it is for.
    pub agent_id: &'a str,
    /// When it was asked for, RFC 3339.
    pub created_at: &'a str,
    /// What its acknowledgement will name.
    pub id: &'a str,
    /// What to do.
    #[serde(rename = "type")]
    pub kind: ActionType,
    /// With what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    /// The kind of input that an `INPUT_ACTION` is for.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub input_type: &'a str,
    /// Not before, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<&'a str>,
    /// Not after, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<&'a str>,
    /// How long an `INPUT_ACTION` may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// The trace that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<&'a str>,
    /// Proof that it comes from whoever made the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<&'a Signed>,
}

/// Signed data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Base64 of what is signed.
    pub data: String,
    /// Base64 of its ECDSA P-256 signature over SHA-256, ASN.1 DER.
    pub signature: String,
}

macro_rules! action_types {
    ($($variant:ident $text:literal $delivered:literal $doc:literal,)*) => {
        /// What an action asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        pub enum ActionType {
            $(#[doc = $doc] $variant,)*
        }

        impl ActionType {
            /// All of them.
            pub const ALL: &'static [ActionType] = &[$(ActionType::$variant,)*];

            /// As it is written on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(ActionType::$variant => $text,)* }
            }

            /// Whether agents are told of it. The others only move what is stored.
            #[must_use]
            pub fn is_delivered(self) -> bool {
                match self { $(ActionType::$variant => $delivered,)* }
            }
        }
    };
}

action_types! {
    PolicyChange "POLICY_CHANGE" true "Run this policy. Made by the server, never stored.",
    PolicyReassign "POLICY_REASSIGN" true "It has another policy now, which follows by itself.",
    Upgrade "UPGRADE" true "Become another version.",
    Unenroll "UNENROLL" true "Stop what the policy asked for, and leave.",
    ForceUnenroll "FORCE_UNENROLL" false "Its keys are revoked; it is not asked.",
    UpdateTags "UPDATE_TAGS" false "Its tags are changed where they are stored.",
    Settings "SETTINGS" true "Log at another level.",
    RequestDiagnostics "REQUEST_DIAGNOSTICS" true "Upload a bundle of diagnostics.",
    InputAction "INPUT_ACTION" true "For one of its inputs, which knows what it means.",
    Cancel "CANCEL" true "Forget a scheduled action.",
    Migrate "MIGRATE" true "Enrol with another server.",
    PrivilegeLevelChange "PRIVILEGE_LEVEL_CHANGE" true "Run with more or fewer privileges.",
    Restart "RESTART" true "Start again.",
}

impl fmt::Display for ActionType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Not the type of an action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the type of an action: one of {list}", list = list())]
pub struct UnknownActionType(pub String);

fn list() -> String {
    let names: Vec<&str> = ActionType::ALL.iter().map(|kind| kind.as_str()).collect();
    names.join(", ")
}

impl FromStr for ActionType {
    type Err = UnknownActionType;

    fn from_str(text: &str) -> Result<ActionType, UnknownActionType> {
        let known = ActionType::ALL.iter().find(|kind| kind.as_str() == text);
        known.copied().ok_or_else(|| UnknownActionType(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_writes_types_as_their_names() {
        for kind in ActionType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
    }

    #[test]
    fn absent_fields_are_left_out() {
        let action = Action {
            agent_id: "a",
            created_at: "2026-01-01T00:00:00Z",
            id: "1",
            kind: ActionType::Unenroll,
            data: None,
            input_type: "",
            start_time: None,
            expiration: None,
            timeout: None,
            traceparent: None,
            signed: None,
        };
        let answer = CheckinResponse { action: "checkin", ack_token: "1", actions: &[action] };
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"action":"checkin","ack_token":"1","actions":[{"agent_id":"a","created_at":"2026-01-01T00:00:00Z","id":"1","type":"UNENROLL"}]}"#
        );
        let idle = CheckinResponse { action: "checkin", ack_token: "", actions: &[] };
        assert_eq!(serde_json::to_string(&idle).unwrap(), r#"{"action":"checkin","ack_token":""}"#);
    }
}
