//! Keys with which scripts work in somebody's name.
//!
//! A key never does more than its owner may at that moment: what it was given is narrowed down to that at each
//! use. So whoever loses a role loses it for their keys too, and whoever is disabled or gone has none that work.
//! Owners whom an identity provider vouches for cannot be asked about: their keys have an end, within
//! [`LONGEST_UNWATCHED`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{
    Error as StoreError, Expect, ListRequest, Revision, Store, Typed, Versioned, Write, WriteError,
};
use tracing::warn;

use crate::documents::{API_KEYS, ApiKeyDocument};
use crate::key::{ApiKey, KeyDigest};
use crate::random::RandomError;
use crate::recent::Recent;
use crate::rights::{Grant, Principal, Proof, Right, Role};
use crate::timestamp::Timestamp;
use crate::users::{GrantError, REMEMBERED, Users, check_grants};

/// How many keys one user has.
pub const MOST_PER_USER: usize = 100;
/// The longest name of a key in bytes.
pub const MAX_NAME: usize = 256;
/// The longest life of a key whose owner is not a user of the store.
pub const LONGEST_UNWATCHED: Duration = Duration::from_secs(90 * 24 * 3600);
/// A key that is over is shown for so long, so that people see why their scripts fail.
const KEEP_EXPIRED: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many keys are remembered.
const MOST_REMEMBERED: usize = 1000;
/// Documents that are read at a time.
const PAGE: usize = 500;

/// A key that is to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What its owner calls it: 1 to [`MAX_NAME`] bytes.
    pub name: String,
    /// What it may do everywhere.
    pub roles: BTreeSet<Role>,
    /// What it may do on single policies.
    pub grants: BTreeSet<Grant>,
    /// From when on it is not accepted.
    pub expires_at: Option<Timestamp>,
}

