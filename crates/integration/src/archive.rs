//! The files of a package, out of a zip, a tar or a directory.
//!
//! An archive comes from whoever uploads it, so nothing in it is believed: sizes are counted while they are
//! unpacked, paths are taken apart, and whatever is neither a plain file nor a directory is refused.

mod directory;
mod paths;
mod tar_gz;
mod zip_file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use bytes::Bytes;

/// The largest archive that is taken, in bytes. The largest packages that exist have some 60 MiB.
pub const LARGEST_ARCHIVE: usize = 128 * 1024 * 1024;
/// The most bytes of all files together, unpacked.
pub const LARGEST_CONTENT: u64 = 256 * 1024 * 1024;
/// The largest file, in bytes, unpacked.
pub const LARGEST_FILE: u64 = 32 * 1024 * 1024;
/// The most entries of an archive, those counted that are skipped.
pub const MOST_FILES: usize = 20_000;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is larger than [`LARGEST_ARCHIVE`].
    #[error("the archive is larger than {LARGEST_ARCHIVE} bytes")]
    TooLarge,
    /// It has more entries than [`MOST_FILES`].
    #[error("the archive has more than {MOST_FILES} entries")]
    TooManyFiles,
    /// Unpacked, it is larger than [`LARGEST_CONTENT`].
    #[error("the archive's files are larger than {LARGEST_CONTENT} bytes together")]
    ContentTooLarge,
    /// A file is larger than [`LARGEST_FILE`].
    #[error("{path}: the file is larger than {LARGEST_FILE} bytes")]
    FileTooLarge {
        /// As the archive spells it.
        path: String,
    },
    /// An entry whose path leaves the package's folder or cannot be a path.
    #[error("{path:?}: {problem}")]
    BadPath {
        /// As the archive spells it.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The same path twice.
    #[error("{path}: the archive has this file twice")]
    Duplicate {
        /// Below the top folder.
        path: String,
    },
    /// The archive has files outside of one top folder.
    #[error("{path:?}: all files must lie in one folder <name>-<version>/; the first lies in {top:?}")]
    TwoTops {
        /// As the archive spells it.
        path: String,
        /// The folder of the first entry.
        top: String,
    },
    /// A file is damaged or uses what is not supported.
    #[error("{path}: the file cannot be unpacked")]
    Unpack {
        /// As the archive spells it.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The archive itself is damaged, or is something else.
    #[error("this is not a {kind} archive, or a damaged one")]
    Damaged {
        /// What was expected.
        kind: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No entry at all.
    #[error("the archive has no files")]
    Empty,
    /// A directory could not be read.
    #[error("{path}: cannot be read")]
    Read {
        /// On this machine.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The files of one package by their paths below its top folder. Cheap to clone.
#[derive(Clone, Default)]
pub struct Archive {
    top: String,
    files: BTreeMap<String, Bytes>,
}

impl Archive {
    /// Unpacks a zip.
    ///
    /// # Errors
    /// What is over a bound, damaged, or would lie outside of the package's folder.
    pub fn zip(bytes: &[u8]) -> Result<Archive, ArchiveError> {
        zip_file::read(bytes)
    }

    /// Unpacks a tar that is compressed with gzip.
    ///
    /// # Errors
    /// As [`Archive::zip`].
    pub fn tar_gz(bytes: &[u8]) -> Result<Archive, ArchiveError> {
        tar_gz::read(bytes)
    }

    /// Reads a folder that is laid out as a package.
    ///
    /// # Errors
    /// What cannot be read, is over a bound, or is neither a file nor a directory.
    pub fn directory(path: &Path) -> Result<Archive, ArchiveError> {
        directory::read(path)
    }

    /// The name of the top folder: `<name>-<version>` in an archive, anything for a directory.
    #[must_use]
    pub fn top(&self) -> &str {
        &self.top
    }

    /// A file, by its path below the top folder.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Bytes> {
        self.files.get(path)
    }

    /// All files whose path begins so, by path.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        self.files
            .range(prefix.to_owned()..)
            .take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, bytes)| (path.as_str(), bytes))
    }

    /// The paths of all files, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the contents, which may be hundreds of megabytes.
        formatter.debug_struct("Archive").field("top", &self.top).field("files", &self.files.len()).finish()
    }
}

/// An archive while it is being unpacked.
struct Unpacked {
    kind: &'static str,
    archive: Archive,
    entries: usize,
    size: u64,
}

impl Unpacked {
    fn new(kind: &'static str) -> Unpacked {
        Unpacked { kind, archive: Archive::default(), entries: 0, size: 0 }
    }

    /// Counts an entry. Answers the path of a file that is to be kept, `None` for one that nobody needs.
    fn entry(&mut self, path: &str) -> Result<Option<String>, ArchiveError> {
        self.entries += 1;
        if self.entries > MOST_FILES {
            return Err(ArchiveError::TooManyFiles);
        }
        let (top, below) = paths::split(path)?;
        if self.archive.top.is_empty() {
            top.clone_into(&mut self.archive.top);
        } else if self.archive.top != top {
            return Err(ArchiveError::TwoTops { path: path.to_owned(), top: self.archive.top.clone() });
        }
        Ok((!below.is_empty() && !paths::is_for_developers(&below)).then_some(below))
    }

    /// Unpacks a file and keeps it.
    fn keep(&mut self, path: String, reader: impl std::io::Read) -> Result<(), ArchiveError> {
        let mut bytes = Vec::new();
        let mut bounded = reader.take(LARGEST_FILE + 1);
        if let Err(source) = std::io::Read::read_to_end(&mut bounded, &mut bytes) {
            return Err(ArchiveError::Unpack { path, source });
        }
        let size = bytes.len() as u64;
        if size > LARGEST_FILE {
            return Err(ArchiveError::FileTooLarge { path });
        }
        self.size += size;
        if self.size > LARGEST_CONTENT {
            return Err(ArchiveError::ContentTooLarge);
        }
        if self.archive.files.contains_key(&path) {
            return Err(ArchiveError::Duplicate { path });
        }
        self.archive.files.insert(path, Bytes::from(bytes));
        Ok(())
    }

    fn finish(self) -> Result<Archive, ArchiveError> {
        if self.archive.files.is_empty() { Err(ArchiveError::Empty) } else { Ok(self.archive) }
    }

    fn damaged(&self, source: impl Into<std::io::Error>) -> ArchiveError {
        ArchiveError::Damaged { kind: self.kind, source: source.into() }
    }
}
