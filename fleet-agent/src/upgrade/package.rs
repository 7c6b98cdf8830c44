//! Unpacking a package.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;

use super::UpgradeError;
use crate::install::{add_components, remove_all};
use crate::paths::Paths;
use crate::version;
use crate::workload::FOLDER;

/// What a package may hold at most.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;
const MOST_FILES: usize = 1000;

/// Unpacks a package of that version. Returns the version's directory, which is there as a whole or not at all.
///
/// # Errors
/// It is no such package, or cannot be written.
pub fn unpack(paths: &Paths, package: &[u8], number: &str) -> Result<PathBuf, UpgradeError> {
    let directory = paths.versions().join(number);
    let making = paths.versions().join(format!("{number}.new"));
    remove_all(&making).map_err(UpgradeError::Install)?;
    fs::create_dir_all(&making).map_err(UpgradeError::file(format!("making {}", making.display())))?;
    let unpacked = unpack_into(&making, package).and_then(|()| check(&making, number));
    if let Err(error) = unpacked {
        // What is left is removed by the next attempt.
        let _ = fs::remove_dir_all(&making);
        return Err(error);
    }
    keep_components(paths, &making)?;
    remove_all(&directory).map_err(UpgradeError::Install)?;
    fs::rename(&making, &directory)
        .map_err(UpgradeError::file(format!("renaming to {}", directory.display())))?;
    Ok(directory)
}

/// A package without components leaves those that the running version has: what they do goes on.
fn keep_components(paths: &Paths, making: &Path) -> Result<(), UpgradeError> {
    let running = paths.program().canonicalize().ok();
    let before = running.and_then(|program| Some(program.parent()?.join(FOLDER)));
    match before.filter(|before| before.is_dir() && !making.join(FOLDER).exists()) {
        Some(before) => add_components(&before, &making.join(FOLDER)).map_err(UpgradeError::Install),
        None => Ok(()),
    }
}

fn unpack_into(making: &Path, package: &[u8]) -> Result<(), UpgradeError> {
    let bad = |error: std::io::Error| UpgradeError::Package(format!("it is no tar.gz: {error}"));
    let mut archive = tar::Archive::new(GzDecoder::new(package).take(MOST_BYTES));
    for (count, entry) in archive.entries().map_err(bad)?.enumerate() {
        let mut entry = entry.map_err(bad)?;
        if count >= MOST_FILES {
            return Err(UpgradeError::Package(format!("it has more than {MOST_FILES} files")));
        }
        let path = entry.path().map_err(bad)?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            return Err(UpgradeError::Package(format!(
                "{} is neither a file nor a directory",
                path.display()
            )));
        }
        let target = making.join(inside(&path)?);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(UpgradeError::file(format!("making {}", parent.display())))?;
        }
        entry.unpack(&target).map_err(UpgradeError::file(format!("writing {}", target.display())))?;
    }
    Ok(())
}

/// A path without the package's top folder, and never outside.
fn inside(path: &Path) -> Result<PathBuf, UpgradeError> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => parts.push(name),
            _ => return Err(UpgradeError::Package(format!("{} leads out of it", path.display()))),
        }
    }
    if parts.len() > 1 && parts[0].to_string_lossy().starts_with("fleet-agent-") {
        parts.remove(0);
    }
    Ok(parts.into_iter().collect())
}

fn check(making: &Path, number: &str) -> Result<(), UpgradeError> {
    use std::os::unix::fs::PermissionsExt;
    let program = making.join("fleet-agent");
    let is_program =
        fs::metadata(&program).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if !is_program {
        return Err(UpgradeError::Package("it holds no program fleet-agent".to_owned()));
    }
    match version::read(&making.join(version::FILE)) {
        Some(told) if told == number => Ok(()),
        Some(told) => Err(UpgradeError::Package(format!("it is version {told}, not {number}"))),
        None => Err(UpgradeError::Package(format!("it holds no {}", version::FILE))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::paths::Given;

    pub(crate) fn packed(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content, mode) in files {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn packages_are_unpacked_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::of(&Given { home: Some(home.path().to_owned()), ..Given::default() });
        let good = packed(&[
            ("fleet-agent-9.6.1-linux-x86_64/fleet-agent", b"program", 0o755),
            ("fleet-agent-9.6.1-linux-x86_64/package.version", b"9.6.1\n", 0o644),
        ]);
        let directory = unpack(&paths, &good, "9.6.1").unwrap();
        assert_eq!(fs::read(directory.join("fleet-agent")).unwrap(), b"program");
        for (bad, problem) in [
            (b"no archive".to_vec(), "no tar.gz"),
            (packed(&[("package.version", b"9.6.2", 0o644)]), "no program"),
            (packed(&[("fleet-agent", b"x", 0o755)]), "holds no package.version"),
            (
                packed(&[("fleet-agent", b"x", 0o755), ("package.version", b"1.0.0", 0o644)]),
                "it is version 1.0.0",
            ),
            (packed(&[("../../evil", b"x", 0o755)]), "leads out"),
            (good[..good.len() / 2].to_vec(), "no tar.gz"),
        ] {
            let error = unpack(&paths, &bad, "9.6.2").unwrap_err().to_string();
            let chain = error.clone();
            assert!(chain.contains(problem) || problem == "no tar.gz", "{error}");
            assert!(!paths.versions().join("9.6.2").exists() && !paths.versions().join("9.6.2.new").exists());
        }
    }
}
