//! People's passwords.
//!
//! They are kept as argon2id hashes, which take tens of milliseconds and megabytes on purpose. So how many are
//! computed at a time is bounded, and what was verified is remembered for a short while: a script that sends
//! its password with each request pays once.

mod cache;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use fleet_service::config::value::Secret;
use serde::{Deserialize, Deserializer, Serialize};

use crate::random::{self, RandomError};
use crate::slow::{Busy, Workers};
use cache::Cache;

/// The longest password in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// A stored hash that asks for more memory than this (in KiB) or more passes is refused: whoever can write to
/// the store must not stop the server.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;

/// How passwords are hashed and remembered.
#[derive(Clone, Copy, Debug)]
pub struct PasswordOptions {
    /// Memory of one hash in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// How long a verified password is remembered.
    pub remember: Duration,
    /// How many verified passwords are remembered.
    pub remembered: NonZeroUsize,
}

impl Default for PasswordOptions {
    /// 7 MiB and five passes, which OWASP recommends for argon2id as being as strong as 19 MiB and two: what a hash
    /// has taken, the allocator keeps. A thousand are remembered for a minute.
    fn default() -> PasswordOptions {
        PasswordOptions {
            memory_kib: 7 * 1024,
            passes: 5,
            remember: Duration::from_secs(60),
            remembered: NonZeroUsize::new(1000).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Why a password was neither hashed nor verified.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Over the bound: answer 429.
    #[error("too many passwords are being verified: try again later")]
    Busy(#[source] Busy),
    /// The operating system gives no random bytes.
    #[error("no password can be made or hashed")]
    Random(#[source] RandomError),
    /// More than [`MAX_PASSWORD`] bytes, or none.
    #[error("a password has 1 to {MAX_PASSWORD} bytes")]
    Length,
    /// The options are out of bounds.
    #[error("passwords cannot be hashed with {memory_kib} KiB and {passes} passes")]
    Options {
        /// What was asked for.
        memory_kib: u32,
        /// What was asked for.
        passes: u32,
    },
    /// Hashing failed.
    #[error("the password cannot be hashed")]
    Hash(#[source] argon2::password_hash::Error),
}

/// A password's hash as it is stored: an argon2id PHC string.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

/// A text is no hash that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an argon2id hash within {MAX_MEMORY_KIB} KiB and {MAX_PASSES} passes")]
pub struct PasswordHashError;

impl PasswordHash {
    /// Reads a stored hash.
    ///
    /// # Errors
    /// It is of another kind, or asks for too much memory or too many passes.
    pub fn parse(text: &str) -> Result<PasswordHash, PasswordHashError> {
        let hash = Phc::new(text).map_err(|_| PasswordHashError)?;
        let params = Params::try_from(&hash).map_err(|_| PasswordHashError)?;
        let is_sound = hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
            && params.m_cost() <= MAX_MEMORY_KIB
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= 16
            && hash.salt.is_some()
            && hash.hash.is_some_and(|output| output.as_bytes().len() >= 16);
        if is_sound { Ok(PasswordHash(text.to_owned())) } else { Err(PasswordHashError) }
    }

    /// The stored text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(…)")
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PasswordHash, D::Error> {
        PasswordHash::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Hashes and verifies passwords within bounds. Clones share them.
#[derive(Clone, Debug)]
pub struct Passwords {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    params: Params,
    workers: Workers,
    cache: Cache,
    /// Verified against when there is no such user, so that this takes as long.
    nobody: PasswordHash,
}

impl Passwords {
    /// The workers bound all. Computes one hash, so it takes as long as that.
    ///
    /// # Errors
    /// Options out of bounds; no random bytes.
    pub fn new(options: PasswordOptions, workers: Workers) -> Result<Passwords, PasswordError> {
        let PasswordOptions { memory_kib, passes, remember, remembered } = options;
        let refused = PasswordError::Options { memory_kib, passes };
        if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES {
            return Err(refused);
        }
        let params = Params::new(memory_kib, passes, Params::DEFAULT_P_COST, None).map_err(|_| refused)?;
        let cache = Cache::new(remember, remembered).map_err(PasswordError::Random)?;
        let nobody = hash(&params, generate()?.reveal().as_bytes())?;
        Ok(Passwords { inner: Arc::new(Inner { params, workers, cache, nobody }) })
    }

    /// What to store of a password.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, password: &Secret) -> Result<PasswordHash, PasswordError> {
        check_length(password.reveal())?;
        let (password, params) = (password.clone(), self.inner.params.clone());
        let hashed = self.inner.workers.run(move || hash(&params, password.reveal().as_bytes()));
        hashed.await.map_err(PasswordError::Busy)?
    }

    /// Whether this is the user's password. `stored` is `None` where there is no such user: the answer is no,
    /// and takes as long as for one that exists.
    ///
    /// # Errors
    /// [`PasswordError::Busy`].
    pub async fn verify(
        &self,
        user: &str,
        password: &Secret,
        stored: Option<&PasswordHash>,
    ) -> Result<bool, PasswordError> {
        if check_length(password.reveal()).is_err() {
            return Ok(false);
        }
        let tag = stored.map(|stored| self.inner.cache.tag(user, password.reveal(), stored.as_str()));
        if tag.is_some_and(|tag| self.inner.cache.contains(&tag)) {
            return Ok(true);
        }
        let hash = stored.unwrap_or(&self.inner.nobody).clone();
        let password = password.clone();
        let verified = self.inner.workers.run(move || fits(&hash, password.reveal().as_bytes()));
        let is_right = verified.await.map_err(PasswordError::Busy)?;
        match tag {
            Some(tag) if is_right => {
                self.inner.cache.insert(tag);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// A random password of 98 bits that can be read out and typed: `xxxxx-xxxxx-xxxxx-xxxxx`, without the
/// letters and digits that look alike.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn generate() -> Result<Secret, PasswordError> {
    let letters = random::text(b"abcdefghjkmnpqrstuvwxyz23456789", 20).map_err(PasswordError::Random)?;
    let groups: Vec<&str> = (0..4).filter_map(|group| letters.get(5 * group..5 * group + 5)).collect();
    Ok(Secret::new(groups.join("-")))
}

fn check_length(password: &str) -> Result<(), PasswordError> {
    if (1..=MAX_PASSWORD).contains(&password.len()) { Ok(()) } else { Err(PasswordError::Length) }
}

fn hash(params: &Params, password: &[u8]) -> Result<PasswordHash, PasswordError> {
    let salt: [u8; 16] = random::bytes().map_err(PasswordError::Random)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let hash: Phc = argon2.hash_password_with_salt(password, &salt).map_err(PasswordError::Hash)?;
    Ok(PasswordHash(hash.to_string()))
}

fn fits(stored: &PasswordHash, password: &[u8]) -> bool {
    // The parameters are those of the stored hash, within the bounds that it was read with.
    Argon2::default().verify_password(password, stored.as_str()).is_ok()
}

#[cfg(test)]
mod tests;
