//! The data keys of a store.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet_service::config::value::Secret;
use fleet_store::{Error as StoreError, Expect, Store, Typed, Versioned, WriteError};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::cipher::{Cipher, KEY_LENGTH, MAX_PLAIN};
use super::{Context, OpenError, SealError, Sealed};
use crate::create_once::{CreateError, create_once};
use crate::documents::{KEYRING, KEYRING_ID, KeyringDocument, WrappedKey};
use crate::master_key::MasterKey;
use crate::random::{self, RandomError};
use crate::timestamp::Timestamp;

/// How many data keys a keyring holds: one a week for twenty years.
const MAX_KEYS: usize = 1024;

/// How often a change of the keyring is tried when other servers change it at the same time.
const ATTEMPTS: usize = 8;

/// The keyring is read again for an unknown data key at most this often: a document that names a key which
/// never was must not make every look at it a question to the store.
const LEAST_REFRESH: Duration = Duration::from_secs(1);

/// Why there is no usable keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The store failed.
    #[error("the keyring cannot be read or written")]
    Store(#[source] StoreError),
    /// This server was given another master key than the store's first one.
    #[error(
        "the secrets in this store are encrypted with master key {wanted}, but this server was given master \
         key {given}: give it a copy of the master key of the other servers, or the one from your backup"
    )]
    MasterKeyDoesNotFit {
        /// The id of the key that fits.
        wanted: String,
        /// The id of the key that was given.
        given: String,
    },
    /// A data key is damaged.
    #[error("data key {key_id} in the keyring is damaged: restore the keyring from a backup")]
    Damaged {
        /// The data key.
        key_id: String,
    },
    /// Other servers change it without end, or the store loses every answer.
    #[error("the keyring changes at every look: try again")]
    Contended,
    /// There is no place for another data key.
    #[error("the keyring holds {MAX_KEYS} data keys: no more fit")]
    Full,
    /// There is no chance to make a key from.
    #[error("no data key can be made")]
    Random(#[source] RandomError),
}

impl From<CreateError<KeyringError>> for KeyringError {
    fn from(error: CreateError<KeyringError>) -> KeyringError {
        match error {
            CreateError::Store(source) => KeyringError::Store(source),
            CreateError::Make(error) => error,
            CreateError::Contended => KeyringError::Contended,
        }
    }
}

/// What can be opened and sealed with, as it was when the keyring was last read.
struct Unwrapped {
    current: String,
    ciphers: HashMap<String, Cipher>,
}

