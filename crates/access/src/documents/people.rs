//! Documents about people and what they may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::key::KeyDigest;
use crate::password::PasswordHash;
use crate::rights::{Grant, Principal, Proof, Role};
use crate::timestamp::Timestamp;

/// Somebody who may sign in. The document's id is the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name by which they sign in.
    pub name: String,
    /// The name by which people know them; may be empty.
    #[serde(default)]
    pub full_name: String,
    /// What the password is checked against.
    pub password: PasswordHash,
    /// What the user may do everywhere.
    pub roles: BTreeSet<Role>,
    /// What the user may do on single policies.
    #[serde(default)]
    pub grants: BTreeSet<Grant>,
    /// Whether they may sign in, by whatever means.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// A random text, another one whenever password or rights change: sessions hold the one that they began
    /// with, so that those which are older than the change are over in the same write as it.
    #[serde(default)]
    pub stamp: String,
    /// When they came.
    #[serde(default)]
    pub created_at: Timestamp,
    /// When anything of this changed last.
    #[serde(default)]
    pub updated_at: Timestamp,
}

fn yes() -> bool {
    true
}

impl User {
    /// Whether this is somebody who can change everything.
    #[must_use]
    pub fn is_working_admin(&self) -> bool {
        self.enabled && self.roles.contains(&Role::Admin)
    }

    /// Who asks, when this user has proven to be the one.
    #[must_use]
    pub fn principal(&self, proof: Proof) -> Principal {
        Principal {
            name: self.name.as_str().into(),
            proof,
            roles: self.roles.clone(),
            grants: self.grants.clone(),
        }
    }
}

/// A key with which a script works in its owner's name. The document's id is the key's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyDocument {
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// What its secret is checked against.
    pub digest: KeyDigest,
    /// What it may do everywhere, as far as its owner may.
    pub roles: BTreeSet<Role>,
    /// What it may do on single policies, as far as its owner may.
    #[serde(default)]
    pub grants: BTreeSet<Grant>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is not accepted; absent: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Somebody's sign-in. The document's id is the digest of its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDocument {
    /// Who signed in.
    pub user: String,
    /// The user's [`User::stamp`] at that time. Absent for people whom an identity provider vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
    /// What the identity provider says they may do. Empty for users of the store, whose own document says it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Role>,
    /// From where.
    pub remote: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was used last, give or take [`RENEW_EVERY`](crate::sessions::RENEW_EVERY).
    pub seen_at: Timestamp,
    /// When it is over even if it is used.
    pub expires_at: Timestamp,
}

/// A server's word that it alone changes something now. Lives on a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LockDocument {
    /// When it was taken.
    pub taken_at: Timestamp,
}
