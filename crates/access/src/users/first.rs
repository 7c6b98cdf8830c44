//! The first administrator.

use fleet_service::config::value::Secret;
use fleet_store::{Expect, WriteError};

use super::{UserError, Users, stamp};
use crate::documents::User;
use crate::password;
use crate::rights::Role;
use crate::timestamp::Timestamp;

/// The name of the first administrator.
pub const ADMIN: &str = "admin";

impl Users {
    /// Makes the first administrator, if there is none. Returns the password if it was made up here: it is told
    /// once. A `given` password replaces the one that there is; it is the operator's choice, so that no rule
    /// but its length is asked of it.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn ensure_admin(
        &self,
        given: Option<&Secret>,
        now: Timestamp,
    ) -> Result<Option<Secret>, UserError> {
        let found = self.get(ADMIN).await.map_err(UserError::Read)?;
        let made_up;
        let (password, is_made_up) = match (given, &found) {
            (Some(given), Some(found)) => {
                let is_same = self.passwords.verify(ADMIN, given, Some(&found.value.password)).await;
                if is_same.map_err(UserError::Hash)? {
                    return Ok(None);
                }
                (given, false)
            }
            (Some(given), None) => (given, false),
            (None, Some(_)) => return Ok(None),
            (None, None) => {
                made_up = password::generate().map_err(UserError::Hash)?;
                (&made_up, true)
            }
        };
        let hash = self.passwords.hash(password).await.map_err(UserError::Hash)?;
        let expect = found.as_ref().map_or(Expect::Absent, |found| Expect::Revision(found.revision));
        let user = match found {
            Some(found) => User { password: hash, stamp: stamp()?, updated_at: now, ..found.value },
            None => User {
                name: ADMIN.to_owned(),
                full_name: String::new(),
                password: hash,
                roles: [Role::Admin].into(),
                grants: [].into(),
                enabled: true,
                stamp: stamp()?,
                created_at: now,
                updated_at: now,
            },
        };
        match self.documents.put(ADMIN, &user, expect, None, None).await {
            Ok(_) => {
                self.recent.forget(ADMIN);
                Ok(is_made_up.then(|| password.clone()))
            }
            // Another server was faster, and tells its password.
            Err(WriteError::Conflict { .. }) => Ok(None),
            Err(error) => Err(UserError::Write(error)),
        }
    }
}
