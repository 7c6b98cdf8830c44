//! Who asks.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_access::documents::{USERS, User};
use fleet_access::password::{PasswordError, Passwords};
use fleet_access::rights::{Principal, Proof, Role};
use fleet_service::config::value::Secret;
use fleet_store::{Error, Expect, Store, Typed, WriteError};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Management;
use super::error::ApiError;

/// The name of the first administrator.
pub const ADMIN: &str = "admin";

/// The cookie of a session.
pub(super) const COOKIE: &str = "fleet_session";

/// Those who may ask.
#[derive(Debug)]
pub struct Users {
    users: Typed<User>,
}

/// Why there is no administrator.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The store does not answer.
    #[error("look for the administrator {ADMIN}")]
    Read(#[source] Error),
    /// The password is not one.
    #[error("hash the password of the administrator {ADMIN}")]
    Hash(#[source] PasswordError),
    /// The store does not take it.
    #[error("store the administrator {ADMIN}")]
    Write(#[source] WriteError),
}

impl Users {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Users {
        Users { users: Typed::new(Arc::clone(store), &USERS) }
    }

    /// Makes the first administrator, if there is none. Returns the password if it was made up here: it is told
    /// once. A `given` password replaces the one that there is.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn ensure_admin(
        &self,
        passwords: &Passwords,
        given: Option<&Secret>,
    ) -> Result<Option<Secret>, AdminError> {
        let found = self.users.get(ADMIN).await.map_err(AdminError::Read)?;
        let made_up;
        let (password, is_made_up) = match (given, &found) {
            (Some(given), Some(found)) => {
                let is_same = passwords.verify(ADMIN, given, Some(&found.value.password)).await;
                if is_same.map_err(AdminError::Hash)? {
                    return Ok(None);
                }
                (given, false)
            }
            (Some(given), None) => (given, false),
            (None, Some(_)) => return Ok(None),
            (None, None) => {
                made_up = fleet_access::password::generate().map_err(AdminError::Hash)?;
                (&made_up, true)
            }
        };
        let user = User {
            name: ADMIN.to_owned(),
            password: passwords.hash(password).await.map_err(AdminError::Hash)?,
            roles: [Role::Admin].into(),
        };
        let expect = found.map_or(Expect::Absent, |found| Expect::Revision(found.revision));
        match self.users.put(ADMIN, &user, expect, None, None).await {
            Ok(_) => Ok(is_made_up.then(|| password.clone())),
            // Another server was faster, and tells its password.
            Err(WriteError::Conflict { .. }) => Ok(None),
            Err(error) => Err(AdminError::Write(error)),
        }
    }
}

/// Who asks. `changes`: whether the request could change something.
pub(super) async fn identify(
    management: &Management,
    headers: &HeaderMap,
    _changes: bool,
) -> Result<Principal, ApiError> {
    let (name, password) = basic(headers).ok_or(ApiError::Unauthorized)?;
    let user = management.users.users.get(&name).await?;
    let stored = user.as_ref().map(|user| &user.value.password);
    if !management.passwords.verify(&name, &password, stored).await? {
        return Err(ApiError::Unauthorized);
    }
    let roles = user.map(|user| user.value.roles).unwrap_or_default();
    Ok(Principal {
        name: Arc::from(name),
        proof: Proof::Password,
        roles,
        grants: std::collections::BTreeSet::new(),
    })
}

fn basic(headers: &HeaderMap) -> Option<(String, Secret)> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    (!name.is_empty() && name.len() <= 256).then(|| (name.to_owned(), Secret::new(password)))
}
