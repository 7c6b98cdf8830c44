//! What the collector makes on the disk is nobody else's to read: it holds what others wrote to their logs.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// Who may do what in a directory that is nobody else's.
const PRIVATE: u32 = 0o700;

/// Makes a directory, and those above it that are not there, for its owner alone. One that is there loses the rights of
/// others.
///
/// # Errors
/// It cannot be made, or is somebody else's.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    make_directory(path, PRIVATE)?;
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

/// Makes a directory, and those above it, with these rights. One that is there stays as it is.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_directories_are_for_their_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        make_private_directory(&directory).unwrap();
        assert_eq!((mode(&directory), mode(&root.path().join("a"))), (0o700, 0o700));
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        make_private_directory(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
    }
}
