//! People: who there is, and what they may do.
//!
//! What is known of them is remembered for [`REMEMBERED`]: what another server changes is seen here after that at
//! the latest. A sign-in by password asks the store.
//!
//! Somebody who can change everything is always left: whoever takes an administrator away does so alone among all
//! servers, under a lock on a lease, and looks first whether there is another one.

mod first;
mod rules;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_service::config::value::Secret;
use fleet_store::{
    Error as StoreError, Expect, LeaseId, ListRequest, Revision, Scope, Store, Typed, Versioned, WriteError,
};
use tracing::warn;

use crate::documents::{USERS, User};
use crate::lock::Lock;
use crate::password::{PasswordError, PasswordHash, Passwords};
use crate::random::{self, RandomError};
use crate::recent::Recent;
use crate::rights::{Grant, Role};
use crate::timestamp::Timestamp;

pub use first::ADMIN;
pub use rules::{
    GrantError, MAX_FULL_NAME, MAX_GRANTS, MAX_NAME, MIN_PASSWORD, NameError, WeakPassword, check_grants,
    check_name, check_password,
};

/// How long a user's document is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(5);
/// How many are.
const MOST_REMEMBERED: usize = 1000;
/// What is held while an administrator is taken away.
const ADMIN_LOCK: &str = "last-admin";
/// Documents that are read at a time.
const PAGE: usize = 500;
/// How often a change is tried when others change the same user.
const ATTEMPTS: usize = 4;

/// Somebody new.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// See [`check_name`].
    pub name: String,
    /// May be empty.
    pub full_name: String,
    /// See [`check_password`].
    pub password: Secret,
    /// What they may do everywhere.
    pub roles: BTreeSet<Role>,
    /// What they may do on single policies.
    pub grants: BTreeSet<Grant>,
}

/// What is to be another way with a user. What is absent stays.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Another full name.
    pub full_name: Option<String>,
    /// Another password: ends their sessions.
    pub password: Option<Secret>,
    /// Other roles: ends their sessions.
    pub roles: Option<BTreeSet<Role>>,
    /// Other grants: ends their sessions.
    pub grants: Option<BTreeSet<Grant>>,
    /// Whether they may sign in: `false` ends their sessions.
    pub enabled: Option<bool>,
}

