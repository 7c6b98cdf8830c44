//! Replacing a file in one step.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// Who may read what the agent keeps.
const FILE_MODE: u32 = 0o600;
/// Who may look into its directories.
const DIRECTORY_MODE: u32 = 0o700;
/// The same for a directory in which its group may open what it knows by name.
const PASSABLE_MODE: u32 = 0o710;

/// Makes a directory that only its owner may enter, or takes others' rights to one that is there.
///
/// # Errors
/// It cannot be made, or its rights cannot be changed.
pub fn secure_directory(path: &Path) -> io::Result<()> {
    with_mode(path, DIRECTORY_MODE)
}

/// The same for one that its group may pass through, to what it knows by name. It cannot be listed.
///
/// # Errors
/// It cannot be made, or its rights cannot be changed.
pub fn passable_directory(path: &Path) -> io::Result<()> {
    with_mode(path, PASSABLE_MODE)
}

fn with_mode(path: &Path, wanted: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o077 != wanted & 0o077 {
        fs::set_permissions(path, Permissions::from_mode(wanted))?;
    }
    Ok(())
}

/// Reads a file of at most `most` bytes that an agent keeps. Its user may have put something else there while root reads:
/// a pipe would hold root up, and a device fill its memory.
///
/// # Errors
/// It cannot be read, is no regular file, or is larger.
pub fn read_kept(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_regular(path, most, OFlags::NONBLOCK)
}

/// The same of a file that is no link, either: it would lead root elsewhere.
///
/// # Errors
/// Those of [`read_kept`], or it is a link.
pub fn read_kept_unlinked(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_regular(path, most, OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

fn read_regular(path: &Path, most: u64, flags: OFlags) -> io::Result<Vec<u8>> {
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut content = Vec::with_capacity(usize::try_from(about.len().min(most)).unwrap_or_default());
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(content)
}

/// Writes a file so that after a crash it holds either what it held or all of this: written beside, flushed,
/// renamed, and the directory flushed.
///
/// # Errors
/// One of these steps failed; the file is as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with_mode(path, content, FILE_MODE)
}

/// The same, with other rights than those of what the agent keeps to itself.
///
/// # Errors
/// One of these steps failed; the file is as it was.
pub fn replace_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    // One may lie there from an attempt that was cut off.
    let _ = fs::remove_file(&beside);
    let written = write(&beside, content, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&beside);
    }
    written?;
    flush_directory(path)
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // Root writes in directories of users, too, who must not have it follow a link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    give_to_owner_of_directory(path, &file)?;
    file.write_all(content)?;
    file.sync_all()
}

/// What root writes for an agent without privileges must be the agent's: it could not read it otherwise.
fn give_to_owner_of_directory(path: &Path, file: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    let (directory, own) = (fs::metadata(parent)?, file.metadata()?);
    if (directory.uid(), directory.gid()) == (own.uid(), own.gid()) {
        return Ok(());
    }
    fchown(file, Some(directory.uid()), Some(directory.gid()))
}

fn flush_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