/// The data keys of a store, opened with its master key. Clones are the same keyring.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    documents: Typed<KeyringDocument>,
    master: ArcSwap<MasterKey>,
    keys: ArcSwap<Unwrapped>,
    refreshed: Mutex<Option<Instant>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.inner.keys.load();
        formatter
            .debug_struct("Keyring")
            .field("current", &keys.current)
            .field("keys", &keys.ciphers.len())
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Opens the store's keyring, or makes it if the store has none.
    ///
    /// # Errors
    /// [`KeyringError::MasterKeyDoesNotFit`] above all: the server must not start then.
    pub async fn open(store: Arc<dyn Store>, master: MasterKey) -> Result<Keyring, KeyringError> {
        let documents = Typed::new(store, &KEYRING);
        let document = create_once(&documents, KEYRING_ID, || first(&master)).await?;
        let keys = ArcSwap::from_pointee(unwrap_all(&document, &master)?);
        let master = ArcSwap::from_pointee(master);
        Ok(Keyring { inner: Arc::new(Inner { documents, master, keys, refreshed: Mutex::new(None) }) })
    }

    /// Seals a secret for one place.
    ///
    /// # Errors
    /// A secret of more than 512 KiB; no random bytes.
    pub fn seal(&self, context: Context<'_>, plain: &[u8]) -> Result<Sealed, SealError> {
        if plain.len() > MAX_PLAIN {
            return Err(SealError::TooLong { length: plain.len() });
        }
        let keys = self.inner.keys.load();
        // `unwrap_all` answers no keys without the current one.
        let cipher = keys.ciphers.get(&keys.current).ok_or(SealError::Random)?;
        let sealed = cipher.encrypt(&context.bytes(), plain).map_err(|_| SealError::Random)?;
        Ok(Sealed(format!("1.{}.{}", keys.current, URL_SAFE_NO_PAD.encode(sealed))))
    }

    /// Opens what was sealed for this place, with the data keys that this server knows.
    ///
    /// # Errors
    /// [`OpenError::UnknownKey`] may be mended by [`Keyring::refresh`]; the others cannot.
    pub fn unseal(&self, context: Context<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let place = || context.to_string();
        let (key_id, text) = sealed.parts().ok_or_else(|| OpenError::Malformed { context: place() })?;
        let text = URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::Malformed { context: place() })?;
        let keys = self.inner.keys.load();
        let cipher = keys
            .ciphers
            .get(key_id)
            .ok_or_else(|| OpenError::UnknownKey { context: place(), key_id: key_id.to_owned() })?;
        cipher.decrypt(&context.bytes(), &text).ok_or_else(|| OpenError::Broken { context: place() })
    }

    /// [`Keyring::unseal`] for a text.
    ///
    /// # Errors
    /// As there; [`OpenError::Malformed`] also if it is no text.
    pub fn unseal_text(&self, context: Context<'_>, sealed: &Sealed) -> Result<Secret, OpenError> {
        let plain = self.unseal(context, sealed)?;
        let text = std::str::from_utf8(&plain);
        text.map(Secret::new).map_err(|_| OpenError::Malformed { context: context.to_string() })
    }

    /// [`Keyring::unseal`], after a look whether another server has made a new data key if the secret's
    /// is not known. That look is taken once a second at most.
    ///
    /// # Errors
    /// As there. A store that does not answer is logged, and leaves [`OpenError::UnknownKey`].
    pub async fn unseal_fresh(
        &self,
        context: Context<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        match self.unseal(context, sealed) {
            Err(OpenError::UnknownKey { .. }) => {}
            other => return other,
        }
        let mut refreshed = self.inner.refreshed.lock().await;
        if refreshed.is_none_or(|last| last.elapsed() >= LEAST_REFRESH) {
            if let Err(error) = self.refresh().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "data keys not read again");
            }
            *refreshed = Some(Instant::now());
        }
        drop(refreshed);
        self.unseal(context, sealed)
    }

    /// Reads the keyring again, for data keys that other servers have made. Call it every minute or so.
    ///
    /// # Errors
    /// [`KeyringError`]; what was known stays in use.
    pub async fn refresh(&self) -> Result<(), KeyringError> {
        let document = self.read().await?.value;
        self.inner.keys.store(Arc::new(unwrap_all(&document, &self.inner.master.load())?));
        Ok(())
    }

    /// Makes a new data key, with which everything is sealed from now on (by other servers: from their next
    /// [`Keyring::refresh`] on). What older ones sealed stays readable. Answers the new key's id.
    ///
    /// # Errors
    /// [`KeyringError`]; after [`KeyringError::Store`] it may or may not be there, which does no harm.
    pub async fn rotate(&self) -> Result<String, KeyringError> {
        let master = self.inner.master.load_full();
        let key_id = new_key_id()?;
        let bytes = Zeroizing::new(random::bytes::<KEY_LENGTH>().map_err(KeyringError::Random)?);
        let wrapped = wrap(&master, &key_id, &bytes)?;
        self.change(|document| {
            check_fit(document, &master)?;
            if document.keys.len() >= MAX_KEYS {
                return Err(KeyringError::Full);
            }
            document.keys.insert(key_id.clone(), wrapped.clone());
            document.current.clone_from(&key_id);
            Ok(())
        })
        .await?;
        Ok(key_id)
    }

    /// Wraps all data keys with another master key. From now on servers need that one to start; those that
    /// run go on, but learn of no new data keys until they are started with it.
    ///
    /// # Errors
    /// [`KeyringError`]; after [`KeyringError::Store`] either of the two fits: keep both until it worked.
    pub async fn change_master_key(&self, new: MasterKey) -> Result<(), KeyringError> {
        let old = self.inner.master.load_full();
        let document = self
            .change(|document| {
                if document.master_key == new.id() {
                    return Ok(());
                }
                check_fit(document, &old)?;
                for (key_id, key) in &mut document.keys {
                    let bytes = unwrap(&old, key_id, key)?;
                    let created_at = key.created_at;
                    *key = WrappedKey { created_at, ..wrap(&new, key_id, &bytes)? };
                }
                document.master_key = new.id();
                Ok(())
            })
            .await?;
        self.inner.keys.store(Arc::new(unwrap_all(&document, &new)?));
        self.inner.master.store(Arc::new(new));
        Ok(())
    }

    async fn read(&self) -> Result<Versioned<KeyringDocument>, KeyringError> {
        let found = self.inner.documents.get(KEYRING_ID).await.map_err(KeyringError::Store)?;
        // It was there when this was opened, and nobody removes it.
        found.ok_or_else(|| KeyringError::Damaged { key_id: KEYRING_ID.to_owned() })
    }

    /// Changes the document by compare-and-swap. `change` may be called again on a later document, also on
    /// one that it has already changed: that is how a write looks whose answer was lost.
    async fn change(
        &self,
        change: impl Fn(&mut KeyringDocument) -> Result<(), KeyringError>,
    ) -> Result<KeyringDocument, KeyringError> {
        for _ in 0..ATTEMPTS {
            let Versioned { mut value, revision, .. } = self.read().await?;
            change(&mut value)?;
            let expect = Expect::Revision(revision);
            match self.inner.documents.put(KEYRING_ID, &value, expect, None, None).await {
                Ok(_) => {
                    if value.master_key == self.inner.master.load().id() {
                        self.refresh().await?;
                    }
                    return Ok(value);
                }
                Err(WriteError::NotDone(error)) => return Err(KeyringError::Store(error)),
                Err(WriteError::Conflict { .. } | WriteError::Unknown(_) | WriteError::LeaseLost) => {}
            }
        }
        Err(KeyringError::Contended)
    }
}

