//! The hash of a unit file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest, Sha1};

/// Bytes of a hash.
pub const LENGTH: usize = 20;

/// SHA-1 of a unit file's normal form. Two files with one hash are the same unit.
///
/// It tells versions apart; it is no protection against a person who wants two files to look the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitHash([u8; LENGTH]);

/// A text is not a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a unit's hash is 40 hexadecimal digits, not {0:?}")]
pub struct HashError(String);

impl UnitHash {
    /// The hash of a text, which is taken to be in normal form.
    #[must_use]
    pub fn of(normal_form: &str) -> UnitHash {
        UnitHash(Sha1::digest(normal_form.as_bytes()).into())
    }

    /// The first seven digits, as lists show them.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(7);
        text
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Display for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnitHash({self})")
    }
}

impl FromStr for UnitHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<UnitHash, HashError> {
        let wrong = || HashError(text.chars().take(2 * LENGTH + 1).collect());
        let digits = text.as_bytes();
        if digits.len() != 2 * LENGTH {
            return Err(wrong());
        }
        let mut bytes = [0; LENGTH];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or_else(wrong)?;
            let low = char::from(pair[1]).to_digit(16).ok_or_else(wrong)?;
            *byte = u8::try_from(high * 16 + low).map_err(|_| wrong())?;
        }
        Ok(UnitHash(bytes))
    }
}

impl Serialize for UnitHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UnitHash, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
