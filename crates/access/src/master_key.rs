//! The master key: the one secret that a server is given. It wraps the data keys of the [keyring], and
//! nothing else.
//!
//! It comes from a file that only its owner can read, or from a systemd credential (`LoadCredential=` or
//! `LoadCredentialEncrypted=`). The file holds 32 random bytes: raw, as 64 hexadecimal digits, or as base64
//! (either alphabet, with or without padding), the latter two with blanks around them at will.
//!
//! [keyring]: crate::seal::Keyring

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::hmac;
use zeroize::Zeroizing;

use crate::random::{self, RandomError};

/// The length of the key in bytes.
pub const LENGTH: usize = 32;

/// More than any form of a key needs: what is longer is another file.
const MAX_FILE: u64 = 256;

/// Where the master key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A file that must be there.
    File(PathBuf),
    /// A file that is made when it is absent: on the first start of a server.
    FileOrNew(PathBuf),
    /// A credential that systemd passes to the service.
    Credential {
        /// What `CREDENTIALS_DIRECTORY` says.
        directory: PathBuf,
        /// The credential's name.
        name: String,
    },
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file is not there.
    #[error(
        "master key file {} does not exist: copy it from another server of this store, or from your backup",
        path.display()
    )]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("master key file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner can read it.
    #[error(
        "master key file {} can be read by others (mode {mode:04o}): run chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error(
        "master key file {} holds no key: 32 bytes are needed, raw, in base64 or in hexadecimal",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("master key file {} cannot be made", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no chance to make one from.
    #[error("no master key can be made")]
    Random(#[source] RandomError),
}

/// The key itself.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; LENGTH]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MasterKey({})", self.id())
    }
}