/// Why nothing was done about a user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The name is none.
    #[error("{0}")]
    Name(NameError),
    /// The full name is longer than [`MAX_FULL_NAME`] or holds control characters.
    #[error("a full name has at most {MAX_FULL_NAME} bytes and no control characters")]
    FullName,
    /// The password is none.
    #[error("{0}")]
    Password(WeakPassword),
    /// The grants cannot be given.
    #[error("{0}")]
    Grants(GrantError),
    /// There is one of this name.
    #[error("there is a user {0:?} already")]
    Exists(String),
    /// There is none.
    #[error("there is no user {0:?}")]
    NotFound(String),
    /// Nobody would be left who can change everything.
    #[error("{0:?} is the last enabled administrator: make somebody else one first")]
    LastAdmin(String),
    /// Somebody else changed them.
    #[error("user {0:?} was changed by somebody else meanwhile: look again")]
    Changed(String),
    /// The password was not hashed, or not verified.
    #[error("the password cannot be hashed or checked")]
    Hash(#[source] PasswordError),
    /// No random bytes.
    #[error("no stamp can be made")]
    Random(#[source] RandomError),
    /// The store does not answer.
    #[error("users cannot be read")]
    Read(#[source] StoreError),
    /// The store does not take it.
    #[error("the user cannot be stored")]
    Write(#[source] WriteError),
}

/// Those who may sign in. Clones are the same.
#[derive(Clone, Debug)]
pub struct Users {
    documents: Typed<User>,
    passwords: Passwords,
    recent: Arc<Recent<User>>,
}

impl Users {
    /// Those in `store`; `passwords` checks who they are.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, passwords: Passwords) -> Users {
        let documents = Typed::new(Arc::clone(store), &USERS);
        Users { documents, passwords, recent: Arc::new(Recent::new(REMEMBERED, MOST_REMEMBERED)) }
    }

    /// Somebody, as they were [`REMEMBERED`] ago at the latest.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn known(&self, name: &str) -> Result<Option<Arc<User>>, StoreError> {
        let begun = match self.recent.get(name) {
            Ok(user) => return Ok(Some(user)),
            Err(begun) => begun,
        };
        let Some(found) = self.get(name).await? else { return Ok(None) };
        let user = Arc::new(found.value);
        self.recent.insert(begun, name, &user);
        Ok(Some(user))
    }

    /// Somebody, as they are now.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn get(&self, name: &str) -> Result<Option<Versioned<User>>, StoreError> {
        // What can be no name is not asked for: it may be no id of a document either.
        if check_name(name).is_err() {
            return Ok(None);
        }
        self.documents.get(name).await
    }

    /// Everybody, by their names. Those who cannot be read are left out, with a line in the log.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn list(&self) -> Result<Vec<Versioned<User>>, StoreError> {
        let mut users = Vec::new();
        let mut request = ListRequest { scope: Scope::All, limit: Some(PAGE), ..ListRequest::all() };
        loop {
            let (listing, next) = self.documents.page(request.clone()).await?;
            for malformed in &listing.malformed {
                let error = &malformed.error as &dyn std::error::Error;
                warn!(user = malformed.id, error, "a user's document cannot be read");
            }
            users.extend(listing.values);
            match next {
                Some(token) => request.page = Some(token),
                None => return Ok(users),
            }
        }
    }

    /// Whose name and password these are, if they may sign in. Takes as long where there is no such user.
    /// `is_fresh` asks the store; otherwise what is remembered is good enough.
    ///
    /// # Errors
    /// [`UserError::Read`], and [`UserError::Hash`] when too many passwords are being checked.
    pub async fn verify(
        &self,
        name: &str,
        password: &Secret,
        is_fresh: bool,
    ) -> Result<Option<Arc<User>>, UserError> {
        let user = match is_fresh {
            true => self.get(name).await.map_err(UserError::Read)?.map(|found| Arc::new(found.value)),
            false => self.known(name).await.map_err(UserError::Read)?,
        };
        let stored = user.as_ref().map(|user| &user.password);
        let is_right = self.passwords.verify(name, password, stored).await.map_err(UserError::Hash)?;
        Ok(user.filter(|user| is_right && user.enabled))
    }

    /// Somebody new.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn create(&self, new: NewUser, now: Timestamp) -> Result<Versioned<User>, UserError> {
        check_name(&new.name).map_err(UserError::Name)?;
        check_full_name(&new.full_name)?;
        check_grants(&new.grants).map_err(UserError::Grants)?;
        let user = User {
            password: self.hash(&new.name, &new.password).await?,
            name: new.name,
            full_name: new.full_name,
            roles: new.roles,
            grants: new.grants,
            enabled: true,
            stamp: stamp()?,
            created_at: now,
            updated_at: now,
        };
        match self.documents.put(&user.name, &user, Expect::Absent, None, None).await {
            Ok(revision) => Ok(Versioned { id: user.name.clone(), revision, value: user }),
            Err(WriteError::Conflict { .. }) => Err(UserError::Exists(user.name)),
            Err(error) => Err(UserError::Write(error)),
        }
    }

    /// Changes somebody; with `expected`, only if they are as they were at that revision.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn update(
        &self,
        name: &str,
        change: UserChange,
        expected: Option<Revision>,
        now: Timestamp,
    ) -> Result<Versioned<User>, UserError> {
        check_full_name(change.full_name.as_deref().unwrap_or_default())?;
        check_grants(change.grants.as_ref().unwrap_or(&BTreeSet::new())).map_err(UserError::Grants)?;
        let password = match &change.password {
            Some(password) => Some(self.hash(name, password).await?),
            None => None,
        };
        for _ in 0..ATTEMPTS {
            let found = self.find(name, expected).await?;
            let changed = changed(&found.value, &change, password.as_ref(), now)?;
            let takes_admin = found.value.is_working_admin() && !changed.is_working_admin();
            let put = async |lease| {
                let expect = Expect::Revision(found.revision);
                self.documents.put(name, &changed, expect, None, lease).await
            };
            let written = match takes_admin {
                true => self.without_last_admin(name, put).await?,
                false => put(None).await,
            };
            self.recent.forget(name);
            match written {
                Ok(revision) => return Ok(Versioned { id: found.id, revision, value: changed }),
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(UserError::Write(error)),
            }
        }
        Err(UserError::Changed(name.to_owned()))
    }

    /// Takes somebody away; with `expected`, only if they are as they were at that revision.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn delete(&self, name: &str, expected: Option<Revision>) -> Result<User, UserError> {
        for _ in 0..ATTEMPTS {
            let found = self.find(name, expected).await?;
            let delete =
                async |lease| self.documents.delete(name, Expect::Revision(found.revision), lease).await;
            let written = match found.value.is_working_admin() {
                true => self.without_last_admin(name, delete).await?,
                false => delete(None).await,
            };
            self.recent.forget(name);
            match written {
                Ok(_) => return Ok(found.value),
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(UserError::Write(error)),
            }
        }
        Err(UserError::Changed(name.to_owned()))
    }

    async fn find(&self, name: &str, expected: Option<Revision>) -> Result<Versioned<User>, UserError> {
        let found = self.get(name).await.map_err(UserError::Read)?;
        let found = found.ok_or_else(|| UserError::NotFound(name.to_owned()))?;
        if expected.is_some_and(|expected| expected != found.revision) {
            return Err(UserError::Changed(name.to_owned()));
        }
        Ok(found)
    }

    /// Does a write that takes the administrator `name` away, if there is another one.
    async fn without_last_admin(
        &self,
        name: &str,
        write: impl AsyncFnOnce(Option<LeaseId>) -> Result<Revision, WriteError>,
    ) -> Result<Result<Revision, WriteError>, UserError> {
        let lock = Lock::take(self.documents.store(), ADMIN_LOCK).await.map_err(UserError::Read)?;
        let outcome = match self.list().await {
            Ok(all) => {
                let is_other = |user: &Versioned<User>| user.id != name && user.value.is_working_admin();
                match all.iter().any(is_other) {
                    true => Ok(write(Some(lock.lease())).await),
                    false => Err(UserError::LastAdmin(name.to_owned())),
                }
            }
            Err(error) => Err(UserError::Read(error)),
        };
        lock.release().await;
        outcome
    }

    async fn hash(&self, name: &str, password: &Secret) -> Result<PasswordHash, UserError> {
        check_password(name, password.reveal()).map_err(UserError::Password)?;
        self.passwords.hash(password).await.map_err(UserError::Hash)
    }
}