/// The keyring of a new store: one data key.
fn first(master: &MasterKey) -> Result<KeyringDocument, KeyringError> {
    let key_id = new_key_id()?;
    let bytes = Zeroizing::new(random::bytes::<KEY_LENGTH>().map_err(KeyringError::Random)?);
    let key = wrap(master, &key_id, &bytes)?;
    Ok(KeyringDocument { master_key: master.id(), current: key_id.clone(), keys: [(key_id, key)].into() })
}

fn new_key_id() -> Result<String, KeyringError> {
    random::text(b"0123456789abcdef", 16).map_err(KeyringError::Random)
}

fn check_fit(document: &KeyringDocument, master: &MasterKey) -> Result<(), KeyringError> {
    let given = master.id();
    if document.master_key == given {
        return Ok(());
    }
    Err(KeyringError::MasterKeyDoesNotFit { wanted: document.master_key.clone(), given })
}

fn unwrap_all(document: &KeyringDocument, master: &MasterKey) -> Result<Unwrapped, KeyringError> {
    check_fit(document, master)?;
    let mut ciphers = HashMap::with_capacity(document.keys.len());
    for (key_id, key) in &document.keys {
        let bytes = unwrap(master, key_id, key)?;
        let cipher = Cipher::new(&bytes).ok_or_else(|| damaged(key_id))?;
        ciphers.insert(key_id.clone(), cipher);
    }
    if !ciphers.contains_key(&document.current) {
        return Err(damaged(&document.current));
    }
    Ok(Unwrapped { current: document.current.clone(), ciphers })
}

fn wrap(master: &MasterKey, key_id: &str, bytes: &[u8; KEY_LENGTH]) -> Result<WrappedKey, KeyringError> {
    let cipher = Cipher::new(master.bytes()).ok_or_else(|| damaged(key_id))?;
    let wrapped = cipher.encrypt(&bound(key_id), bytes).map_err(KeyringError::Random)?;
    Ok(WrappedKey { wrapped: URL_SAFE_NO_PAD.encode(wrapped), created_at: Timestamp::now() })
}

fn unwrap(
    master: &MasterKey,
    key_id: &str,
    key: &WrappedKey,
) -> Result<Zeroizing<[u8; KEY_LENGTH]>, KeyringError> {
    let wrapped = URL_SAFE_NO_PAD.decode(&key.wrapped).map_err(|_| damaged(key_id))?;
    let bytes = Cipher::new(master.bytes())
        .and_then(|cipher| cipher.decrypt(&bound(key_id), &wrapped))
        .ok_or_else(|| damaged(key_id))?;
    let bytes = <[u8; KEY_LENGTH]>::try_from(bytes.as_slice()).map_err(|_| damaged(key_id))?;
    Ok(Zeroizing::new(bytes))
}

/// What a wrapped data key is bound to: its id, so that two cannot be swapped.
fn bound(key_id: &str) -> Vec<u8> {
    Context::new(KEYRING.name, key_id, "wrapped").bytes()
}

fn damaged(key_id: &str) -> KeyringError {
    KeyringError::Damaged { key_id: key_id.to_owned() }
}
