//! How a file of the state looks: a mark, a nonce, and the rest encrypted and authenticated (AES-256-GCM), bound to
//! the file's name so that one cannot stand in for another.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::key::StateKey;

/// The first bytes of each file. The digit is the format's version.
const MARK: &[u8] = b"fleet-agent state 1\n";

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It does not begin as such a file does.
    #[error("it is not a file of this agent, or of a newer version of it")]
    Foreign,
    /// It cannot be opened.
    #[error("it is damaged, or sealed with another key")]
    Unopened,
    /// It opened, and what is inside cannot be used.
    #[error("its content cannot be used")]
    Content,
    /// Nothing can be sealed.
    #[error("the system gives no random bytes")]
    Random,
}

impl StateKey {
    fn key(&self) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice())
            .map(LessSafeKey::new)
            .map_err(|_| SealError::Unopened)
    }

    pub(super) fn seal(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Random)?;
        let mut sealed = content.to_vec();
        let aad = Aad::from(name.as_bytes());
        self.key()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| SealError::Random)?;
        Ok([MARK, &nonce, &sealed].concat())
    }

    pub(super) fn open_sealed(&self, name: &str, file: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = file.strip_prefix(MARK).ok_or(SealError::Foreign)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Unopened)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Unopened)?;
        let mut content = sealed.to_vec();
        let length = self
            .key()?
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut content)
            .map_err(|_| SealError::Unopened)?
            .len();
        content.truncate(length);
        Ok(content)
    }
}
