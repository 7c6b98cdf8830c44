//! The key that signs what agents must be able to trust: ECDSA with P-256 and SHA-256.
//!
//! It is made once in a store, lies there sealed, and all its servers sign with it. Agents know its public
//! half from their policy.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_store::{Error as StoreError, Store, Typed};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use crate::create_once::{CreateError, create_once};
use crate::documents::{SIGNING_KEY, SIGNING_KEY_ID, SigningKeyDocument};
use crate::seal::{Context, Keyring, OpenError, SealError};
use crate::timestamp::Timestamp;

/// A SubjectPublicKeyInfo of P-256 up to the 65 bytes of the uncompressed point (RFC 5480, 2).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why there is no signer, or no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The store failed.
    #[error("the signing key cannot be read or written")]
    Store(#[source] StoreError),
    /// Other servers change it without end, or the store loses every answer.
    #[error("the signing key changes at every look: try again")]
    Contended,
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
}

/// Signs for agents. Clones share the key.
#[derive(Clone)]
pub struct Signer {
    key: Arc<EcdsaKeyPair>,
    public_key: Arc<str>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

impl Signer {
    /// Opens the store's signing key, or makes it if the store has none.
    ///
    /// # Errors
    /// [`SignerError`].
    pub async fn open(store: Arc<dyn Store>, keyring: &Keyring) -> Result<Signer, SignerError> {
        let documents = Typed::new(store, &SIGNING_KEY);
        let made = create_once(&documents, SIGNING_KEY_ID, || make(keyring)).await;
        let document = made.map_err(|error| match error {
            CreateError::Store(source) => SignerError::Store(source),
            CreateError::Make(error) => error,
            CreateError::Contended => SignerError::Contended,
        })?;
        let pkcs8 = keyring.unseal_fresh(context(), &document.key).await.map_err(SignerError::Open)?;
        let key = parse(&pkcs8)?;
        let public_key = encode_public(&key).into();
        Ok(Signer { key: Arc::new(key), public_key })
    }

    /// Base64 of the signature in ASN.1 DER.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn sign(&self, data: &[u8]) -> Result<String, SignerError> {
        let signature = self.key.sign(&SystemRandom::new(), data).map_err(|_| SignerError::Random)?;
        Ok(STANDARD.encode(signature))
    }

    /// Base64 of the public key's SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }
}

fn make(keyring: &Keyring) -> Result<SigningKeyDocument, SignerError> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        .map_err(|_| SignerError::Random)?;
    let public_key = encode_public(&parse(pkcs8.as_ref())?);
    let key = keyring.seal(context(), pkcs8.as_ref()).map_err(SignerError::Seal)?;
    Ok(SigningKeyDocument { key, public_key, created_at: Timestamp::now() })
}

fn parse(pkcs8: &[u8]) -> Result<EcdsaKeyPair, SignerError> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new())
        .map_err(|_| SignerError::Damaged)
}

fn encode_public(key: &EcdsaKeyPair) -> String {
    STANDARD.encode([&SPKI_PREFIX, key.public_key().as_ref()].concat())
}

fn context() -> Context<'static> {
    Context::new(SIGNING_KEY.name, SIGNING_KEY_ID, "key")
}
