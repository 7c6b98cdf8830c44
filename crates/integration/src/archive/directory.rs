//! A folder on this machine.

use std::fs::{self, File};
use std::path::Path;

use super::{Archive, ArchiveError, Unpacked};

pub(super) fn read(root: &Path) -> Result<Archive, ArchiveError> {
    let mut unpacked = Unpacked::new("directory");
    let top = root.file_name().map_or_else(|| "package".into(), |name| name.to_string_lossy());
    let mut waiting = vec![(root.to_owned(), top.into_owned())];
    while let Some((directory, name)) = waiting.pop() {
        let failed = |source| ArchiveError::Read { path: directory.display().to_string(), source };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            let Some(path) = unpacked.entry(&name)? else { continue };
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                waiting.push((entry.path(), name));
            } else if kind.is_file() {
                let file = File::open(entry.path()).map_err(|source| ArchiveError::Read {
                    path: entry.path().display().to_string(),
                    source,
                })?;
                unpacked.keep(path, file)?;
            } else {
                let problem = "this is neither a file nor a directory";
                return Err(ArchiveError::BadPath { path: name, problem });
            }
        }
    }
    unpacked.finish()
}
