//! A log in files: the newest under its name, older ones beside it as `<name>.1`, `<name>.2` and so on.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The mode of a directory that is made for the log.
const DIRECTORY_MODE: u32 = 0o750;

/// Where log files lie, and when the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The directory. It is made if it is not there.
    pub path: PathBuf,
    /// The name of the newest file.
    pub name: String,
    /// A file that would grow over so many bytes is followed by the next one. One line may be larger.
    pub rotate_every_bytes: u64,
    /// How many are kept beside the newest.
    pub keep_files: u32,
    /// The mode of a new one.
    pub permissions: u32,
    /// A file is followed by the next one at each multiple of this time since 1970, if anything is written then.
    /// `None`: only the size counts.
    pub interval: Option<Duration>,
    /// Whether opening the log begins a new file.
    pub rotate_on_startup: bool,
    /// Whether what the process writes to standard error goes into the file.
    pub redirect_stderr: bool,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory cannot be made.
    #[error("the directory {} cannot be made (logging.files.path)", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be opened.
    #[error("{} cannot be written (logging.files)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A log in files. Each line must be given in one write.
#[derive(Debug)]
pub(super) struct Rotating {
    files: Files,
    newest: Mutex<Newest>,
}

#[derive(Debug)]
struct Newest {
    file: File,
    length: u64,
    /// The number of the interval in which it was begun or written to last.
    period: u64,
}

impl Rotating {
    pub(super) fn open(files: Files) -> Result<Rotating, FilesError> {
        let directory = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&files.path);
        directory.map_err(|source| FilesError::Directory { path: files.path.clone(), source })?;
        let path = files.path.join(&files.name);
        let failed = |source| FilesError::Open { path: path.clone(), source };
        let is_begun = fs::metadata(&path).is_ok_and(|before| before.len() > 0);
        if is_begun && files.rotate_on_startup {
            files.shift().map_err(failed)?;
        }
        let newest = files.begin().map_err(failed)?;
        Ok(Rotating { files, newest: Mutex::new(newest) })
    }

    fn write_line(&self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (added, period) = (line.len() as u64, self.files.period(now));
        let is_full = newest.length.saturating_add(added) > self.files.rotate_every_bytes;
        if newest.length > 0 && (is_full || newest.period != period) {
            match self.files.shift().and_then(|()| self.files.begin()) {
                Ok(next) => *newest = next,
                // Better a file that is too long than no log; it is tried again after as much once more.
                Err(_) => newest.length = 0,
            }
        }
        newest.period = period;
        newest.length += added;
        newest.file.write_all(line)
    }
}

impl Write for &Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_line(line, SystemTime::now()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Files {
    fn newest(&self) -> PathBuf {
        self.path.join(&self.name)
    }

    fn older(&self, number: u32) -> PathBuf {
        self.path.join(format!("{}.{number}", self.name))
    }

    /// The number of the interval that `time` is in.
    fn period(&self, time: SystemTime) -> u64 {
        let interval = self.interval.map_or(0, |interval| interval.as_secs().max(1));
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs().checked_div(interval).unwrap_or(0)
    }

    /// Makes room for a new file: each one gets the next number, the last one goes.
    fn shift(&self) -> io::Result<()> {
        if self.keep_files == 0 {
            return absent_is_fine(fs::remove_file(self.newest()));
        }
        // Renaming the one before the last replaces the last one.
        for number in (1..self.keep_files).rev() {
            absent_is_fine(fs::rename(self.older(number), self.older(number + 1)))?;
        }
        absent_is_fine(fs::rename(self.newest(), self.older(1)))
    }

    /// Opens the newest file, or goes on with it.
    fn begin(&self) -> io::Result<Newest> {
        let path = self.newest();
        let file = match self.options().create_new(true).open(&path) {
            Ok(file) => {
                // The process's mask does not count.
                file.set_permissions(Permissions::from_mode(self.permissions))?;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.options().open(&path)?,
            Err(error) => return Err(error),
        };
        if self.redirect_stderr {
            rustix::stdio::dup2_stderr(&file)?;
        }
        let before = file.metadata()?;
        let length = before.len();
        let begun = if length > 0 { before.modified()? } else { SystemTime::now() };
        Ok(Newest { file, length, period: self.period(begun) })
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.append(true).mode(self.permissions);
        options
    }
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn files(path: &Path) -> Files {
        Files {
            path: path.join("logs"),
            name: "server.log".to_owned(),
            rotate_every_bytes: 10,
            keep_files: 2,
            permissions: 0o640,
            interval: None,
            rotate_on_startup: true,
            redirect_stderr: false,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The files in the directory, with what is in them.
    fn content(files: &Files) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = fs::read_dir(&files.path)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        found.sort_unstable();
        found
    }

    fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_file_that_is_full_is_followed_by_the_next_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let log = Rotating::open(files.clone()).unwrap();
        for line in ["one\n", "two\n", "three\n", "a long line\n", "four\n", "five\n"] {
            log.write_line(line.as_bytes(), at(0)).unwrap();
        }
        let expected =
            [("server.log", "four\nfive\n"), ("server.log.1", "a long line\n"), ("server.log.2", "three\n")];
        assert_eq!(content(&files), named(&expected));
        let mode = fs::metadata(files.newest()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn an_interval_ends_a_file_too() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files { interval: Some(Duration::from_secs(60)), ..files(directory.path()) };
        let log = Rotating::open(files.clone()).unwrap();
        for (line, second) in [("a\n", 0), ("b\n", 59), ("c\n", 60), ("d\n", 500)] {
            log.write_line(line.as_bytes(), at(second)).unwrap();
        }
        let expected = [("server.log", "d\n"), ("server.log.1", "c\n"), ("server.log.2", "a\nb\n")];
        assert_eq!(content(&files), named(&expected));
    }

    #[test]
    fn a_start_begins_a_file_or_goes_on_with_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let write = |files: &Files, line: &str| {
            Rotating::open(files.clone()).unwrap().write_line(line.as_bytes(), SystemTime::now()).unwrap();
        };
        write(&files, "first\n");
        write(&files, "second\n");
        assert_eq!(content(&files), named(&[("server.log", "second\n"), ("server.log.1", "first\n")]));
        let goes_on = Files { rotate_on_startup: false, keep_files: 0, ..files.clone() };
        write(&goes_on, "3\n");
        assert_eq!(content(&files)[0], ("server.log".to_owned(), "second\n3\n".to_owned()));
        write(&goes_on, "the next\n");
        assert_eq!(content(&files)[0], ("server.log".to_owned(), "the next\n".to_owned()));
    }

    #[test]
    fn what_cannot_be_opened_is_told_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("logs"), "a file").unwrap();
        let error = Rotating::open(files(directory.path())).unwrap_err();
        assert!(error.to_string().contains("logging.files.path"), "{error}");
    }
}
