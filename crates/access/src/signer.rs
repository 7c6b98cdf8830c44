//! The key that signs what agents must be able to trust: ECDSA with P-256 and SHA-256.
//!
//! It is made once in a store, lies there sealed, and all its servers sign with it. Agents know its public
//! half from their policy. It can be changed: then the key before stays beside it, until every agent knows the new
//! one. An agent believes a new key because what tells it of that is signed by the one that it knows.
//!
//! | module | what |
//! |---|---|
//! | [`keys`] | the keys of one moment, and what they sign |

pub mod keys;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use fleet_store::{Error as StoreError, Expect, LeaseId, Store, Typed, Versioned, WriteError};

use crate::create_once::{CreateError, create_once};
use crate::documents::{PreviousSigningKey, SIGNING_KEY, SIGNING_KEY_ID, SigningKeyDocument};
use crate::seal::{Keyring, OpenError, SealError};
use crate::timestamp::Timestamp;
pub use keys::SigningKeys;

/// A change is tried again so often when others change the key at the same moment.
const ATTEMPTS: usize = 5;
/// So many keys of before are known. Actions are over after a month at most: nobody changes the key more often.
const MOST_BEFORE: usize = 32;

/// Why there is no signer, or no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The store failed.
    #[error("the signing key cannot be read or written")]
    Store(#[source] StoreError),
    /// The store does not take it, or it is not known whether it did.
    #[error("the signing key cannot be changed")]
    Write(#[source] WriteError),
    /// Other servers change it without end, or the store loses every answer.
    #[error("the signing key changes at every look: try again")]
    Contended,
    /// It was changed not long ago, and there are agents that know the key before alone.
    #[error("the signing key was changed at {0}, and there are agents that do not have the new one yet")]
    Unfinished(Timestamp),
    /// The operating system gives no random bytes.
    #[error("no signature and no signing key can be made")]
    Random,
    /// A new key cannot be sealed.
    #[error("the new signing key cannot be sealed")]
    Seal(#[source] SealError),
    /// The stored key cannot be opened.
    #[error("the signing key cannot be opened")]
    Open(#[source] OpenError),
    /// The stored key is none.
    #[error("the stored signing key is damaged: restore it from a backup")]
    Damaged,
    /// There is none any more.
    #[error("the signing key is not in the store any more: restore it from a backup")]
    Gone,
}

/// Signs for agents. Clones share what they know.
#[derive(Clone)]
pub struct Signer {
    documents: Typed<SigningKeyDocument>,
    keyring: Keyring,
    known: Arc<RwLock<Arc<SigningKeys>>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

impl Signer {
    /// Opens the store's signing key, or makes it if the store has none.
    ///
    /// # Errors
    /// [`SignerError`].
    pub async fn open(store: Arc<dyn Store>, keyring: &Keyring) -> Result<Signer, SignerError> {
        let documents = Typed::new(store, &SIGNING_KEY);
        let made = create_once(&documents, SIGNING_KEY_ID, || keys::make(keyring, Timestamp::now())).await;
        made.map_err(|error| match error {
            CreateError::Store(source) => SignerError::Store(source),
            CreateError::Make(error) => error,
            CreateError::Contended => SignerError::Contended,
        })?;
        let found = read(&documents).await?;
        let keys = Arc::new(keys::open(&found, keyring).await?);
        Ok(Signer { documents, keyring: keyring.clone(), known: Arc::new(RwLock::new(keys)) })
    }

    /// The keys as they are known here.
    #[must_use]
    pub fn keys(&self) -> Arc<SigningKeys> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys as the store has them: another server may have changed them.
    ///
    /// # Errors
    /// [`SignerError`].
    pub async fn refresh(&self) -> Result<Arc<SigningKeys>, SignerError> {
        let found = read(&self.documents).await?;
        self.admit(&found).await
    }

    /// Makes a new key, which signs from now on. The one before stays until [`Signer::retire`]: it is an error if
    /// there still is one, unless `force` gives it up. Returns the keys before and now.
    ///
    /// # Errors
    /// [`SignerError`].
    pub async fn rotate(
        &self,
        force: bool,
        now: Timestamp,
    ) -> Result<(Arc<SigningKeys>, Arc<SigningKeys>), SignerError> {
        for _ in 0..ATTEMPTS {
            let found = read(&self.documents).await?;
            let before = self.admit(&found).await?;
            let old = &found.value;
            if old.previous.is_some() && !force {
                return Err(SignerError::Unfinished(old.created_at));
            }
            let mut known = vec![old.public_key.clone()];
            known.extend(old.before.iter().take(MOST_BEFORE - 1).cloned());
            let next = SigningKeyDocument {
                rotations: old.rotations + 1,
                previous: Some(PreviousSigningKey {
                    key: old.key.clone(),
                    public_key: old.public_key.clone(),
                    created_at: old.created_at,
                }),
                before: known,
                ..keys::make(&self.keyring, now)?
            };
            match self.write(&next, found.revision, None).await {
                Ok(()) => return Ok((before, self.refresh().await?)),
                Err(WriteError::Conflict { .. }) => {}
                // Who asks again after an answer that was lost would make one more key.
                Err(WriteError::Unknown(error)) => {
                    let there = self.refresh().await?;
                    if there.public_key() == next.public_key {
                        return Ok((before, there));
                    }
                    return Err(SignerError::Store(error));
                }
                Err(error) => return Err(SignerError::Write(error)),
            }
        }
        Err(SignerError::Contended)
    }

    /// Gives up the key before, if it is this one: every agent knows the new one. Written only while `lease` is held.
    ///
    /// # Errors
    /// See [`SignerError::Write`].
    pub async fn retire(&self, public_key: &str, lease: LeaseId) -> Result<(), SignerError> {
        let found = read(&self.documents).await?;
        if found.value.previous.as_ref().is_some_and(|previous| previous.public_key == public_key) {
            let next = SigningKeyDocument { previous: None, ..found.value };
            match self.write(&next, found.revision, Some(lease)).await {
                // Somebody else was faster.
                Ok(()) | Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(SignerError::Write(error)),
            }
        }
        self.refresh().await.map(drop)
    }

    async fn write(
        &self,
        document: &SigningKeyDocument,
        before: fleet_store::Revision,
        lease: Option<LeaseId>,
    ) -> Result<(), WriteError> {
        let written = self.documents.put(SIGNING_KEY_ID, document, Expect::Revision(before), None, lease);
        written.await.map(drop)
    }

    /// Takes over what was read, if it is newer than what is known.
    async fn admit(&self, found: &Versioned<SigningKeyDocument>) -> Result<Arc<SigningKeys>, SignerError> {
        let known = self.keys();
        if known.revision >= found.revision {
            return Ok(known);
        }
        let opened = Arc::new(keys::open(found, &self.keyring).await?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.revision < opened.revision {
            *known = opened;
        }
        Ok(Arc::clone(&known))
    }
}

async fn read(documents: &Typed<SigningKeyDocument>) -> Result<Versioned<SigningKeyDocument>, SignerError> {
    documents.get(SIGNING_KEY_ID).await.map_err(SignerError::Store)?.ok_or(SignerError::Gone)
}
