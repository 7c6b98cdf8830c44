//! What lifts the protection of a policy's agents.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_access::seal::{Context, Sealed};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::UNINSTALL_TOKENS;
use crate::timestamp::Timestamp;

/// The token by which the protected agents of a policy can be removed from their machines. Its document's id is
/// the policy's, so that a policy has one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UninstallToken {
    /// Its id.
    pub id: String,
    /// The policy.
    pub policy_id: String,
    /// The token, to be shown; see [`UninstallToken::context`].
    pub token: Sealed,
    /// What agents check it against; see [`UninstallToken::hash_of`].
    pub hash: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The spaces that it is seen in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

impl UninstallToken {
    /// What the sealed token of a policy is bound to.
    #[must_use]
    pub fn context(policy_id: &str) -> Context<'_> {
        Context::new(UNINSTALL_TOKENS.name, policy_id, "token")
    }

    /// What agents check a token against: base64 of its SHA-256.
    #[must_use]
    pub fn hash_of(token: &str) -> String {
        STANDARD.encode(digest(&SHA256, token.as_bytes()))
    }
}
