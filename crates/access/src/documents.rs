//! What is kept in the store.
//!
//! | collection | id | what |
//! |---|---|---|
//! | `keyring` | [`KEYRING_ID`] | data keys, wrapped by the master key |
//! | `authority` | [`AUTHORITY_ID`] | the certificate authority, its key sealed |
//! | `signing-key` | [`SIGNING_KEY_ID`] | the key that signs for agents, sealed |
//! | `enrollment-keys` | the key's id | what lets agents enrol into a policy |
//! | `service-tokens` | the token's id | what lets servers work for this one |
//! | `users` | the user's name | people, their password hashes and roles |
//! | `api-keys` | the key's id | what lets scripts work in somebody's name |
//! | `sign-ins` | the digest of the session's token | who is signed in |
//! | `audit` | of its moment | who changed what |
//! | `access-locks` | what is locked | a server's word that it alone changes something, on a lease |
//!
//! Fields that a reader does not know are ignored, so that two versions can share a store.

mod people;

use std::collections::BTreeMap;

use fleet_store::Collection;
use serde::{Deserialize, Serialize};

use crate::key::KeyDigest;
use crate::seal::{Context, Sealed};
use crate::timestamp::Timestamp;

pub use people::{ApiKeyDocument, LockDocument, SessionDocument, User};

/// Data keys.
pub static KEYRING: Collection = Collection { name: "keyring", indexed: &[] };
/// The certificate authority.
pub static AUTHORITY: Collection = Collection { name: "authority", indexed: &[] };
/// The key that signs for agents.
pub static SIGNING_KEY: Collection = Collection { name: "signing-key", indexed: &[] };
/// What lets agents enrol.
pub static ENROLLMENT_KEYS: Collection = Collection { name: "enrollment-keys", indexed: &["policy_id"] };
/// What lets other servers in.
pub static SERVICE_TOKENS: Collection = Collection { name: "service-tokens", indexed: &["name"] };
/// People.
pub static USERS: Collection = Collection { name: "users", indexed: &[] };
/// What lets scripts work in somebody's name.
pub static API_KEYS: Collection = Collection { name: "api-keys", indexed: &["owner"] };
/// Who is signed in.
pub static SIGN_INS: Collection = Collection { name: "sign-ins", indexed: &["user"] };
/// Who changed what.
pub static AUDIT: Collection = Collection { name: "audit", indexed: &["kind", "object", "user"] };
/// What one server alone changes for a moment.
pub static LOCKS: Collection = Collection { name: "access-locks", indexed: &[] };

/// Id of the one document in [`KEYRING`].
pub const KEYRING_ID: &str = "all";
/// Id of the one document in [`AUTHORITY`].
pub const AUTHORITY_ID: &str = "ca";
/// Id of the one document in [`SIGNING_KEY`].
pub const SIGNING_KEY_ID: &str = "current";

/// All data keys in one document, so that the current one and the others change in one step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyringDocument {
    /// Id of the master key that wraps them.
    pub master_key: String,
    /// Id of the data key that seals.
    pub current: String,
    /// By their ids.
    pub keys: BTreeMap<String, WrappedKey>,
}

/// A data key, encrypted with the master key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WrappedKey {
    /// Base64 of nonce, ciphertext and tag.
    pub wrapped: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The certificate authority of a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorityDocument {
    /// Its certificate.
    pub certificate_pem: String,
    /// Its key: PKCS#8.
    pub key: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// The key that signs for agents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SigningKeyDocument {
    /// PKCS#8.
    pub key: Sealed,
    /// Base64 of the public key's SubjectPublicKeyInfo.
    pub public_key: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// How often it was changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rotations: u64,
    /// The key before, as long as there are agents that know no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSigningKey>,
    /// The public keys before, newest first: what was signed with them and is not delivered yet is signed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
}

