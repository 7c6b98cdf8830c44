//! The files of the state.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::atomic;
use super::key::{KeyError, StateKey};
use super::seal::SealError;

/// The largest file that is read: a policy of 10 MB and what belongs to it.
const LARGEST: u64 = 64 * 1024 * 1024;

/// What keeps the state from being used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be made.
    #[error("the agent's state directory {} cannot be made or secured", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no key.
    #[error("the agent's state cannot be opened")]
    Key(#[source] KeyError),
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be opened.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
    /// It cannot be sealed.
    #[error("{} cannot be sealed", path.display())]
    Seal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
}

/// What a file held.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// There is none.
    Nothing,
    /// This.
    Value(T),
    /// Nothing that could be used; it lies elsewhere now, and this says where and why.
    SetAside(String),
}

impl<T> Found<T> {
    /// The value, and what is to be said when there is none that could be used.
    pub fn split(self) -> (Option<T>, Option<String>) {
        match self {
            Found::Nothing => (None, None),
            Found::Value(value) => (Some(value), None),
            Found::SetAside(message) => (None, Some(message)),
        }
    }
}

/// The state of one agent. Clones share the key.
#[derive(Clone, Debug)]
pub struct StateStore {
    directory: PathBuf,
    key: Arc<StateKey>,
    /// The key of the directory, where systemd gives another one: an enrolment by hand has only that.
    other: Option<Arc<StateKey>>,
}

impl StateStore {
    /// Opens the state; the directory and the key are made if they are not there.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(directory: &Path, credentials: Option<&Path>) -> Result<StateStore, StateError> {
        atomic::secure_directory(directory)
            .map_err(|source| StateError::Directory { path: directory.to_owned(), source })?;
        let key = StateKey::open(directory, credentials).map_err(StateError::Key)?;
        let other = credentials.and_then(|_| StateKey::in_directory(directory)).map(Arc::new);
        Ok(StateStore { directory: directory.to_owned(), key: Arc::new(key), other })
    }

    /// The state of an agent that does not run, as far as the key that lies in the directory opens it. Nothing is made
    /// or moved by that. `None`: there is no such key.
    #[must_use]
    pub fn at_rest(directory: &Path) -> Option<StateStore> {
        let key = StateKey::in_directory(directory)?;
        Some(StateStore { directory: directory.to_owned(), key: Arc::new(key), other: None })
    }

    /// Reads a document, and leaves it as it is. `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, or not be opened with this key.
    pub fn peek<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.path(name);
        let bytes = match atomic::read_kept(&path, LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| StateError::Read { path: path.clone(), source })?,
        };
        let opened = self.key.open_sealed(name, &bytes);
        let value =
            opened.and_then(|content| serde_json::from_slice(&content).map_err(|_| SealError::Content));
        value.map(Some).map_err(|source| StateError::Open { path, source })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.sealed"))
    }

    /// Reads a document.
    ///
    /// # Errors
    /// The disk failed. A file that is not as it should be is no error: it is set aside.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Found<T>, StateError> {
        let path = self.path(name);
        let failed = |source| StateError::Read { path: path.clone(), source };
        let about = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            outcome => outcome.map_err(failed)?,
        };
        let content = if about.len() > LARGEST || !about.is_file() {
            Err(SealError::Foreign)
        } else {
            let bytes = atomic::read_kept(&path, LARGEST).map_err(failed)?;
            self.key.open_sealed(name, &bytes).or_else(|error| match &self.other {
                Some(other) => other.open_sealed(name, &bytes),
                None => Err(error),
            })
        };
        let value =
            content.and_then(|content| serde_json::from_slice(&content).map_err(|_| SealError::Content));
        match value {
            Ok(value) => Ok(Found::Value(value)),
            Err(why) => self.set_aside(&path, why).map(Found::SetAside),
        }
    }

    fn set_aside(&self, path: &Path, why: SealError) -> Result<String, StateError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unusable-{}", OffsetDateTime::now_utc().unix_timestamp()));
        let aside = path.with_file_name(name);
        fs::rename(path, &aside).map_err(|source| StateError::Write { path: path.to_owned(), source })?;
        Ok(format!("{} cannot be used: {why}. It is kept as {}", path.display(), aside.display()))
    }

    /// Writes a document.
    ///
    /// # Errors
    /// It cannot be sealed or written: what was there before is still there.
    pub fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.path(name);
        let seal = |source| StateError::Seal { path: path.clone(), source };
        let content = serde_json::to_vec(value).map_err(|_| seal(SealError::Content))?;
        let content = zeroize::Zeroizing::new(content);
        let sealed = self.key.seal(name, &content).map_err(seal)?;
        atomic::replace(&path, &sealed).map_err(|source| StateError::Write { path: path.clone(), source })
    }

    /// Removes a document.
    ///
    /// # Errors
    /// It is still there.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Write { path, source })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store() -> (tempfile::TempDir, StateStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = StateStore::open(&directory.path().join("state"), None).unwrap();
        (directory, store)
    }

    #[test]
    fn documents_survive_sealed_and_private() {
        let (directory, store) = store();
        store.save("a", &"very secret").unwrap();
        let again = StateStore::open(&directory.path().join("state"), None).unwrap();
        assert_eq!(again.load::<String>("a").unwrap(), Found::Value("very secret".to_owned()));
        let path = store.path("a");
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"secret"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let state = fs::metadata(directory.path().join("state")).unwrap();
        assert_eq!(state.permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_look_at_rest_changes_nothing() {
        let (directory, store) = store();
        let rest = directory.path().join("state");
        store.save("a", &1).unwrap();
        let looked = StateStore::at_rest(&rest).unwrap();
        assert_eq!((looked.peek::<u8>("a").unwrap(), looked.peek::<u8>("b").unwrap()), (Some(1), None));
        fs::write(store.path("a"), b"{}").unwrap();
        assert!(matches!(looked.peek::<u8>("a"), Err(StateError::Open { .. })));
        assert_eq!(fs::read(store.path("a")).unwrap(), b"{}");
        assert!(StateStore::at_rest(&directory.path().join("none")).is_none());
        assert!(!directory.path().join("none").exists());
    }

    #[test]
    fn unusable_files_are_set_aside_and_the_way_is_free() {
        let (_directory, store) = store();
        store.save("a", &1).unwrap();
        let whole = fs::read(store.path("a")).unwrap();
        let torn: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in torn.into_iter().chain([flipped, b"{}".to_vec()]) {
            fs::write(store.path("a"), &bad).unwrap();
            let found = store.load::<u8>("a").unwrap();
            assert!(matches!(found, Found::SetAside(_)), "{found:?}");
            assert_eq!(store.load::<u8>("a").unwrap(), Found::Nothing);
        }
    }

    #[test]
    fn a_file_cannot_stand_in_for_another() {
        let (_directory, store) = store();
        store.save("a", &1).unwrap();
        fs::rename(store.path("a"), store.path("b")).unwrap();
        assert!(matches!(store.load::<u8>("b").unwrap(), Found::SetAside(_)));
    }

    #[test]
    fn a_credential_goes_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let credentials = directory.path().join("credentials");
        fs::create_dir(&credentials).unwrap();
        fs::write(credentials.join("fleet-agent.key"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
            .unwrap();
        let state = directory.path().join("state");
        StateStore::open(&state, Some(&credentials)).unwrap().save("a", &1).unwrap();
        assert!(!state.join("fleet-agent.key").exists());
        assert!(matches!(
            StateStore::open(&state, None).unwrap().load::<u8>("a").unwrap(),
            Found::SetAside(_)
        ));
    }
}
