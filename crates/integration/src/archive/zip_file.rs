//! Zip.

use std::collections::HashSet;
use std::io::Cursor;

use super::{Archive, ArchiveError, LARGEST_ARCHIVE, LARGEST_CONTENT, LARGEST_FILE, MOST_FILES, Unpacked};

pub(super) fn read(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let mut unpacked = Unpacked::new("zip");
    if bytes.len() > LARGEST_ARCHIVE {
        return Err(ArchiveError::TooLarge);
    }
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| unpacked.damaged(error))?;
    if zip.len() > MOST_FILES {
        return Err(ArchiveError::TooManyFiles);
    }
    let start = usize::try_from(zip.central_directory_start()).unwrap_or(usize::MAX);
    if let Some(path) = duplicate(bytes.get(start..).unwrap_or_default()) {
        return Err(ArchiveError::Duplicate { path });
    }
    // What an archive says of itself may be too much already: then nothing of it is unpacked. (It may lie: what is
    // unpacked is counted too.)
    if zip.decompressed_size().is_some_and(|size| size > 2 * u128::from(LARGEST_CONTENT)) {
        return Err(ArchiveError::ContentTooLarge);
    }
    for index in 0..zip.len() {
        let file = zip.by_index(index).map_err(|error| unpacked.damaged(error))?;
        let name = file.name().map_err(|error| unpacked.damaged(error))?.into_owned();
        // Made on a Mac: beside the package's folder, and of no use.
        if name.starts_with("__MACOSX/") {
            continue;
        }
        let path = unpacked.entry(&name)?;
        if file.is_symlink() {
            return Err(ArchiveError::BadPath { path: name, problem: "the entry is a symbolic link" });
        }
        let Some(path) = path.filter(|_| !file.is_dir()) else { continue };
        if file.size() > LARGEST_FILE {
            return Err(ArchiveError::FileTooLarge { path });
        }
        unpacked.keep(path, file)?;
    }
    unpacked.finish()
}

/// A name that a zip's directory has twice: the library keeps the last one without a word.
fn duplicate(mut directory: &[u8]) -> Option<String> {
    /// What each entry begins with.
    const SIGNATURE: &[u8] = b"PK\x01\x02";
    /// The length of an entry without its name, extra fields and comment, in bytes.
    const FIXED: usize = 46;
    let mut names = HashSet::new();
    while directory.starts_with(SIGNATURE) {
        let number =
            |at| directory.get(at..at + 2).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]])));
        let (name, extra, comment) = (number(28)?, number(30)?, number(32)?);
        let path = directory.get(FIXED..FIXED + name)?;
        if !names.insert(path) {
            return Some(String::from_utf8_lossy(path).into_owned());
        }
        directory = directory.get(FIXED + name + extra + comment..)?;
    }
    None
}
