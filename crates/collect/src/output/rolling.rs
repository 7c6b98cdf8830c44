//! Files that follow each other, bounded in size and number, with a text in each line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::disk;

/// Where they are, and how large they may become.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) directory: PathBuf,
    /// The newest is `NAME.ndjson`, then `NAME-1.ndjson` and so on.
    pub(super) name: String,
    /// A file of this size is the last but one.
    pub(super) rotate_bytes: u64,
    pub(super) files: usize,
    pub(super) mode: u32,
}

/// The file that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    target: Target,
    file: Option<(File, u64)>,
}

impl Writer {
    pub(super) fn new(target: Target) -> Writer {
        Writer { target, file: None }
    }

    /// Opens the newest file, unless it is open.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.file().map(|_| ())
    }

    fn file(&mut self) -> io::Result<&mut (File, u64)> {
        match &mut self.file {
            Some(open) => Ok(open),
            none => Ok(none.insert(self.target.open()?)),
        }
    }

    /// Writes whole lines and waits for the disk. After an error the file is cut back to what was there before.
    ///
    /// # Errors
    /// The disk is full, or in trouble.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|(_, size)| *size >= self.target.rotate_bytes) {
            self.file = None;
            self.target.rotate()?;
        }
        let (file, size) = self.file()?;
        if let Err(error) = file.write_all(lines).and_then(|()| file.sync_data()) {
            let _ = file.set_len(*size);
            self.file = None;
            return Err(error);
        }
        *size += lines.len() as u64;
        Ok(())
    }
}

impl Target {
    pub(super) fn path(&self, number: usize) -> PathBuf {
        match number {
            0 => self.directory.join(format!("{}.ndjson", self.name)),
            _ => self.directory.join(format!("{}-{number}.ndjson", self.name)),
        }
    }

    fn open(&self) -> io::Result<(File, u64)> {
        // Who may read the files may look for them.
        disk::make_directory(&self.directory, 0o700 | (self.mode & 0o444) | ((self.mode & 0o444) >> 2))?;
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).read(true).mode(self.mode).open(self.path(0))?;
        let mut size = file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        // A crash left half a line: it stays alone on its own, and is written whole again.
        if last != [b'\n'] {
            file.write_all(b"\n")?;
            size += 1;
        }
        Ok((file, size))
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (0..self.files - 1).rev() {
            rename_if_there(&self.path(number), &self.path(number + 1))?;
        }
        Ok(())
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn writer(directory: &Path) -> Writer {
        Writer::new(Target {
            directory: directory.join("made"),
            name: "out".to_owned(),
            rotate_bytes: 1024,
            files: 3,
            mode: 0o640,
        })
    }

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("made");
        let mut writer = writer(root.path());
        for number in 0..5 {
            writer.write(format!("{number}{}\n", "x".repeat(1100)).as_bytes()).unwrap();
        }
        let first = |name: &str| fs::read_to_string(directory.join(name)).unwrap().chars().next().unwrap();
        let names = ["out.ndjson", "out-1.ndjson", "out-2.ndjson"];
        assert_eq!(names.map(first), ['4', '3', '2']);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777 & !0o022;
        assert_eq!(mode(&directory.join("out.ndjson")), 0o640 & !0o022);
        assert_eq!(mode(&directory), 0o750 & !0o022);
    }

    #[test]
    fn half_a_line_of_an_earlier_run_stays_on_its_own() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("made");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("out.ndjson"), "whole\nhal").unwrap();
        writer(root.path()).write(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(directory.join("out.ndjson")).unwrap(), "whole\nhal\nnext\n");
    }
}
