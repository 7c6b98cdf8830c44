//! A directory with one small file per unit.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use fleet_unit::UnitName;

/// What temporary files begin with. No unit's name holds a tilde.
const TEMPORARY: &str = ".fleet~";
/// Longest file that is read, in bytes. A unit file that the API took is far smaller.
const LONGEST: u64 = 4 << 20;

/// The directory. Files appear in it whole or not at all, and nothing in it is followed out of it: a symbolic
/// link is not read, and replaced by a write.
///
/// The calls block. They are meant for small files on a `tmpfs`, where handing each to another thread would
/// take longer than the call.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Number of the next temporary file.
    next: AtomicU64,
    /// Files that were warned of already.
    warned: Mutex<BTreeSet<OsString>>,
}

impl Directory {
    /// Makes the directory if there is none, and removes what an interrupted write may have left in it.
    pub(crate) fn open(path: &Path) -> io::Result<Directory> {
        fs::create_dir_all(path)?;
        // systemd takes only absolute, plain paths.
        let path = fs::canonicalize(path)?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Directory { path, next: AtomicU64::new(0), warned: Mutex::default() })
    }

    /// Where the directory is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file of a unit is. Unit names hold no slash and are neither `.` nor `..`.
    pub(crate) fn path_of(&self, unit: &UnitName) -> PathBuf {
        self.path.join(unit.as_str())
    }

    /// Writes a unit's file.
    pub(crate) fn write(&self, unit: &UnitName, content: &str) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = self.path.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
        let written =
            write_new(&temporary, content).and_then(|()| fs::rename(&temporary, self.path_of(unit)));
        if written.is_err() {
            // What counts is the first error; the next start removes what is left.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    /// Reads a unit's file. `None` if there is none.
    pub(crate) fn read(&self, unit: &UnitName) -> io::Result<Option<String>> {
        match read_regular(&self.path_of(unit)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Removes a unit's file, if there is one.
    pub(crate) fn remove(&self, unit: &UnitName) -> io::Result<()> {
        match fs::remove_file(self.path_of(unit)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The units that have a file here, in the order of their names.
    pub(crate) fn units(&self) -> io::Result<Vec<UnitName>> {
        let mut units = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            match name.to_str().map(UnitName::parse) {
                Some(Ok(unit)) => units.push(unit),
                _ if name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) => {}
                _ => self.warn_once(&name, "its name is not a unit's"),
            }
        }
        units.sort_unstable();
        Ok(units)
    }

    /// Tells, once for each file, why it is left alone.
    pub(crate) fn warn_once(&self, name: impl Into<OsString>, why: &str) {
        let name = name.into();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(name.clone()) {
            tracing::warn!(directory = %self.path.display(), file = ?name, "ignoring a file: {why}");
        }
    }
}

fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    // systemd and people must be able to read it whatever our umask is.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(content.as_bytes())
}

fn read_regular(path: &Path) -> io::Result<String> {
    // Before it is opened: opening a pipe waits for a writer.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = String::new();
    let read = File::open(path)?.take(LONGEST + 1).read_to_string(&mut content)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > LONGEST {
        return Err(io::Error::other(format!("it is longer than {LONGEST} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn unit(name: &str) -> UnitName {
        UnitName::parse(name).unwrap()
    }

    #[test]
    fn files_are_written_read_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open(&parent.path().join("a/b")).unwrap();
        let hello = unit("hello.service");
        assert_eq!(directory.read(&hello).unwrap(), None);
        directory.write(&hello, "one").unwrap();
        directory.write(&hello, "two").unwrap();
        assert_eq!(directory.read(&hello).unwrap().as_deref(), Some("two"));
        let mode = fs::metadata(directory.path_of(&hello)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
        directory.remove(&hello).unwrap();
        directory.remove(&hello).unwrap();
        assert_eq!(directory.units().unwrap(), []);
    }

    #[test]
    fn a_link_is_neither_followed_nor_written_through() {
        let parent = tempfile::tempdir().unwrap();
        let victim = parent.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let directory = Directory::open(&parent.path().join("units")).unwrap();
        let hello = unit("hello.service");
        symlink(&victim, directory.path_of(&hello)).unwrap();
        directory.read(&hello).unwrap_err();
        directory.write(&hello, "new").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(directory.read(&hello).unwrap().as_deref(), Some("new"));
    }

    #[test]
    fn only_what_is_named_like_a_unit_is_told() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["z.target", "a.service", "hello@1.service", "README", "x.unknown", ".fleet~1-0"] {
            fs::write(parent.path().join(name), "").unwrap();
        }
        let directory = Directory::open(parent.path()).unwrap();
        let names = ["a.service", "hello@1.service", "z.target"];
        assert_eq!(directory.units().unwrap(), names.map(unit));
        assert!(!parent.path().join(".fleet~1-0").exists(), "an interrupted write is cleared away");
        assert!(parent.path().join("README").exists(), "what is not ours stays");
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open(parent.path()).unwrap();
        let hello = unit("hello.service");
        let file = File::create(directory.path_of(&hello)).unwrap();
        file.set_len(LONGEST + 1).unwrap();
        directory.read(&hello).unwrap_err();
        file.set_len(LONGEST).unwrap();
        directory.read(&hello).unwrap();
    }
}
