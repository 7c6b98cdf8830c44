//! Sign-ins: what a browser holds between one request and the next.
//!
//! They lie in the store, so that every server knows them, under the digest of their token: who can read the store
//! can be nobody by it. They are over after a time without use, after a longer time in any case, when somebody
//! signs out, and when the user's [stamp](crate::documents::User::stamp) changes.
//!
//! The token against forged requests (CSRF) is derived from the session's token: it is nowhere stored, and
//! whoever does not hold the session cannot make it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet_service::config::value::Secret;
use fleet_store::{
    Error as StoreError, Expect, ListRequest, Revision, Store, Typed, Versioned, Write, WriteError,
};
use ring::hmac;
use subtle::ConstantTimeEq;
use tracing::debug;

use crate::documents::{SIGN_INS, SessionDocument, User};
use crate::key::KeyDigest;
use crate::random::{self, RandomError};
use crate::rights::Role;
use crate::timestamp::Timestamp;

/// That a session is used is written this often: not with each request.
pub const RENEW_EVERY: Duration = Duration::from_secs(5 * 60);
/// The length of a token: 43 characters of 62 are 256 bits.
const TOKEN_LENGTH: usize = 43;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Documents that are read at a time.
const PAGE: usize = 500;

/// How long sessions last, and how many there are.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// A session that is not used for so long is over.
    pub idle: Duration,
    /// A session is over after this time, used or not.
    pub absolute: Duration,
    /// How many sessions one user has: the oldest gives way.
    pub most_per_user: usize,
}

impl Default for SessionOptions {
    /// Eight hours, a week, and fifty.
    fn default() -> SessionOptions {
        SessionOptions {
            idle: Duration::from_secs(8 * 3600),
            absolute: Duration::from_secs(7 * 24 * 3600),
            most_per_user: 50,
        }
    }
}

/// Who signs in.
#[derive(Clone, Debug)]
pub enum Whose<'a> {
    /// Somebody of the store.
    User(&'a User),
    /// Somebody whom an identity provider vouches for.
    Provided {
        /// The name; unlike those of the store's users, it holds a colon.
        name: &'a str,
        /// What the provider says they may do.
        roles: &'a BTreeSet<Role>,
    },
}

/// A session that has begun.
#[derive(Debug)]
pub struct NewSession {
    /// What the browser holds.
    pub token: Secret,
    /// What is stored of it.
    pub document: SessionDocument,
}

