//! How many files may be open: the process needs descriptors for other things too, and all streams share them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, getrlimit};

use super::system::{Look, OpenFile};

/// What the process has beside sockets and files: a few for each thing that it does.
const OTHERS: u64 = 32;

/// Files that are open, of all streams.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// Three quarters of the descriptors; the rest is for sockets.
fn most(limit: Option<u64>) -> u64 {
    limit.map_or(u64::MAX, |limit| (limit.saturating_sub(OTHERS) / 4 * 3).max(4))
}

/// How many more may be opened.
pub(super) fn left() -> usize {
    let most = most(getrlimit(Resource::Nofile).current);
    usize::try_from(most.saturating_sub(OPEN.load(Ordering::Relaxed))).unwrap_or(usize::MAX)
}

/// Whether no file should stay open that has nothing to be read, so that others have their turn.
pub(super) fn are_scarce() -> bool {
    let most = most(getrlimit(Resource::Nofile).current);
    OPEN.load(Ordering::Relaxed) > most / 4 * 3
}

/// An open file that is counted.
#[derive(Debug)]
pub(super) struct Counted(File);

impl Counted {
    pub(super) fn new(file: File) -> Counted {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Counted(file)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenFile for Counted {
    fn look(&self) -> io::Result<Look> {
        Ok(Look::of(&self.0.metadata()?))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_left_for_others() {
        assert_eq!([Some(0), Some(64), Some(1024), None].map(most), [4, 24, 744, u64::MAX]);
    }
}
