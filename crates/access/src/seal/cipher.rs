//! AES-256-GCM with a random nonce in front of what it encrypts.
//!
//! Random nonces of 96 bits are safe for 2³² messages a key (NIST SP 800-38D, 8.3): more than a store of
//! documents holds.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random::{self, RandomError};

/// The length of a key in bytes.
pub(super) const KEY_LENGTH: usize = 32;

/// The longest secret in bytes: in base64 it fits into a document with room for the rest.
pub(super) const MAX_PLAIN: usize = 512 * 1024;

/// A key that is ready for use.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    /// With these bytes. `None` does not happen: the length is right by its type.
    pub(super) fn new(bytes: &[u8; KEY_LENGTH]) -> Option<Cipher> {
        UnboundKey::new(&AES_256_GCM, bytes).ok().map(|key| Cipher(LessSafeKey::new(key)))
    }

    /// Nonce, ciphertext and tag.
    pub(super) fn encrypt(&self, bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, RandomError> {
        let nonce: [u8; NONCE_LEN] = random::bytes()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let (_, text) = sealed.split_at_mut(NONCE_LEN);
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), text)
            .map_err(|_| RandomError)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// What was encrypted; `None` if it or what is bound to it is not what it was.
    pub(super) fn decrypt(&self, bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(bound), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}
