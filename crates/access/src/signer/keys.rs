//! The keys of one moment.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_store::{Revision, Versioned};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};

use super::SignerError;
use crate::documents::{SIGNING_KEY, SIGNING_KEY_ID, SigningKeyDocument};
use crate::seal::{Context, Keyring, Sealed};
use crate::timestamp::Timestamp;

/// A SubjectPublicKeyInfo of P-256 up to the 65 bytes of the uncompressed point (RFC 5480, 2).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key that signs.
struct OneKey {
    pair: EcdsaKeyPair,
    /// Base64 of the public key's SubjectPublicKeyInfo in DER.
    public_key: String,
    created_at: Timestamp,
}

/// The key that signs, and the one before while there are agents that know no other.
pub struct SigningKeys {
    /// Of the document.
    pub(super) revision: Revision,
    current: OneKey,
    previous: Option<OneKey>,
    before: Vec<String>,
    rotations: u64,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKeys")
            .field("public_key", &self.current.public_key)
            .field("previous", &self.previous_public_key())
            .finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// Base64 of the public key's SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.current.public_key
    }

    /// When the key was made.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.current.created_at
    }

    /// The same of the key before, if there still is one.
    #[must_use]
    pub fn previous_public_key(&self) -> Option<&str> {
        self.previous.as_ref().map(|previous| previous.public_key.as_str())
    }

    /// When the key before was made.
    #[must_use]
    pub fn previous_created_at(&self) -> Option<Timestamp> {
        self.previous.as_ref().map(|previous| previous.created_at)
    }

    /// How often the key was changed.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Whether one of them has this public key.
    #[must_use]
    pub fn has(&self, public_key: &str) -> bool {
        self.key(public_key).is_some()
    }

    /// Base64 of the signature in ASN.1 DER.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn sign(&self, data: &[u8]) -> Result<String, SignerError> {
        self.current.sign(data)
    }

    /// The same by the key before; `None`: there is none.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn sign_as_before(&self, data: &[u8]) -> Result<Option<String>, SignerError> {
        self.previous.as_ref().map(|previous| previous.sign(data)).transpose()
    }

    /// The signature for somebody who knows this public key alone; by the current key, if it is none of these.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn sign_for(&self, public_key: &str, data: &[u8]) -> Result<String, SignerError> {
        self.key(public_key).unwrap_or(&self.current).sign(data)
    }

    /// The public key that a signature is by: one of these, or of those before.
    #[must_use]
    pub fn signed_by(&self, data: &[u8], signature: &str) -> Option<&str> {
        let signature = STANDARD.decode(signature).ok()?;
        let known = std::iter::once(&self.current.public_key).chain(&self.before);
        known.map(String::as_str).find(|key| verifies(key, data, &signature))
    }

    fn key(&self, public_key: &str) -> Option<&OneKey> {
        std::iter::once(&self.current).chain(&self.previous).find(|key| key.public_key == public_key)
    }
}

impl OneKey {
    async fn open(
        key: &Sealed,
        public_key: &str,
        created_at: Timestamp,
        keyring: &Keyring,
    ) -> Result<OneKey, SignerError> {
        let pkcs8 = keyring.unseal_fresh(context(), key).await.map_err(SignerError::Open)?;
        Ok(OneKey { pair: parse(&pkcs8)?, public_key: public_key.to_owned(), created_at })
    }

    fn sign(&self, data: &[u8]) -> Result<String, SignerError> {
        let signature = self.pair.sign(&SystemRandom::new(), data).map_err(|_| SignerError::Random)?;
        Ok(STANDARD.encode(signature))
    }
}

/// Opens what lies in the store.
pub(super) async fn open(
    found: &Versioned<SigningKeyDocument>,
    keyring: &Keyring,
) -> Result<SigningKeys, SignerError> {
    let document = &found.value;
    let current = OneKey::open(&document.key, &document.public_key, document.created_at, keyring).await?;
    let previous = match &document.previous {
        Some(key) => Some(OneKey::open(&key.key, &key.public_key, key.created_at, keyring).await?),
        None => None,
    };
    Ok(SigningKeys {
        revision: found.revision,
        current,
        previous,
        before: document.before.clone(),
        rotations: document.rotations,
    })
}

/// A new key.
pub(super) fn make(keyring: &Keyring, now: Timestamp) -> Result<SigningKeyDocument, SignerError> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        .map_err(|_| SignerError::Random)?;
    let public = parse(pkcs8.as_ref())?;
    let public_key = STANDARD.encode([&SPKI_PREFIX, public.public_key().as_ref()].concat());
    let key = keyring.seal(context(), pkcs8.as_ref()).map_err(SignerError::Seal)?;
    let (previous, before) = (None, Vec::new());
    Ok(SigningKeyDocument { key, public_key, created_at: now, rotations: 0, previous, before })
}

fn parse(pkcs8: &[u8]) -> Result<EcdsaKeyPair, SignerError> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new())
        .map_err(|_| SignerError::Damaged)
}

fn verifies(public_key: &str, data: &[u8], signature: &[u8]) -> bool {
    let Ok(spki) = STANDARD.decode(public_key) else { return false };
    let Some(point) = spki.strip_prefix(&SPKI_PREFIX) else { return false };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(data, signature).is_ok()
}

fn context() -> Context<'static> {
    Context::new(SIGNING_KEY.name, SIGNING_KEY_ID, "key")
}
