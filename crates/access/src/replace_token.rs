//! The token by which an agent takes over a record that exists: chosen by people, so kept as a slow hash.
//!
//! The stored form is `$pbkdf2-sha512$<iterations>$<salt>$<key>`, salt and key in base64 without padding: that
//! of the documented agent records, so that records of other servers can be verified too.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA512};
use serde::{Deserialize, Serialize};

use crate::random::{self, RandomError};
use crate::slow::{Busy, Workers};

/// More iterations than this in a stored hash are refused: they would take seconds.
const MAX_ITERATIONS: u32 = 10_000_000;

/// Longer salts and keys than this are refused.
const MAX_LENGTH: usize = 1024;

/// The longest token that is hashed.
const MAX_TOKEN: usize = 4096;

const PREFIX: &str = "$pbkdf2-sha512$";

/// How new tokens are hashed. `Default` gives 210 000 iterations, a key of 32 bytes, a salt of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    iterations: NonZeroU32,
    key_length: usize,
    salt_length: usize,
}

impl Default for Cost {
    fn default() -> Cost {
        Cost {
            iterations: NonZeroU32::new(210_000).unwrap_or(NonZeroU32::MIN),
            key_length: 32,
            salt_length: 64,
        }
    }
}

/// A cost is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {given}: it must be from {least} to {most}")]
pub struct CostError {
    /// `iterations`, `key_length` or `salt_length`.
    pub field: &'static str,
    /// What was given.
    pub given: u64,
    /// The least allowed.
    pub least: u64,
    /// The most allowed.
    pub most: u64,
}

impl Cost {
    /// At least 1000 iterations, 14 bytes of key and 16 of salt.
    ///
    /// # Errors
    /// [`CostError`] names the first field that is out of bounds.
    pub fn new(iterations: u32, key_length: usize, salt_length: usize) -> Result<Cost, CostError> {
        let check = |field, given: u64, least: u64, most: u64| {
            if (least..=most).contains(&given) {
                Ok(())
            } else {
                Err(CostError { field, given, least, most })
            }
        };
        check("iterations", iterations.into(), 1000, MAX_ITERATIONS.into())?;
        check("key_length", key_length as u64, 14, MAX_LENGTH as u64)?;
        check("salt_length", salt_length as u64, 16, MAX_LENGTH as u64)?;
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        Ok(Cost { iterations, key_length, salt_length })
    }
}

/// Why a token was neither hashed nor verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceTokenError {
    /// Over the bound: answer 429.
    #[error("too many replace tokens are being verified: try again later")]
    Busy(#[source] Busy),
    /// No salt.
    #[error("a replace token cannot be hashed")]
    Random(#[source] RandomError),
    /// The stored hash is malformed.
    #[error("the stored hash of a replace token is malformed")]
    Malformed,
    /// The token is longer than any of ours.
    #[error("the replace token has more than {MAX_TOKEN} bytes")]
    TooLong,
}

/// A token's hash as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplaceTokenHash(String);

impl ReplaceTokenHash {
    /// From a stored text; it is checked when a token is verified against it.
    pub fn new(text: impl Into<String>) -> ReplaceTokenHash {
        ReplaceTokenHash(text.into())
    }

    /// The stored text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ReplaceTokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReplaceTokenHash(…)")
    }
}

/// Hashes and verifies tokens within bounds. Clones share them.
#[derive(Clone, Debug)]
pub struct ReplaceTokens {
    cost: Cost,
    workers: Workers,
}

impl ReplaceTokens {
    /// New tokens cost this; the workers bound all.
    #[must_use]
    pub fn new(cost: Cost, workers: Workers) -> ReplaceTokens {
        ReplaceTokens { cost, workers }
    }

    /// What to store of a token.
    ///
    /// # Errors
    /// [`ReplaceTokenError`].
    pub async fn hash(&self, token: &str) -> Result<ReplaceTokenHash, ReplaceTokenError> {
        let token = owned(token)?;
        let cost = self.cost;
        self.workers.run(move || hash(cost, &token)).await.map_err(ReplaceTokenError::Busy)?
    }

    /// Whether this is the token that was hashed.
    ///
    /// # Errors
    /// [`ReplaceTokenError`].
    pub async fn verify(&self, token: &str, stored: &ReplaceTokenHash) -> Result<bool, ReplaceTokenError> {
        let token = owned(token)?;
        let stored = Parts::parse(&stored.0).ok_or(ReplaceTokenError::Malformed)?;
        self.workers.run(move || stored.verify(&token)).await.map_err(ReplaceTokenError::Busy)
    }
}