impl MasterKey {
    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; LENGTH]) -> MasterKey {
        MasterKey(Zeroizing::new(bytes))
    }

    /// A new random key.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn generate() -> Result<MasterKey, RandomError> {
        random::bytes().map(MasterKey::from_bytes)
    }

    /// Reads the key, or makes its file if the source allows that. Blocks for as long as the disk needs.
    ///
    /// # Errors
    /// [`MasterKeyError`] names the file and the fix.
    pub fn load(source: &MasterKeySource) -> Result<MasterKey, MasterKeyError> {
        match source {
            MasterKeySource::File(path) => read(path, true),
            MasterKeySource::FileOrNew(path) => match read(path, true) {
                Err(MasterKeyError::Absent { .. }) => create(path),
                other => other,
            },
            // systemd itself sees to it that only the service can read it, with modes of its own.
            MasterKeySource::Credential { directory, name } => read(&directory.join(name), false),
        }
    }

    /// Which key this is, for messages: 16 hexadecimal digits that tell nothing of its bytes.
    #[must_use]
    pub fn id(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let tag = hmac::sign(&key, b"fleet master key id");
        tag.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

fn read(path: &Path, is_private: bool) -> Result<MasterKey, MasterKeyError> {
    let fault = |source: io::Error| match source.kind() {
        ErrorKind::NotFound => MasterKeyError::Absent { path: path.to_owned() },
        _ => MasterKeyError::Read { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(fault)?;
    let mode = file.metadata().map_err(fault)?.permissions().mode() & 0o7777;
    if is_private && mode & 0o077 != 0 {
        return Err(MasterKeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize));
    file.take(MAX_FILE).read_to_end(&mut content).map_err(fault)?;
    parse(&content).ok_or_else(|| MasterKeyError::Malformed { path: path.to_owned() })
}

/// The key in a file's content.
fn parse(content: &[u8]) -> Option<MasterKey> {
    if let Ok(bytes) = <[u8; LENGTH]>::try_from(content) {
        return Some(MasterKey::from_bytes(bytes));
    }
    let text = content.trim_ascii();
    let mut bytes = Zeroizing::new([0; LENGTH]);
    if text.len() == 2 * LENGTH && text.iter().all(u8::is_ascii_hexdigit) {
        let text = std::str::from_utf8(text).ok()?;
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        return Some(MasterKey(bytes));
    }
    let found = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
        .iter()
        .any(|engine| engine.decode_slice(text, bytes.as_mut_slice()) == Ok(LENGTH));
    found.then_some(MasterKey(bytes))
}

/// Makes the file. It appears whole or not at all, and never in the place of one that another process made
/// meanwhile: that one is read.
fn create(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let fault = |source| MasterKeyError::Create { path: path.to_owned(), source };
    let key = MasterKey::generate().map_err(MasterKeyError::Random)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unique: String = random::text(b"0123456789abcdef", 16).map_err(MasterKeyError::Random)?;
    let draft = directory.join(format!(".master-key-{unique}"));
    let made = write_private(&draft, &key).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match made {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return read(path, true),
        Err(error) => return Err(fault(error)),
    }
    removed.map_err(fault)?;
    // A name is safe only when its directory is.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fault)?;
    Ok(key)
}

fn write_private(path: &Path, key: &MasterKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut text = Zeroizing::new(STANDARD.encode(key.bytes()));
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; LENGTH] = *b"0123456789 abcdefghijklmnopqrst\n";

    fn file(directory: &Path, content: &[u8], mode: u32) -> PathBuf {
        let path = directory.join("master.key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn every_stated_form_is_read() {
        let hex: String = BYTES.iter().map(|byte| format!("{byte:02X}")).collect();
        let forms: [Vec<u8>; 5] = [
            BYTES.to_vec(),
            hex.clone().into_bytes(),
            format!(" {hex}\r\n").into_bytes(),
            format!("{}\n", STANDARD.encode(BYTES)).into_bytes(),
            URL_SAFE_NO_PAD.encode(BYTES).into_bytes(),
        ];
        for form in forms {
            let directory = tempfile::tempdir().unwrap();
            let path = file(directory.path(), &form, 0o400);
            assert_eq!(MasterKey::load(&MasterKeySource::File(path)).unwrap().bytes(), &BYTES);
        }
    }

    #[test]
    fn other_content_is_refused() {
        for content in [&b""[..], b"hunter2", &[7; 33], &STANDARD.encode([7; 31]).into_bytes(), &[b'a'; 300]]
        {
            let directory = tempfile::tempdir().unwrap();
            let path = file(directory.path(), content, 0o600);
            let error = MasterKey::load(&MasterKeySource::File(path)).unwrap_err();
            assert!(matches!(error, MasterKeyError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_fix() {
        for mode in [0o640, 0o604, 0o644] {
            let directory = tempfile::tempdir().unwrap();
            let path = file(directory.path(), &BYTES, mode);
            let error = MasterKey::load(&MasterKeySource::FileOrNew(path.clone())).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
            assert!(error.ends_with(&format!("chmod 600 {}", path.display())), "{error}");
            let credential = MasterKeySource::Credential {
                directory: directory.path().to_owned(),
                name: "master.key".to_owned(),
            };
            assert_eq!(MasterKey::load(&credential).unwrap().bytes(), &BYTES);
        }
    }

    #[test]
    fn it_is_made_once_and_only_where_that_is_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let error = MasterKey::load(&MasterKeySource::File(path.clone())).unwrap_err();
        assert!(matches!(error, MasterKeyError::Absent { .. }));

        let made: Vec<MasterKey> = std::thread::scope(|scope| {
            let load = || MasterKey::load(&MasterKeySource::FileOrNew(path.clone())).unwrap();
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert!(made.iter().all(|key| key.bytes() == made[0].bytes()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(MasterKey::load(&MasterKeySource::File(path)).unwrap().bytes(), made[0].bytes());
    }

    #[test]
    fn a_key_shows_its_id_alone() {
        let key = MasterKey::from_bytes(BYTES);
        assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.id()));
        assert_ne!(key.id(), MasterKey::from_bytes([7; LENGTH]).id());
    }
}