/// Why no key was made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The name is none.
    #[error("a key's name has 1 to {MAX_NAME} bytes and no control characters")]
    Name,
    /// The grants cannot be given.
    #[error("{0}")]
    Grants(GrantError),
    /// The maker does not hold what the key is to do.
    #[error("you do not hold {0} yourself: a key cannot do more than the one who makes it")]
    Exceeds(String),
    /// It is over before it begins.
    #[error("expires_at has passed: choose a moment in the future")]
    Past,
    /// It would live on when nobody can say any more whether its owner is still there.
    #[error(
        "expires_at is needed, within {} days: an identity provider vouches for you, who does not say when that ends",
        LONGEST_UNWATCHED.as_secs() / 86400
    )]
    Unwatched,
    /// A key that makes keys would outlive itself.
    #[error("keys are made by people: sign in by name and password")]
    ByKey,
    /// The owner has [`MOST_PER_USER`].
    #[error("{0:?} has {MOST_PER_USER} keys: revoke one first")]
    TooMany(String),
    /// No random bytes.
    #[error("no key can be made")]
    Random(#[source] RandomError),
    /// The store does not answer.
    #[error("keys cannot be read")]
    Read(#[source] StoreError),
    /// The store does not take it.
    #[error("the key cannot be stored")]
    Write(#[source] WriteError),
}

/// Why a key is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefusal {
    /// There is no such key, or not any more; or its owner may not sign in.
    #[error("the API key is unknown or was revoked")]
    Unknown,
    /// Its time is over.
    #[error("the API key expired at {0}: make another one")]
    Expired(Timestamp),
    /// Whether it is good cannot be said.
    #[error("the API key cannot be looked up")]
    Read(#[source] StoreError),
}

/// The keys of a store. Clones are the same.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    documents: Typed<ApiKeyDocument>,
    users: Users,
    recent: Arc<Recent<ApiKeyDocument>>,
}

impl ApiKeys {
    /// Those in `store`, of these users.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, users: Users) -> ApiKeys {
        let documents = Typed::new(Arc::clone(store), &API_KEYS);
        ApiKeys { documents, users, recent: Arc::new(Recent::new(REMEMBERED, MOST_REMEMBERED)) }
    }

    /// A new key, which is told only here.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn create(
        &self,
        maker: &Principal,
        new: NewApiKey,
        now: Timestamp,
    ) -> Result<(ApiKey, ApiKeyDocument), ApiKeyError> {
        check(maker, &new, now)?;
        if self.list(Some(&maker.name)).await.map_err(ApiKeyError::Read)?.len() >= MOST_PER_USER {
            return Err(ApiKeyError::TooMany(maker.name.to_string()));
        }
        let key = ApiKey::generate().map_err(ApiKeyError::Random)?;
        let document = ApiKeyDocument {
            name: new.name,
            owner: maker.name.to_string(),
            digest: key.digest(),
            roles: new.roles,
            grants: new.grants,
            created_at: now,
            expires_at: new.expires_at,
        };
        let written = self.documents.put(key.id(), &document, Expect::Absent, None, None).await;
        written.map_err(ApiKeyError::Write)?;
        Ok((key, document))
    }

    /// Who asks with this key.
    ///
    /// # Errors
    /// [`KeyRefusal`].
    pub async fn verify(&self, key: &ApiKey, now: Timestamp) -> Result<Principal, KeyRefusal> {
        let document = self.known(key.id()).await.map_err(KeyRefusal::Read)?;
        let digest = document.as_ref().map_or_else(KeyDigest::default, |document| document.digest);
        let is_right = key.matches(&digest);
        let document = document.filter(|_| is_right).ok_or(KeyRefusal::Unknown)?;
        if let Some(end) = document.expires_at.filter(|end| *end <= now) {
            return Err(KeyRefusal::Expired(end));
        }
        if is_from_provider(&document.owner) {
            return Ok(principal(&document, document.roles.clone(), document.grants.clone()));
        }
        let owner = self.users.known(&document.owner).await.map_err(KeyRefusal::Read)?;
        // Somebody who came after the key is somebody else of the same name.
        let owner = owner.filter(|owner| owner.enabled && owner.created_at <= document.created_at);
        let owner = owner.ok_or(KeyRefusal::Unknown)?.principal(Proof::ApiKey);
        let roles = document.roles.iter().copied().filter(|role| covers(&owner, *role));
        let grants = document.grants.iter().filter(|grant| covers_on(&owner, grant)).cloned();
        Ok(principal(&document, roles.collect(), grants.collect()))
    }

    async fn known(&self, id: &str) -> Result<Option<Arc<ApiKeyDocument>>, StoreError> {
        let begun = match self.recent.get(id) {
            Ok(document) => return Ok(Some(document)),
            Err(begun) => begun,
        };
        let Some(found) = self.documents.get(id).await? else { return Ok(None) };
        let document = Arc::new(found.value);
        self.recent.insert(begun, id, &document);
        Ok(Some(document))
    }

    /// One of them.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn get(&self, id: &str) -> Result<Option<Versioned<ApiKeyDocument>>, StoreError> {
        self.documents.get(id).await
    }

    /// All of them, or those of one owner; newest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn list(&self, owner: Option<&str>) -> Result<Vec<Versioned<ApiKeyDocument>>, StoreError> {
        let filter = owner.map(|owner| ("owner", owner.to_owned())).into_iter().collect();
        let mut request = ListRequest { filter, limit: Some(PAGE), ..ListRequest::all() };
        let mut keys = Vec::new();
        loop {
            let (listing, next) = self.documents.page(request.clone()).await?;
            for malformed in &listing.malformed {
                let error = &malformed.error as &dyn std::error::Error;
                warn!(key = malformed.id, error, "the document of an API key cannot be read");
            }
            keys.extend(listing.values);
            match next {
                Some(token) => request.page = Some(token),
                None => break,
            }
        }
        keys.sort_by(|a, b| (b.value.created_at, &b.id).cmp(&(a.value.created_at, &a.id)));
        Ok(keys)
    }

    /// The key is good no more: here at once, elsewhere within [`REMEMBERED`].
    ///
    /// # Errors
    /// The store does not take it; [`WriteError::Conflict`]: it has changed since `revision`.
    pub async fn revoke(&self, id: &str, revision: Revision) -> Result<(), WriteError> {
        let written = self.documents.delete(id, Expect::Revision(revision), None).await;
        self.recent.forget(id);
        written.map(|_| ())
    }

    /// Revokes all keys of somebody who is gone; returns how many there were.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn revoke_all_of(&self, owner: &str) -> Result<usize, ApiKeyError> {
        let keys = self.list(Some(owner)).await.map_err(ApiKeyError::Read)?;
        self.remove(keys).await
    }

    /// Removes those that were over long ago; returns how many there were.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub async fn remove_expired(&self, now: Timestamp) -> Result<usize, ApiKeyError> {
        let mut keys = self.list(None).await.map_err(ApiKeyError::Read)?;
        keys.retain(|key| key.value.expires_at.is_some_and(|end| end + KEEP_EXPIRED <= now));
        self.remove(keys).await
    }

    async fn remove(&self, keys: Vec<Versioned<ApiKeyDocument>>) -> Result<usize, ApiKeyError> {
        let count = keys.len();
        let writes = keys.iter().map(|key| Write::delete(key.id.clone(), Expect::Any)).collect();
        let outcomes = if count > 0 { self.documents.write_many(writes, None).await } else { Vec::new() };
        for key in &keys {
            self.recent.forget(&key.id);
        }
        for outcome in outcomes {
            outcome.map_err(ApiKeyError::Write)?;
        }
        Ok(count)
    }
}

