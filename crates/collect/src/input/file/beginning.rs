//! Files opened and looked into, compressed ones by their content.

use std::io;
use std::path::Path;

use super::gzip::Gzip;
use super::system::{FileSystem, OpenFile};
use super::tail::Tail;

/// What a file begins with.
pub(super) struct Beginning {
    pub(super) bytes: Vec<u8>,
    pub(super) compressed: bool,
}

impl Tail {
    /// What a file begins with; of a compressed one, what its content does.
    pub(super) fn beginning(&self, path: &Path, length: usize) -> io::Result<Beginning> {
        let mut file = self.system.open(path)?;
        let mut magic = [0; 2];
        let gz = self.options.gzip && is_gz(path);
        let compressed = gz && file.read_at(0, &mut magic)? == 2 && magic == [0x1f, 0x8b];
        if compressed {
            file = Box::new(Gzip::new(file)?);
        }
        // A compressed file that is still being written ends too early: it is looked at again.
        let bytes = match read_head(&mut *file, self.options.fingerprint_offset, length) {
            Err(error) if compressed && error.kind() == io::ErrorKind::UnexpectedEof => Vec::new(),
            other => other?,
        };
        Ok(Beginning { bytes, compressed })
    }
}

/// Opens a file; a compressed one as its content.
pub(super) fn open(system: &dyn FileSystem, path: &Path, compressed: bool) -> io::Result<Box<dyn OpenFile>> {
    let file = system.open(path)?;
    if compressed { Ok(Box::new(Gzip::new(file)?)) } else { Ok(file) }
}

pub(super) fn is_gz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// Up to `length` bytes behind `start`; fewer where the file is shorter.
pub(super) fn read_head(file: &mut dyn OpenFile, start: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(start + filled as u64, &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