/// A key that signed for agents until it was changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PreviousSigningKey {
    /// PKCS#8.
    pub key: Sealed,
    /// Base64 of the public key's SubjectPublicKeyInfo.
    pub public_key: String,
    /// When it was made.
    pub created_at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A key with which agents enrol into a policy. Its document's id is the key's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrollmentKey {
    /// The key's id, the part before its colon.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The policy that agents enrol into.
    pub policy_id: String,
    /// What its secret is checked against.
    pub digest: KeyDigest,
    /// The whole key, to be shown again; see [`EnrollmentKey::api_key_context`].
    pub api_key: Sealed,
    /// Not revoked.
    pub active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is not accepted any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<Timestamp>,
    /// How many agents may enrol with it; `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u64>,
    /// How many have; counted only where [`EnrollmentKey::max_uses`] is set.
    #[serde(default)]
    pub used: u64,
}

/// Why an enrolment key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrollmentKeyRefusal {
    /// It was revoked.
    #[error("the enrollment key is revoked")]
    Revoked,
    /// Its time is over.
    #[error("the enrollment key expired at {0}")]
    Expired(Timestamp),
    /// As many agents as it allows have enrolled.
    #[error("the enrollment key is used up: {0} agents have enrolled with it")]
    UsedUp(u64),
}

impl EnrollmentKey {
    /// What the sealed key of the document with this id is bound to.
    #[must_use]
    pub fn api_key_context(id: &str) -> Context<'_> {
        Context::new(ENROLLMENT_KEYS.name, id, "api_key")
    }

    /// Whether an agent may enrol with it now.
    ///
    /// # Errors
    /// [`EnrollmentKeyRefusal`] says why not.
    pub fn check(&self, now: Timestamp) -> Result<(), EnrollmentKeyRefusal> {
        if !self.active {
            return Err(EnrollmentKeyRefusal::Revoked);
        }
        if let Some(end) = self.expire_at.filter(|end| *end <= now) {
            return Err(EnrollmentKeyRefusal::Expired(end));
        }
        match self.max_uses {
            Some(most) if self.used >= most => Err(EnrollmentKeyRefusal::UsedUp(self.used)),
            _ => Ok(()),
        }
    }
}

/// A key with which another server works for this one. Its document's id is the key's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceToken {
    /// The server that it was made for.
    pub name: String,
    /// What its secret is checked against.
    pub digest: KeyDigest,
    /// When it was made.
    pub created_at: Timestamp,
    /// Not accepted any more.
    #[serde(default)]
    pub revoked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> EnrollmentKey {
        let text = r#"{"id":"a","name":"n","policy_id":"p","api_key":"1.k.x","active":true,
            "digest":"ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0","created_at":"2026-11-22T05:00:00Z"}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_key_is_accepted_until_it_is_revoked_expired_or_used_up() {
        let now: Timestamp = "2026-11-22T05:17:48Z".parse().unwrap();
        let later = now + std::time::Duration::from_secs(1);
        assert_eq!(key().check(now), Ok(()));
        assert_eq!(EnrollmentKey { active: false, ..key() }.check(now), Err(EnrollmentKeyRefusal::Revoked));
        let expiring = EnrollmentKey { expire_at: Some(later), ..key() };
        assert_eq!(expiring.check(now), Ok(()));
        assert_eq!(expiring.check(later), Err(EnrollmentKeyRefusal::Expired(later)));
        let counted = |used| EnrollmentKey { max_uses: Some(2), used, ..key() };
        assert_eq!(counted(1).check(now), Ok(()));
        assert_eq!(counted(2).check(now), Err(EnrollmentKeyRefusal::UsedUp(2)));
    }

    #[test]
    fn every_collection_is_one_that_a_store_takes() {
        let directory = tempfile::tempdir().unwrap();
        let store = fleet_store::embedded::Embedded::open(&directory.path().join("db")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let keys = [&KEYRING, &AUTHORITY, &SIGNING_KEY, &ENROLLMENT_KEYS, &SERVICE_TOKENS];
        let people = [&USERS, &API_KEYS, &SIGN_INS, &AUDIT, &LOCKS];
        for collection in keys.into_iter().chain(people) {
            let list = fleet_store::ListRequest::all();
            let page = runtime.block_on(fleet_store::Store::list(&store, collection, list)).unwrap();
            assert_eq!(page.documents, []);
        }
    }
}
