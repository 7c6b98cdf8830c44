//! The key that the state is sealed with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::atomic;

/// The name of the credential (`LoadCredential=`), and of the file where systemd gives none.
pub(super) const NAME: &str = "fleet-agent.key";
/// More than any key has, in bytes.
const LARGEST: u64 = 4096;
/// AES-256.
const BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("the key of the agent's state, {}, cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no key.
    #[error(
        "{} holds no key: it must be 32 bytes in base64 (head -c32 /dev/urandom | base64)", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// A new one cannot be written.
    #[error("a key for the agent's state cannot be written to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("no key can be made: the system gives no random bytes")]
    Random,
}

/// Seals and opens the state.
pub struct StateKey(pub(super) Zeroizing<[u8; BYTES]>);

impl std::fmt::Debug for StateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StateKey")
    }
}

impl StateKey {
    /// The key from systemd's credentials, if there is one, else from a file in `directory`, which is made if it is
    /// not there.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(directory: &Path, credentials: Option<&Path>) -> Result<StateKey, KeyError> {
        if let Some(credential) =
            credentials.map(|credentials| credentials.join(NAME)).filter(|path| path.exists())
        {
            return read(&credential);
        }
        let path = directory.join(NAME);
        if matches!(fs::exists(&path), Ok(false)) {
            return make(&path);
        }
        match read(&path) {
            Err(KeyError::Malformed { .. }) => {}
            Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::IsADirectory => {}
            other => return other,
        }
        // Without its key the state cannot be opened either: it is set aside file by file, and the agent goes on.
        let aside =
            path.with_file_name(format!("{NAME}.unusable-{}", OffsetDateTime::now_utc().unix_timestamp()));
        fs::rename(&path, &aside).map_err(|source| KeyError::Write { path: path.clone(), source })?;
        tracing::error!(file = %path.display(), kept = %aside.display(), "the key of the state is none, a new one is made");
        make(&path)
    }

    /// The key in a file of `directory`, if there is one.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Option<StateKey> {
        read(&directory.join(NAME)).ok()
    }
}

fn read(path: &Path) -> Result<StateKey, KeyError> {
    let text = atomic::read_kept(path, LARGEST).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge => {
            KeyError::Malformed { path: path.to_owned() }
        }
        _ => KeyError::Read { path: path.to_owned(), source },
    })?;
    let text = Zeroizing::new(text);
    let bytes = Zeroizing::new(STANDARD.decode(text.trim_ascii()).unwrap_or_default());
    let key = <[u8; BYTES]>::try_from(bytes.as_slice());
    key.map(|key| StateKey(Zeroizing::new(key))).map_err(|_| KeyError::Malformed { path: path.to_owned() })
}

fn make(path: &Path) -> Result<StateKey, KeyError> {
    let mut key = Zeroizing::new([0; BYTES]);
    SystemRandom::new().fill(key.as_mut_slice()).map_err(|_| KeyError::Random)?;
    let text = Zeroizing::new(STANDARD.encode(key.as_slice()));
    atomic::replace(path, text.as_bytes())
        .map_err(|source| KeyError::Write { path: path.to_owned(), source })?;
    Ok(StateKey(key))
}