/// The user with the change; with a new stamp where sessions are to end.
fn changed(
    user: &User,
    change: &UserChange,
    password: Option<&PasswordHash>,
    now: Timestamp,
) -> Result<User, UserError> {
    let mut changed = user.clone();
    if let Some(full_name) = &change.full_name {
        changed.full_name.clone_from(full_name);
    }
    if let Some(password) = password {
        changed.password = password.clone();
    }
    if let Some(roles) = &change.roles {
        changed.roles.clone_from(roles);
    }
    if let Some(grants) = &change.grants {
        changed.grants.clone_from(grants);
    }
    changed.enabled = change.enabled.unwrap_or(user.enabled);
    let ends_sessions = changed.password != user.password
        || changed.roles != user.roles
        || changed.grants != user.grants
        || !changed.enabled;
    if ends_sessions {
        changed.stamp = stamp()?;
    }
    changed.updated_at = now;
    Ok(changed)
}

fn check_full_name(full_name: &str) -> Result<(), UserError> {
    let is_fine = full_name.len() <= MAX_FULL_NAME && !full_name.contains(char::is_control);
    if is_fine { Ok(()) } else { Err(UserError::FullName) }
}

fn stamp() -> Result<String, UserError> {
    random::text(b"0123456789abcdefghijklmnopqrstuvwxyz", 22).map_err(UserError::Random)
}
