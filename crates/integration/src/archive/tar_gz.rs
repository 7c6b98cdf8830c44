//! Tar, compressed with gzip.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::{Archive, ArchiveError, LARGEST_ARCHIVE, LARGEST_CONTENT, LARGEST_FILE, Unpacked};

/// Headers and padding take 1 KiB an entry, and what is skipped counts too.
const LARGEST_TAR: u64 = LARGEST_CONTENT + LARGEST_CONTENT / 4;

pub(super) fn read(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let mut unpacked = Unpacked::new("tar.gz");
    if bytes.len() > LARGEST_ARCHIVE {
        return Err(ArchiveError::TooLarge);
    }
    let mut tar = tar::Archive::new(MultiGzDecoder::new(bytes).take(LARGEST_TAR));
    let entries = tar.entries().map_err(|error| unpacked.damaged(error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unpacked.damaged(error))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            continue;
        }
        // `tar -C folder .` begins with the folder itself.
        if matches!(name.as_str(), "." | "./") {
            continue;
        }
        let path = unpacked.entry(name.strip_prefix("./").unwrap_or(&name))?;
        match kind {
            EntryType::Directory => {}
            EntryType::Regular | EntryType::Continuous => {
                let Some(path) = path else { continue };
                if entry.size() > LARGEST_FILE {
                    return Err(ArchiveError::FileTooLarge { path });
                }
                unpacked.keep(path, entry)?;
            }
            _ => {
                let problem = "the entry is neither a file nor a directory (a link, or a device)";
                return Err(ArchiveError::BadPath { path: name, problem });
            }
        }
    }
    unpacked.finish()
}
