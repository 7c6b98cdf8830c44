//! What somebody may do.
//!
//! A *right* is what a route asks for; a *role* is a set of rights that a person is given; a *grant* gives a role
//! on one agent policy and its agents only.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// To be somebody. Everybody who has signed in has it.
    SignedIn,
    /// See agents, their actions, what they report and upload.
    ReadAgents,
    /// Change agents and ask them for actions.
    ControlAgents,
    /// See agent policies, their integrations and revisions.
    ReadPolicies,
    /// Change them.
    WritePolicies,
    /// See which packages there are.
    ReadPackages,
    /// Install, upload and remove packages.
    WritePackages,
    /// See outputs, hosts, proxies, download sources and settings.
    ReadSettings,
    /// Change them.
    WriteSettings,
    /// See enrolment keys, with their secrets.
    ReadEnrollmentKeys,
    /// Make and revoke them.
    WriteEnrollmentKeys,
    /// See the tokens by which an agent's protection is lifted.
    ReadUninstallTokens,
    /// Make and revoke what lets servers and people in: service tokens, users, everybody's API keys.
    ManageAccess,
    /// See who changed what.
    ReadAudit,
    /// See the server's own metrics.
    ReadServer,
}

impl Right {
    /// Every right there is.
    pub const ALL: [Right; 15] = [
        Right::SignedIn,
        Right::ReadAgents,
        Right::ControlAgents,
        Right::ReadPolicies,
        Right::WritePolicies,
        Right::ReadPackages,
        Right::WritePackages,
        Right::ReadSettings,
        Right::WriteSettings,
        Right::ReadEnrollmentKeys,
        Right::WriteEnrollmentKeys,
        Right::ReadUninstallTokens,
        Right::ManageAccess,
        Right::ReadAudit,
        Right::ReadServer,
    ];

    /// Whether it is about one policy or its agents, so that a grant can give it.
    #[must_use]
    pub fn is_scoped(self) -> bool {
        matches!(
            self,
            Right::ReadAgents
                | Right::ControlAgents
                | Right::ReadPolicies
                | Right::WritePolicies
                | Right::ReadEnrollmentKeys
                | Right::WriteEnrollmentKeys
        )
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Right::SignedIn => "signed-in",
            Right::ReadAgents => "read-agents",
            Right::ControlAgents => "control-agents",
            Right::ReadPolicies => "read-policies",
            Right::WritePolicies => "write-policies",
            Right::ReadPackages => "read-packages",
            Right::WritePackages => "write-packages",
            Right::ReadSettings => "read-settings",
            Right::WriteSettings => "write-settings",
            Right::ReadEnrollmentKeys => "read-enrollment-keys",
            Right::WriteEnrollmentKeys => "write-enrollment-keys",
            Right::ReadUninstallTokens => "read-uninstall-tokens",
            Right::ManageAccess => "manage-access",
            Right::ReadAudit => "read-audit",
            Right::ReadServer => "read-server",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A set of rights that a person is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Policies, integrations, agents and enrolment keys; neither settings nor people.
    Editor,
    /// Looks, and sees no secret.
    Viewer,
}

impl Role {
    /// Whether the role holds a right.
    #[must_use]
    pub fn allows(self, right: Right) -> bool {
        match right {
            Right::SignedIn
            | Right::ReadAgents
            | Right::ReadPolicies
            | Right::ReadPackages
            | Right::ReadSettings => true,
            Right::ControlAgents
            | Right::WritePolicies
            | Right::WritePackages
            | Right::ReadEnrollmentKeys
            | Right::WriteEnrollmentKeys => self != Role::Viewer,
            Right::WriteSettings
            | Right::ReadUninstallTokens
            | Right::ManageAccess
            | Right::ReadAudit
            | Right::ReadServer => self == Role::Admin,
        }
    }
}

/// A role on one agent policy and on its agents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// The agent policy.
    pub policy_id: String,
    /// What is given on it.
    pub role: Role,
}

/// How somebody has proven who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// By name and password with the request.
    Password,
    /// By a session: a browser sends it by itself, so that changes need more than it.
    Session,
    /// By an API key.
    ApiKey,
}

/// Somebody who asks.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The user's name.
    pub name: Arc<str>,
    /// How it was proven.
    pub proof: Proof,
    /// What they may do everywhere.
    pub roles: BTreeSet<Role>,
    /// What they may do on single policies.
    pub grants: BTreeSet<Grant>,
}

impl Principal {
    /// Whether they have a right everywhere.
    #[must_use]
    pub fn allows(&self, right: Right) -> bool {
        right == Right::SignedIn || self.roles.iter().any(|role| role.allows(right))
    }

    /// Whether they have a right on a policy and its agents.
    #[must_use]
    pub fn allows_on(&self, right: Right, policy_id: &str) -> bool {
        let is_granted = |grant: &Grant| grant.policy_id == policy_id && grant.role.allows(right);
        self.allows(right) || (right.is_scoped() && self.grants.iter().any(is_granted))
    }

    /// Whether they have a right on any policy at all. What they see must then be narrowed down.
    #[must_use]
    pub fn allows_somewhere(&self, right: Right) -> bool {
        self.allows(right) || (right.is_scoped() && self.grants.iter().any(|grant| grant.role.allows(right)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(roles: &[Role], grants: &[(&str, Role)]) -> Principal {
        let grants = grants.iter().map(|(id, role)| Grant { policy_id: (*id).to_owned(), role: *role });
        Principal {
            name: "ann".into(),
            proof: Proof::Password,
            roles: roles.iter().copied().collect(),
            grants: grants.collect(),
        }
    }

    #[test]
    fn a_larger_role_holds_what_a_smaller_one_holds() {
        for right in Right::ALL {
            assert!(Role::Admin.allows(right), "{right}");
            assert!(Role::Editor.allows(right) || !Role::Viewer.allows(right), "{right}");
        }
    }

    #[test]
    fn a_grant_holds_on_its_policy_alone_and_gives_nothing_that_is_for_all() {
        let ann = principal(&[], &[("web", Role::Admin)]);
        assert!(ann.allows_on(Right::WritePolicies, "web"));
        assert!(!ann.allows_on(Right::WritePolicies, "db"));
        assert!(!ann.allows(Right::WritePolicies));
        assert!(ann.allows_somewhere(Right::WritePolicies));
        assert!(!ann.allows_on(Right::ManageAccess, "web"));
        assert!(!ann.allows_somewhere(Right::WriteSettings));
        assert!(ann.allows(Right::SignedIn));
    }

    #[test]
    fn a_right_is_written_as_it_is_stored() {
        for right in Right::ALL {
            assert_eq!(serde_json::json!(right), serde_json::json!(right.as_str()));
        }
    }
}
