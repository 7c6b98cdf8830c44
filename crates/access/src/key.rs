//! API keys: an id that names one, and a secret that proves it.
//!
//! A key travels as base64 of `id:secret`, which is what follows `ApiKey` in an `Authorization` header. Its
//! secret is random and long, so one round of SHA-256 is all that its [`KeyDigest`] needs: there is nothing to
//! guess, and checking costs microseconds.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, general_purpose::URL_SAFE_NO_PAD};
use fleet_service::config::value::Secret;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

use crate::random::{self, RandomError};

/// The longest text that is looked at: ours have 60 characters, and those of others less than 100.
pub const MAX_TEXT: usize = 512;

/// Letters and digits alone: a key can be selected by a double click, and never looks like an option.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The length of an id and of a secret: 22 characters of 62 are 130 bits.
const PART_LENGTH: usize = 22;

/// Clients differ on whether they send padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key, as its holder has it.
#[derive(Clone)]
pub struct ApiKey {
    id: String,
    secret: Secret,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// More than [`MAX_TEXT`] characters.
    #[error("the key has more than {MAX_TEXT} characters: send base64 of \"id:secret\"")]
    TooLong,
    /// Not base64.
    #[error("the key is not base64: send base64 of \"id:secret\"")]
    NotBase64,
    /// Characters that are neither printable nor ASCII.
    #[error("the key holds other than printable ASCII characters")]
    NotPrintable,
    /// No colon.
    #[error("the key has no colon: send base64 of \"id:secret\"")]
    NoColon,
    /// Nothing in front of the colon.
    #[error("the key has no id in front of its colon")]
    NoId,
    /// Nothing behind the colon.
    #[error("the key has no secret behind its colon")]
    NoSecret,
}

impl ApiKey {
    /// A new key: id and secret have 130 random bits each.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn generate() -> Result<ApiKey, RandomError> {
        let id = random::text(ALPHABET, PART_LENGTH)?;
        let secret = Secret::new(random::text(ALPHABET, PART_LENGTH)?);
        Ok(ApiKey { id, secret })
    }

    /// Reads what follows `ApiKey` in an `Authorization` header: base64 of `id:secret`.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong; it never shows the text.
    pub fn parse(text: &str) -> Result<ApiKey, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        let pair = LENIENT.decode(text).map_err(|_| KeyError::NotBase64)?;
        let pair = std::str::from_utf8(&pair).map_err(|_| KeyError::NotPrintable)?;
        ApiKey::parse_pair(pair)
    }

    /// Reads `id:secret`.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong; it never shows the text.
    pub fn parse_pair(pair: &str) -> Result<ApiKey, KeyError> {
        if pair.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        if !pair.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::NotPrintable);
        }
        let (id, secret) = pair.split_once(':').ok_or(KeyError::NoColon)?;
        if id.is_empty() {
            return Err(KeyError::NoId);
        }
        if secret.is_empty() {
            return Err(KeyError::NoSecret);
        }
        Ok(ApiKey { id: id.to_owned(), secret: Secret::new(secret) })
    }

    /// The id: names the key, and is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What a server keeps of it.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.secret.reveal())
    }

    /// `id:secret`: the form in which an output of a policy carries a key.
    #[must_use]
    pub fn pair(&self) -> Secret {
        Secret::new(format!("{}:{}", self.id, self.secret.reveal()))
    }

    /// Base64 of `id:secret`: the form in which it travels in a header.
    #[must_use]
    pub fn encode(&self) -> Secret {
        Secret::new(STANDARD.encode(self.pair().reveal()))
    }

    /// Whether this is the key whose secret has that digest. Takes the same time for every secret.
    #[must_use]
    pub fn matches(&self, digest: &KeyDigest) -> bool {
        self.digest().0.ct_eq(&digest.0).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiKey").field("id", &self.id).field("secret", &self.secret).finish()
    }
}

/// The SHA-256 of a key's secret: what is kept of it. Written as base64 without padding, safe in addresses. The
/// default fits no secret.
#[derive(Clone, Copy, Default)]
pub struct KeyDigest([u8; SHA256_OUTPUT_LEN]);

