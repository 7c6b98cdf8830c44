//! Zip.

use std::io::Cursor;

use super::{Archive, ArchiveError, LARGEST_ARCHIVE, LARGEST_FILE, MOST_FILES, Unpacked};

pub(super) fn read(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let mut unpacked = Unpacked::new("zip");
    if bytes.len() > LARGEST_ARCHIVE {
        return Err(ArchiveError::TooLarge);
    }
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| unpacked.damaged(error))?;
    if zip.len() > MOST_FILES {
        return Err(ArchiveError::TooManyFiles);
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
