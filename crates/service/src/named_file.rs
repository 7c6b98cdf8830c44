//! Files that somebody's settings name: certificates, keys, tokens.
//!
//! Whatever lies at the path, reading it takes bounded memory, and waits for nobody: a pipe has no end until somebody
//! writes it, and a device may have none at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Why a file that settings name is not read.
#[derive(Debug, thiserror::Error)]
pub enum NamedFileError {
    /// It cannot be opened or read.
    #[error("the file {} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is a directory, a pipe, a device.
    #[error("{} is not a regular file: name one", .path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// It is larger than what it should be ever is.
    #[error("the file {} is larger than {most} bytes: is it the right one?", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is read at most.
        most: u64,
    },
}

/// Opens a regular file.
///
/// # Errors
/// [`NamedFileError::Read`] and [`NamedFileError::Kind`].
pub fn open(path: &Path) -> Result<File, NamedFileError> {
    let failed = |source| NamedFileError::Read { path: path.to_owned(), source };
    let not_regular = || NamedFileError::Kind { path: path.to_owned() };
    // Before it is opened, since to open a device may do something; and after, since it may be another file by then.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(not_regular());
    }
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(not_regular());
    }
    Ok(file)
}

/// Reads a regular file of at most `most` bytes. Blocks.
///
/// # Errors
/// [`NamedFileError`].
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, NamedFileError> {
    let mut content = Vec::new();
    read_open(&open(path)?, path, most, &mut content)?;
    Ok(content)
}

/// The same of a file that is open, into memory of the caller's.
///
/// # Errors
/// [`NamedFileError::Read`] and [`NamedFileError::TooLarge`].
pub fn read_open(file: &File, path: &Path, most: u64, into: &mut Vec<u8>) -> Result<(), NamedFileError> {
    let failed = |source| NamedFileError::Read { path: path.to_owned(), source };
    file.take(most + 1).read_to_end(into).map_err(failed)?;
    if into.len() as u64 > most {
        return Err(NamedFileError::TooLarge { path: path.to_owned(), most });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link, 5).unwrap(), b"12345");
        let error = read(&path, 4).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the file {} is larger than 4 bytes: is it the right one?", path.display())
        );
        assert!(matches!(read(&folder.path().join("none"), 5), Err(NamedFileError::Read { .. })));
    }

    #[test]
    fn what_has_no_end_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        for path in [pipe.as_path(), &socket, folder.path(), Path::new("/dev/zero")] {
            let error = read(path, 5).unwrap_err();
            assert!(matches!(error, NamedFileError::Kind { .. }), "{error}");
        }
    }
}