/// Why no session began.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No random bytes.
    #[error("no session can be made")]
    Random(#[source] RandomError),
    /// The store does not answer.
    #[error("sessions cannot be read")]
    Read(#[source] StoreError),
    /// The store does not take it.
    #[error("the session cannot be stored")]
    Write(#[source] WriteError),
}

/// The sessions of a store. Clones are the same.
#[derive(Clone, Debug)]
pub struct Sessions {
    documents: Typed<SessionDocument>,
    options: SessionOptions,
}

impl Sessions {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, options: SessionOptions) -> Sessions {
        Sessions { documents: Typed::new(Arc::clone(store), &SIGN_INS), options }
    }

    /// Begins one. Where the user has as many as may be, the oldest ends.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn create(
        &self,
        whose: Whose<'_>,
        remote: &str,
        now: Timestamp,
    ) -> Result<NewSession, SessionError> {
        let (user, stamp, roles) = match whose {
            Whose::User(user) => (user.name.as_str(), Some(user.stamp.clone()), BTreeSet::new()),
            Whose::Provided { name, roles } => (name, None, roles.clone()),
        };
        self.make_room(user, now).await?;
        let token = random::text(ALPHABET, TOKEN_LENGTH).map_err(SessionError::Random)?;
        let document = SessionDocument {
            user: user.to_owned(),
            stamp,
            roles,
            remote: remote.to_owned(),
            created_at: now,
            seen_at: now,
            expires_at: now + self.options.absolute,
        };
        let token = Secret::new(token);
        let id = id(token.reveal());
        let written = self.documents.put(&id, &document, Expect::Absent, None, None).await;
        written.map_err(SessionError::Write)?;
        Ok(NewSession { token, document })
    }

    /// The session with this token, if it is not over. It is used by that. Whether it [fits] its user is
    /// the caller's to see.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn find(&self, token: &str, now: Timestamp) -> Result<Option<SessionDocument>, StoreError> {
        if token.len() != TOKEN_LENGTH {
            return Ok(None);
        }
        let Some(found) = self.documents.get(&id(token)).await? else { return Ok(None) };
        if self.is_over(&found.value, now) {
            return Ok(None);
        }
        Ok(Some(self.renew(found, now).await))
    }

    async fn renew(&self, found: Versioned<SessionDocument>, now: Timestamp) -> SessionDocument {
        if found.value.seen_at.until(now) < RENEW_EVERY.min(self.options.idle / 2) {
            return found.value;
        }
        let renewed = SessionDocument { seen_at: now, ..found.value };
        let expect = Expect::Revision(found.revision);
        if let Err(error) = self.documents.put(&found.id, &renewed, expect, None, None).await {
            // Another request renews it, or the next one will: it is good either way.
            debug!(error = &error as &dyn std::error::Error, "a session is not renewed");
        }
        renewed
    }

    /// When it is over if it is not used.
    #[must_use]
    pub fn expiry(&self, session: &SessionDocument) -> Timestamp {
        session.expires_at.min(session.seen_at + self.options.idle)
    }

    fn is_over(&self, session: &SessionDocument, now: Timestamp) -> bool {
        self.expiry(session) <= now
    }

    /// Ends the session with this token. One that is over already is no error.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn end(&self, token: &str) -> Result<(), WriteError> {
        self.documents.delete(&id(token), Expect::Any, None).await.map(|_| ())
    }

    /// Ends all sessions of a user; returns how many there were.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn end_all_of(&self, user: &str) -> Result<usize, SessionError> {
        let sessions = self.of(user).await?;
        self.remove(sessions.iter().map(|session| session.id.clone()).collect()).await
    }

    /// Removes what is over; returns how many there were.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn remove_expired(&self, now: Timestamp) -> Result<usize, SessionError> {
        let mut removed = 0;
        let mut request = ListRequest { limit: Some(PAGE), ..ListRequest::all() };
        loop {
            let (listing, next) = self.documents.page(request.clone()).await.map_err(SessionError::Read)?;
            let mut over: Vec<(String, Revision)> = Vec::new();
            let ended = listing.values.iter().filter(|session| self.is_over(&session.value, now));
            over.extend(ended.map(|session| (session.id.clone(), session.revision)));
            over.extend(listing.malformed.iter().map(|session| (session.id.clone(), session.revision)));
            removed += over.len();
            // One that is renewed at this moment, by another server's clock, stays.
            let delete = |(id, revision)| Write::delete(id, Expect::Revision(revision));
            self.write(over.into_iter().map(delete).collect()).await?;
            match next {
                Some(token) => request.page = Some(token),
                None => return Ok(removed),
            }
        }
    }

    async fn of(&self, user: &str) -> Result<Vec<Versioned<SessionDocument>>, SessionError> {
        let request = ListRequest { filter: vec![("user", user.to_owned())], ..ListRequest::all() };
        let (listing, _) = self.documents.page(request).await.map_err(SessionError::Read)?;
        Ok(listing.values)
    }

    async fn make_room(&self, user: &str, now: Timestamp) -> Result<(), SessionError> {
        let mut sessions = self.of(user).await?;
        let most = self.options.most_per_user.max(1);
        if sessions.len() < most {
            return Ok(());
        }
        sessions.sort_by_key(|session| (!self.is_over(&session.value, now), session.value.created_at));
        let count = sessions.len() - most + 1;
        self.remove(sessions.into_iter().take(count).map(|session| session.id).collect()).await?;
        Ok(())
    }

    async fn remove(&self, ids: Vec<String>) -> Result<usize, SessionError> {
        let count = ids.len();
        self.write(ids.into_iter().map(|id| Write::delete(id, Expect::Any)).collect()).await?;
        Ok(count)
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), SessionError> {
        if writes.is_empty() {
            return Ok(());
        }
        for outcome in self.documents.write_many(writes, None).await {
            match outcome {
                Ok(_) | Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(SessionError::Write(error)),
            }
        }
        Ok(())
    }
}

/// Whether this is still the user that signed in: neither disabled nor changed since.
#[must_use]
pub fn fits(session: &SessionDocument, user: &User) -> bool {
    user.enabled && session.user == user.name && session.stamp.as_deref() == Some(user.stamp.as_str())
}

/// What a request that changes something must carry beside this session.
#[must_use]
pub fn csrf_token(token: &str) -> Secret {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    Secret::new(URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"fleet csrf 1").as_ref()))
}

/// Whether a request carries it. Takes the same time for every text.
#[must_use]
pub fn is_csrf_token(token: &str, carried: &str) -> bool {
    csrf_token(token).reveal().as_bytes().ct_eq(carried.as_bytes()).into()
}

/// What is known of a token in the store.
fn id(token: &str) -> String {
    KeyDigest::of(token).to_string()
}