fn owned(token: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, ReplaceTokenError> {
    if token.len() > MAX_TOKEN {
        return Err(ReplaceTokenError::TooLong);
    }
    Ok(zeroize::Zeroizing::new(token.as_bytes().to_vec()))
}

fn hash(cost: Cost, token: &[u8]) -> Result<ReplaceTokenHash, ReplaceTokenError> {
    let mut salt = vec![0; cost.salt_length];
    random::fill(&mut salt).map_err(ReplaceTokenError::Random)?;
    let mut key = vec![0; cost.key_length];
    pbkdf2::derive(PBKDF2_HMAC_SHA512, cost.iterations, &salt, token, &mut key);
    Ok(ReplaceTokenHash(Parts { iterations: cost.iterations, salt, key }.to_string()))
}

/// What a stored hash consists of.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    key: Vec<u8>,
}

impl Parts {
    fn parse(text: &str) -> Option<Parts> {
        let mut fields = text.strip_prefix(PREFIX)?.split('$');
        let (iterations, salt, key) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() || text.len() > 4 * MAX_LENGTH {
            return None;
        }
        let iterations: NonZeroU32 = iterations.parse().ok()?;
        let (salt, key) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(key).ok()?);
        // A key of no bytes would fit every token.
        let is_sound = iterations.get() <= MAX_ITERATIONS
            && (1..=MAX_LENGTH).contains(&salt.len())
            && (14..=MAX_LENGTH).contains(&key.len());
        is_sound.then_some(Parts { iterations, salt, key })
    }

    fn verify(&self, token: &[u8]) -> bool {
        pbkdf2::verify(PBKDF2_HMAC_SHA512, self.iterations, &self.salt, token, &self.key).is_ok()
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, key) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(&self.key));
        write!(formatter, "{PREFIX}{}${salt}${key}", self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens() -> ReplaceTokens {
        ReplaceTokens::new(Cost::new(1000, 14, 16).unwrap(), Workers::new(1, 8))
    }

    #[tokio::test]
    async fn only_the_token_that_was_hashed_fits() {
        let tokens = tokens();
        let stored = tokens.hash("a token").await.unwrap();
        assert_ne!(stored, tokens.hash("a token").await.unwrap());
        assert_eq!(tokens.verify("a token", &stored).await, Ok(true));
        assert_eq!(tokens.verify("another", &stored).await, Ok(false));
        assert!(stored.as_str().starts_with("$pbkdf2-sha512$1000$"));
    }

    #[tokio::test]
    async fn a_hash_that_was_made_elsewhere_is_verified() {
        // Python: base64 of hashlib.pbkdf2_hmac("sha512", b"password", b"saltSALTsaltSALT", 2000, 32).
        let stored = ReplaceTokenHash::new(ELSEWHERE);
        assert_eq!(tokens().verify("password", &stored).await, Ok(true));
        assert_eq!(tokens().verify("passwore", &stored).await, Ok(false));
    }

    const ELSEWHERE: &str =
        "$pbkdf2-sha512$2000$c2FsdFNBTFRzYWx0U0FMVA$9lTukxjioOwA+e9WpK6fn98+2nv0tO+i4ezE/46fV/U";

    #[tokio::test]
    async fn what_is_malformed_or_too_costly_is_refused() {
        let key = STANDARD_NO_PAD.encode([7; 32]);
        let long = STANDARD_NO_PAD.encode([7; 1025]);
        for text in [
            String::new(),
            format!("$pbkdf2-sha512$0$c2FsdA${key}"),
            format!("$pbkdf2-sha512$10000001$c2FsdA${key}"),
            "$pbkdf2-sha512$1000$c2FsdA$".to_owned(),
            "$pbkdf2-sha512$1000$c2FsdA$AAAA".to_owned(),
            format!("$pbkdf2-sha512$1000$$ {key}"),
            format!("$pbkdf2-sha512$1000$c2FsdA${long}"),
            format!("$pbkdf2-sha512$1000$c2FsdA${key}$"),
            format!("$pbkdf2-sha256$1000$c2FsdA${key}"),
        ] {
            let verified = tokens().verify("x", &ReplaceTokenHash::new(text.clone())).await;
            assert_eq!(verified, Err(ReplaceTokenError::Malformed), "{text}");
        }
        let long = "x".repeat(MAX_TOKEN + 1);
        assert_eq!(tokens().hash(&long).await, Err(ReplaceTokenError::TooLong));
    }

    #[test]
    fn costs_have_bounds() {
        assert_eq!(Cost::new(210_000, 32, 64), Ok(Cost::default()));
        let field = |cost: Result<Cost, CostError>| cost.unwrap_err().field;
        assert_eq!(field(Cost::new(999, 32, 64)), "iterations");
        assert_eq!(field(Cost::new(1000, 13, 64)), "key_length");
        assert_eq!(field(Cost::new(1000, 14, 15)), "salt_length");
        let error = Cost::new(1000, 13, 16).unwrap_err().to_string();
        assert_eq!(error, "key_length is 13: it must be from 14 to 1024");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r"(\$pbkdf2-sha512\$)?[0-9a-zA-Z+/$]{0,80}") {
            if let Some(parts) = Parts::parse(&text) {
                prop_assert_eq!(Parts::parse(&parts.to_string()), Some(parts));
            }
        }
    }
}
