//! The file system as the reader sees it: behind traits, so that its rules can be tested in invented worlds.

use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::descriptors::{self, Counted};

/// What kind of thing is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Something that is never read: a socket, a device.
    Other,
}

/// What a file is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// What it is.
    pub(super) kind: Kind,
    /// Its device and its number there.
    pub(super) node: Node,
    /// Bytes.
    pub(super) size: u64,
    /// When it was written last, milliseconds since 1970.
    pub(super) modified: u64,
    /// Under how many names it can be found; 0: deleted.
    pub(super) links: u64,
}

/// A file, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node {
    /// The device.
    pub(super) device: u64,
    /// The number on it. Used again when the file is gone.
    pub(super) inode: u64,
}

/// Where files are.
pub(super) trait FileSystem: Send + Sync {
    /// The names in a directory.
    ///
    /// # Errors
    /// It cannot be read.
    fn list(&self, directory: &Path) -> io::Result<Vec<(PathBuf, Kind)>>;

    /// What is at a path; links are followed if `follow` is set.
    ///
    /// # Errors
    /// Nothing is there, or it cannot be seen.
    fn look(&self, path: &Path, follow: bool) -> io::Result<Look>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;

    /// The time of day that files are marked with, milliseconds since 1970.
    fn time_of_day(&self) -> u64;

    /// How many more files may stay open.
    fn left(&self) -> usize {
        usize::MAX
    }

    /// Whether files that have nothing to be read should be closed for others.
    fn is_scarce(&self) -> bool {
        false
    }
}

/// A file that stays readable when it is renamed or deleted.
pub(super) trait OpenFile: Send {
    /// What it is now.
    ///
    /// # Errors
    /// The device is in trouble.
    fn look(&self) -> io::Result<Look>;

    /// Reads at a place; 0 at the end.
    ///
    /// # Errors
    /// The device is in trouble.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// By which the kernel knows it; `None`: nothing can be told of its growth.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// The machine's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Local;

impl Look {
    pub(super) fn of(metadata: &fs::Metadata) -> Look {
        look(metadata)
    }
}

fn look(metadata: &fs::Metadata) -> Look {
    let kind = metadata.file_type();
    let kind = if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Link
    } else {
        Kind::Other
    };
    let millis = metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000);
    Look {
        kind,
        node: Node { device: metadata.dev(), inode: metadata.ino() },
        size: metadata.len(),
        modified: u64::try_from(millis).unwrap_or_default(),
        links: metadata.nlink(),
    }
}

impl FileSystem for Local {
    fn time_of_day(&self) -> u64 {
        crate::clock::unix_millis()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(PathBuf, Kind)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => Kind::File,
                Ok(kind) if kind.is_dir() => Kind::Directory,
                Ok(kind) if kind.is_symlink() => Kind::Link,
                _ => Kind::Other,
            };
            all.push((entry.path(), kind));
        }
        Ok(all)
    }

    fn look(&self, path: &Path, follow: bool) -> io::Result<Look> {
        let metadata = if follow { fs::metadata(path)? } else { fs::symlink_metadata(path)? };
        Ok(look(&metadata))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        // Not blocking: a pipe at this path, put there since it was looked at, must not hold everything up.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::RDONLY;
        let file = File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("is no regular file"));
        }
        Ok(Box::new(Counted::new(file)))
    }
    fn left(&self) -> usize {
        descriptors::left()
    }

    fn is_scarce(&self) -> bool {
        descriptors::are_scarce()
    }
}
