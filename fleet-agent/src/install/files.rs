//! Files of an installation.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{InstallError, Record};
use crate::paths::Paths;
use crate::state::{passable_directory, read_kept_unlinked, secure_directory};
use crate::version;
use crate::workload::FOLDER;

/// More than any file has that says something of an installation, in bytes.
const LARGEST: u64 = 64 * 1024;

/// Reads a small file of an agent's home, which may be what its user put there.
///
/// # Errors
/// Those of [`read_kept_unlinked`].
pub(super) fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    read_kept_unlinked(path, LARGEST)
}

/// Puts a program into the home as a version of its own. Returns the version's directory.
///
/// # Errors
/// A file cannot be copied.
pub fn add_version(paths: &Paths, program: &Path, number: &str) -> Result<PathBuf, InstallError> {
    let directory = paths.versions().join(number);
    let making = paths.versions().join(format!("{number}.new"));
    remove_all(&making)?;
    fs::create_dir_all(&making).map_err(InstallError::file("making", &making))?;
    let copy = making.join("fleet-agent");
    fs::copy(program, &copy).map_err(InstallError::file("copying to", &copy))?;
    fs::set_permissions(&copy, Permissions::from_mode(0o755))
        .map_err(InstallError::file("changing", &copy))?;
    if let Some(beside) = program.parent().map(|folder| folder.join(FOLDER)).filter(|folder| folder.is_dir())
    {
        add_components(&beside, &making.join(FOLDER))?;
    }
    let file = making.join(version::FILE);
    fs::write(&file, format!("{number}\n")).map_err(InstallError::file("writing", &file))?;
    remove_all(&directory)?;
    fs::rename(&making, &directory).map_err(InstallError::file("renaming to", &directory))?;
    Ok(directory)
}

/// Copies a folder of components: files alone, which nobody but their owner can write. Links are not followed: the folder
/// may be that of an agent's user, who must not have root read for him.
///
/// # Errors
/// A file cannot be copied.
pub fn add_components(from: &Path, to: &Path) -> Result<(), InstallError> {
    fs::create_dir_all(to).map_err(InstallError::file("making", to))?;
    for entry in fs::read_dir(from).map_err(InstallError::file("reading", from))? {
        let source = entry.map_err(InstallError::file("reading", from))?.path();
        let copy = to.join(source.file_name().unwrap_or_default());
        let mode = match fs::symlink_metadata(&source) {
            Ok(file) if file.is_file() => file.permissions().mode() & 0o755,
            _ => continue,
        };
        fs::copy(&source, &copy).map_err(InstallError::file("copying to", &copy))?;
        fs::set_permissions(&copy, Permissions::from_mode(mode))
            .map_err(InstallError::file("changing", &copy))?;
    }
    Ok(())
}

/// Makes a link point elsewhere in one step.
///
/// # Errors
/// It cannot be made.
pub fn turn_link(link: &Path, target: &Path) -> Result<(), InstallError> {
    let mut name = link.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = link.with_file_name(name);
    // One may lie there from an attempt that was cut off.
    let _ = fs::remove_file(&beside);
    symlink(target, &beside).map_err(InstallError::file("making", &beside))?;
    fs::rename(&beside, link).map_err(InstallError::file("renaming to", link))
}

/// Makes the directory of what an agent keeps, for its user alone. The group of one that was installed without
/// privileges may pass through it, to the control socket. Returns whether that is so.
///
/// # Errors
/// It cannot be made, or its rights cannot be changed.
pub fn secure_data(paths: &Paths) -> std::io::Result<bool> {
    let is_for_group = Record::read(&paths.home).is_some_and(|record| record.is_unprivileged());
    if is_for_group {
        passable_directory(&paths.data)?;
    } else {
        secure_directory(&paths.data)?;
    }
    Ok(is_for_group)
}

/// Removes a file or a directory with all in it, if it is there.
///
/// # Errors
/// Something is left.
pub fn remove_all(path: &Path) -> Result<(), InstallError> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Ok(file) if file.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    removed.map_err(InstallError::file("removing", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Given;

    #[test]
    fn a_version_is_put_in_and_the_link_turned() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::of(&Given { home: Some(home.path().to_owned()), ..Given::default() });
        let program = home.path().join("program");
        fs::write(&program, "one").unwrap();
        fs::create_dir(home.path().join("components")).unwrap();
        fs::write(home.path().join("components/x.spec.yml"), "x").unwrap();
        let one = add_version(&paths, &program, "9.6.0").unwrap();
        assert_eq!(fs::read(one.join("components/x.spec.yml")).unwrap(), b"x");
        turn_link(&paths.program(), &one.join("fleet-agent")).unwrap();
        fs::write(&program, "two").unwrap();
        let two = add_version(&paths, &program, "9.6.1").unwrap();
        turn_link(&paths.program(), &two.join("fleet-agent")).unwrap();
        assert_eq!(fs::read(paths.program()).unwrap(), b"two");
        assert_eq!(version::read(&one.join(version::FILE)).as_deref(), Some("9.6.0"));
        remove_all(&paths.versions()).unwrap();
        remove_all(&paths.versions()).unwrap();
        assert!(!one.exists());
    }
}
