//! Reading `/proc` and `/sys`, those of this machine or those mounted somewhere else (`system.hostfs`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// No file that is read whole is larger: `/proc/stat` of a machine with 1 024 cores has about 200 KB.
const LARGEST_FILE: u64 = 4 << 20;

/// What a buffer may keep between two measurements; more is given back, for it was needed once.
const KEPT_BUFFER: usize = 64 << 10;

/// A file or directory of the system could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub(crate) struct ReadError {
    /// Which one.
    pub(crate) path: PathBuf,
    /// Why.
    #[source]
    pub(crate) source: io::Error,
}

impl ReadError {
    /// The error with its reason, for a state's message.
    #[must_use]
    pub(crate) fn reason(&self) -> String {
        format!("{self}: {}", self.source)
    }
}

/// The root of the file systems that are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    path: PathBuf,
}

impl Default for Root {
    fn default() -> Root {
        Root { path: PathBuf::from("/") }
    }
}

impl Root {
    /// Another root than `/`: where the host's is mounted in a container.
    #[must_use]
    pub(crate) fn new(path: impl Into<PathBuf>) -> Root {
        Root { path: path.into() }
    }

    /// Whether this is the root of the machine as this process sees it.
    #[must_use]
    pub(crate) fn is_own(&self) -> bool {
        self.path == Path::new("/")
    }

    /// A path under this root; a leading `/` means the root.
    #[must_use]
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.path.join(relative.trim_start_matches('/'))
    }

    /// Reads a file whole into the buffer, whose old content goes.
    ///
    /// # Errors
    /// It cannot be read, or is larger than any such file is.
    pub(crate) fn read(&self, relative: &str, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        let path = self.path(relative);
        buffer.clear();
        buffer.shrink_to(KEPT_BUFFER);
        let read = File::open(&path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(buffer));
        match read {
            Ok(length) if length as u64 > LARGEST_FILE => {
                Err(ReadError { path, source: io::Error::other("it is larger than 4 MiB") })
            }
            Ok(_) => Ok(()),
            Err(source) => Err(ReadError { path, source }),
        }
    }

    /// Reads a small file as a text without the white space around it.
    #[must_use]
    pub(crate) fn line(&self, relative: &str) -> Option<String> {
        let mut buffer = Vec::new();
        self.read(relative, &mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// Reads a file line by line with a buffer that does not grow: some have as many lines as there are connections.
    /// A line that does not fit is left out.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn lines(&self, relative: &str, mut each: impl FnMut(&[u8])) -> Result<(), ReadError> {
        let path = self.path(relative);
        let read = File::open(&path).and_then(|file| split_lines(file, &mut each));
        read.map_err(|source| ReadError { path, source })
    }

    /// The directory whose `net/` files tell of the machine's network: in a container, `/proc/net` of another root
    /// still tells of the reader's own network, that of its first process does not.
    #[must_use]
    pub(crate) fn network(&self) -> &'static str {
        let first = !self.is_own() && File::open(self.path("proc/1/net/dev")).is_ok();
        if first { "proc/1/net" } else { "proc/net" }
    }
}

fn split_lines(mut file: impl Read, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut filled = 0;
    let mut skipping = false;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        let count = match file.read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            if filled > 0 && !skipping {
                each(&buffer[..filled]);
            }
            return Ok(());
        }
        filled += count;
        let mut start = 0;
        while let Some(length) = buffer[start..filled].iter().position(|byte| *byte == b'\n') {
            if !skipping {
                each(&buffer[start..start + length]);
            }
            skipping = false;
            start += length + 1;
        }
        if start == 0 && filled == buffer.len() {
            skipping = true;
            start = filled;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        split_lines(text, &mut |line| lengths.push(line.len())).unwrap();
        lengths
    }

    #[test]
    fn lines_come_whole_and_what_is_no_line_is_left_out() {
        assert_eq!(lines(b"ab\n\ncde"), [2, 0, 3]);
        assert_eq!(lines(b""), [0; 0]);
        let mut long = vec![b'x'; 100_000];
        assert_eq!(lines(&long), [0; 0]);
        long.extend_from_slice(b"\nok\n");
        assert_eq!(lines(&long), [2]);
        let many = b"0123456789\n".repeat(10_000);
        assert_eq!(lines(&many), vec![10; 10_000]);
    }

    #[test]
    fn an_endless_file_is_refused() {
        let error = Root::default().read("dev/zero", &mut Vec::new()).unwrap_err();
        assert_eq!(error.reason(), "cannot read /dev/zero: it is larger than 4 MiB");
    }
}
