//! What the collector makes on the disk is nobody else's to read: it holds what others wrote to their logs.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory, and those above it that are not there, for its owner alone. One that is there stays as it is.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    make_directory(path, 0o700)
}

/// The same with other rights.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}
