//! How a receiver knows that it was us: the scheme of Standard Webhooks (standard-webhooks.com, version 1).
//!
//! Three headers go with each delivery: `webhook-id`, `webhook-timestamp` (seconds since 1970, of the attempt) and
//! `webhook-signature`, which is `v1,` and the base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`. The key is what
//! stands behind `whsec_` in the secret, from base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret that is made here.
const LENGTH: usize = 32;
/// Bytes that a secret may have.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// What deliveries are signed with.
#[derive(Clone, Debug)]
pub struct SigningKey(hmac::Key);

/// The text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a webhook secret: whsec_ and the base64 of 24 to 64 random bytes, or leave it out to have one made"
)]
pub struct NoSecret;

/// There is no chance to be had from the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoChance;

/// A new secret.
///
/// # Errors
/// See [`NoChance`].
pub fn make_secret() -> Result<String, NoChance> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoChance)?;
    Ok(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

impl SigningKey {
    /// The key in a secret.
    ///
    /// # Errors
    /// See [`NoSecret`].
    pub fn parse(secret: &str) -> Result<SigningKey, NoSecret> {
        let bytes = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.filter(|bytes| LENGTHS.contains(&bytes.len())).ok_or(NoSecret)?;
        Ok(SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The value of `webhook-signature`. `timestamp`: seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_published_example() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_long_enough_and_differ() {
        let (one, other) = (make_secret().unwrap(), make_secret().unwrap());
        assert_ne!(one, other);
        assert!(SigningKey::parse(&one).is_ok());
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "hello", "whsec_***"] {
            assert!(SigningKey::parse(bad).is_err(), "{bad}");
        }
    }
}