/// Whether this is the name of somebody whom an identity provider vouches for: names of the store's users hold no
/// colon.
#[must_use]
pub fn is_from_provider(name: &str) -> bool {
    name.contains(':')
}

fn principal(document: &ApiKeyDocument, roles: BTreeSet<Role>, grants: BTreeSet<Grant>) -> Principal {
    Principal { name: document.owner.as_str().into(), proof: Proof::ApiKey, roles, grants }
}

fn check(maker: &Principal, new: &NewApiKey, now: Timestamp) -> Result<(), ApiKeyError> {
    if maker.proof == Proof::ApiKey {
        return Err(ApiKeyError::ByKey);
    }
    if new.name.is_empty() || new.name.len() > MAX_NAME || new.name.contains(char::is_control) {
        return Err(ApiKeyError::Name);
    }
    check_grants(&new.grants).map_err(ApiKeyError::Grants)?;
    if let Some(role) = new.roles.iter().find(|role| !covers(maker, **role)) {
        return Err(ApiKeyError::Exceeds(format!("the role {}", name_of(*role))));
    }
    if let Some(grant) = new.grants.iter().find(|grant| !covers_on(maker, grant)) {
        let policy = &grant.policy_id;
        return Err(ApiKeyError::Exceeds(format!("the role {} on policy {policy}", name_of(grant.role))));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(ApiKeyError::Past);
    }
    let is_watched = !is_from_provider(&maker.name);
    if !is_watched && new.expires_at.is_none_or(|end| end > now + LONGEST_UNWATCHED) {
        return Err(ApiKeyError::Unwatched);
    }
    Ok(())
}

/// Whether somebody holds everything that a role holds.
fn covers(owner: &Principal, role: Role) -> bool {
    Right::ALL.iter().all(|right| owner.allows(*right) || !role.allows(*right))
}

/// Whether somebody holds everything that a grant gives.
fn covers_on(owner: &Principal, grant: &Grant) -> bool {
    let mut given = Right::ALL.iter().filter(|right| right.is_scoped() && grant.role.allows(**right));
    given.all(|right| owner.allows_on(*right, &grant.policy_id))
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Editor => "editor",
        Role::Viewer => "viewer",
    }
}
