//! All processes, read in one pass.

use std::fmt::Write;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, RawDir, openat};

use crate::procfs::root::{ReadError, Root};
use crate::procfs::stat::Stat;

/// Two metricsets that measure at the same moment share one pass.
const FRESH: Duration = Duration::from_secs(1);

/// More processes than a kernel can have pids for.
const MOST: usize = 1 << 22;

/// The processes of a moment. Its buffers are used again at the next one.
#[derive(Debug, Default)]
pub(in super::super) struct Table {
    root: Option<Root>,
    read_at: Duration,
    entries: Vec<Entry>,
    names: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    stat: Stat,
    name: Range<u32>,
}

impl Table {
    /// Reads the table, unless it was read a moment ago.
    pub(super) fn refresh(&mut self, root: &Root, now: Duration) -> Result<(), ReadError> {
        if self.root.as_ref() == Some(root) && now.saturating_sub(self.read_at) < FRESH {
            return Ok(());
        }
        self.root = None;
        self.clear();
        self.read(root).map_err(|source| ReadError { path: root.path("proc"), source })?;
        self.root = Some(root.clone());
        self.read_at = now;
        Ok(())
    }

    /// The processes with their names, in the order of their pids, as far as the kernel gives them in it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Stat, &[u8])> {
        self.entries.iter().map(|entry| self.named(entry))
    }

    /// The process at a place in that order.
    pub(super) fn get(&self, index: usize) -> Option<(&Stat, &[u8])> {
        self.entries.get(index).map(|entry| self.named(entry))
    }

    fn named<'a>(&'a self, entry: &'a Entry) -> (&'a Stat, &'a [u8]) {
        let name = entry.name.start as usize..entry.name.end as usize;
        (&entry.stat, self.names.get(name).unwrap_or_default())
    }

    fn clear(&mut self) {
        // What a storm of processes needed is given back after it.
        if self.entries.capacity() > 4 * self.entries.len().max(256) {
            self.entries.shrink_to(self.entries.len());
            self.names.shrink_to(self.names.len());
        }
        self.entries.clear();
        self.names.clear();
    }

    fn read(&mut self, root: &Root) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(root.path("proc"), flags, Mode::empty())?;
        let mut space = [MaybeUninit::<u8>::uninit(); 8192];
        let mut entries = RawDir::new(&directory, &mut space);
        let (mut path, mut line) = (String::new(), [0_u8; 1024]);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !name.iter().all(u8::is_ascii_digit) || self.entries.len() >= MOST {
                continue;
            }
            path.clear();
            let written = write!(path, "{}/stat", String::from_utf8_lossy(name));
            if written.is_err() {
                continue;
            }
            // A process may end at any moment: then it is not there.
            let Ok(length) = read_once(&directory, &path, &mut line) else { continue };
            if let Some((stat, name)) = line.get(..length).and_then(Stat::parse) {
                self.add(stat, name);
            }
        }
        Ok(())
    }

    fn add(&mut self, stat: Stat, name: &[u8]) {
        let start = self.names.len();
        self.names.extend_from_slice(name);
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(self.names.len())) else { return };
        self.entries.push(Entry { stat, name: start..end });
    }
}

/// Reads what one read gives: the kernel writes such a file in one go.
fn read_once(directory: impl std::os::fd::AsFd, path: &str, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    let directory: BorrowedFd<'_> = directory.as_fd();
    let file = openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::read(&file, buffer)
}