impl KeyDigest {
    /// The digest of this secret.
    #[must_use]
    pub fn of(secret: &str) -> KeyDigest {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        KeyDigest(bytes)
    }
}

/// In constant time.
impl PartialEq for KeyDigest {
    fn eq(&self, other: &KeyDigest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyDigest(…)")
    }
}

/// A text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 bytes in base64 as a key's digest")]
pub struct DigestError;

impl fmt::Display for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl std::str::FromStr for KeyDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<KeyDigest, DigestError> {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        match URL_SAFE_NO_PAD.decode_slice(text.as_bytes(), &mut bytes) {
            Ok(SHA256_OUTPUT_LEN) => Ok(KeyDigest(bytes)),
            _ => Err(DigestError),
        }
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyDigest, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_made_is_read_again_and_fits_its_digest_alone() {
        let key = ApiKey::generate().unwrap();
        let read = ApiKey::parse(key.encode().reveal()).unwrap();
        assert_eq!(read.id(), key.id());
        assert_eq!(key.encode().reveal().len(), 60);
        assert!(read.matches(&key.digest()));
        assert!(!read.matches(&ApiKey::generate().unwrap().digest()));
        assert_eq!(ApiKey::parse_pair(key.pair().reveal()).unwrap().digest(), key.digest());
    }

    #[test]
    fn each_mistake_has_its_error() {
        let parse = |pair: &str| ApiKey::parse(&STANDARD.encode(pair)).unwrap_err();
        assert_eq!(parse("no colon"), KeyError::NotPrintable);
        assert_eq!(parse("nocolon"), KeyError::NoColon);
        assert_eq!(parse(":secret"), KeyError::NoId);
        assert_eq!(parse("id:"), KeyError::NoSecret);
        assert_eq!(parse("id:sécret"), KeyError::NotPrintable);
        assert_eq!(parse(&format!("id:{}", "x".repeat(MAX_TEXT))), KeyError::TooLong);
        assert_eq!(ApiKey::parse("a:b").unwrap_err(), KeyError::NotBase64);
        assert_eq!(ApiKey::parse("").unwrap_err(), KeyError::NoColon);
    }

    #[test]
    fn padding_may_be_there_or_not_and_a_secret_may_hold_a_colon() {
        // "a:b:c1" and "a:b:c" need no padding and one character of it.
        assert!(ApiKey::parse("YTpiOmM=").unwrap().matches(&KeyDigest::of("b:c")));
        assert!(ApiKey::parse("YTpiOmM").unwrap().matches(&KeyDigest::of("b:c")));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let key = ApiKey::parse_pair("name:hunter2hunter2").unwrap();
        let shown = format!("{key:?} {:?} {:?} {:?}", key.digest(), key.pair(), key.encode());
        assert!(shown.contains("name") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_digest_is_text_in_a_document() {
        // Of "abc", from FIPS 180-4.
        let text = r#""ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0""#;
        let digest = KeyDigest::of("abc");
        assert_eq!(serde_json::to_string(&digest).unwrap(), text);
        assert_eq!(serde_json::from_str::<KeyDigest>(text).unwrap(), digest);
        assert!(serde_json::from_str::<KeyDigest>(r#""ungWv48Bz""#).is_err());
        assert!(serde_json::from_str::<KeyDigest>(&text.replace("fI", "fIfI")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,600}") {
            let _ = ApiKey::parse(&text);
            if let Ok(key) = ApiKey::parse_pair(&text) {
                let pair = key.pair();
                prop_assert_eq!(pair.reveal(), text.as_str());
                let again = ApiKey::parse(key.encode().reveal());
                // What fits as a pair may be too long once it is base64.
                prop_assert!(again.is_ok() || text.len() > MAX_TEXT / 4 * 3);
            }
        }

        #[test]
        fn every_pair_survives_its_encoding(id in "[!-9;-~]{1,64}", secret in "[!-~]{1,64}") {
            let key = ApiKey::parse_pair(&format!("{id}:{secret}")).unwrap();
            let again = ApiKey::parse(key.encode().reveal()).unwrap();
            prop_assert_eq!(again.id(), &id);
            prop_assert!(again.matches(&KeyDigest::of(&secret)));
        }
    }
}
