//! Secrets that stand in files of their own.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::value::Secret;

/// The largest secret, in bytes: a chain of keys at most, not somebody's disk image.
const LARGEST: u64 = 64 * 1024;

/// The bits of a file's mode that let others than its owner read or write it.
const OTHERS: u32 = 0o066;

/// Why a secret's file is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be opened or read.
    #[error("the file {} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is a directory, a pipe or the like.
    #[error("{} is not a regular file", .path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// Others than its owner may read or write it.
    #[error(
        "the file {path} has the mode {mode:04o}, so that others can read or change it: run chmod 600 {path}",
        path = .path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too large for a secret.
    #[error("the file {} is larger than {LARGEST} bytes, which no secret is", .path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
    /// It holds no UTF-8 text.
    #[error("the file {} is not UTF-8 text", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
    },
    /// It is empty.
    #[error("the file {} is empty", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a secret from a file that nobody but its owner can read or change, without one line's end behind it.
///
/// Files in `credentials`, the directory where systemd puts a service's credentials, are taken as they are:
/// systemd guards that directory, and lets the service in by an access control list, which shows as a mode
/// that a group could read.
///
/// # Errors
/// It cannot be read, others could read it, or it holds no text.
pub fn read_secret_file(path: &Path, credentials: Option<&Path>) -> Result<Secret, SecretFileError> {
    let owned = || path.to_owned();
    let failed = |source| SecretFileError::Read { path: path.to_owned(), source };
    // Before it is opened: to open a pipe would wait for whoever writes to it.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SecretFileError::Kind { path: owned() });
    }
    let mut file = File::open(path).map_err(failed)?;
    // Of the open file, not of the path, which may be another file by now.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    let guarded = credentials.is_some_and(|directory| path.starts_with(directory));
    if mode & OTHERS != 0 && !guarded {
        return Err(SecretFileError::Mode { path: owned(), mode });
    }
    let mut text = Vec::new();
    Read::by_ref(&mut file).take(LARGEST + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(SecretFileError::Size { path: owned() });
    }
    let text = String::from_utf8(text).map_err(|_| SecretFileError::Text { path: owned() })?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        return Err(SecretFileError::Empty { path: owned() });
    }
    Ok(Secret::new(text))
}
