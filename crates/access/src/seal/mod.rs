//! Secrets at rest.
//!
//! A secret is encrypted with a *data key* (AES-256-GCM, a random nonce each), and what is stored, [`Sealed`],
//! names that key. Data keys lie in the store, in one document, each wrapped by the [master key] that every
//! server of the store is given. So a new data key takes effect without a stop, and what older ones sealed
//! stays readable.
//!
//! What is sealed is bound to its [`Context`]: moved into another document or field, it cannot be opened.
//!
//! [master key]: crate::master_key::MasterKey

mod cipher;
mod keyring;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use keyring::{Keyring, KeyringError};

/// Where a secret lies: part of what its encryption protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The collection of the document that holds it.
    pub collection: &'a str,
    /// The document's id.
    pub id: &'a str,
    /// The field in it.
    pub field: &'a str,
}

impl<'a> Context<'a> {
    /// This field of this document.
    #[must_use]
    pub fn new(collection: &'a str, id: &'a str, field: &'a str) -> Context<'a> {
        Context { collection, id, field }
    }

    /// The bytes that are bound: no two contexts have the same, because each part follows its length.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"fleet sealed 1".to_vec();
        for part in [self.collection, self.id, self.field] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

impl fmt::Display for Context<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{} ({})", self.collection, self.id, self.field)
    }
}

/// A secret as it is stored: `1.<data key>.<base64 of nonce, ciphertext and tag>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

impl Sealed {
    /// The text that is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the data key that opens it; `None` if the text is malformed.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.parts().map(|(key_id, _)| key_id)
    }

    fn parts(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix("1.")?.split_once('.')
    }
}

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no nonce.
    #[error("the operating system gives no random bytes")]
    Random,
    /// More than fits into a document.
    #[error("a secret of {length} bytes: at most {} are allowed", cipher::MAX_PLAIN)]
    TooLong {
        /// Its length.
        length: usize,
    },
}

/// Why a sealed secret was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not in the form of a sealed secret.
    #[error("{context} is no sealed secret")]
    Malformed {
        /// Where it lies.
        context: String,
    },
    /// This server does not know its data key, yet or any more.
    #[error("{context} is sealed with data key {key_id}, which is not in the keyring")]
    UnknownKey {
        /// Where it lies.
        context: String,
        /// The data key.
        key_id: String,
    },
    /// It was changed, or was sealed for another place.
    #[error("{context} does not open: it was changed, or sealed for another place")]
    Broken {
        /// Where it lies.
        context: String,
    },
}
