//! The metricsets `filesystem` and `fsstat`: size and use of what is mounted.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::delta::ratio;
use super::document::Document;
use super::metricset::{Metricset, Pace};
use super::mounts::{self, Mount};
use crate::procfs::root::{ReadError, Root};

/// Size and use of one file system, in bytes and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) total: u64,
    /// What is kept for root included.
    pub(super) free: u64,
    /// What everyone can have.
    pub(super) available: u64,
    pub(super) files: u64,
    pub(super) free_files: u64,
}

impl Usage {
    /// Asks the kernel. May hang for as long as a server of files does.
    pub(super) fn of(path: &Path) -> io::Result<Usage> {
        let statvfs = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(statvfs.f_frsize);
        Ok(Usage {
            total: bytes(statvfs.f_blocks),
            free: bytes(statvfs.f_bfree),
            available: bytes(statvfs.f_bavail),
            files: statvfs.f_files,
            free_files: statvfs.f_ffree,
        })
    }

    fn used(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// As `df` has it: of what everyone could have, not of the whole.
    fn share(&self) -> f64 {
        ratio(self.used(), self.used().saturating_add(self.available))
    }
}

/// Where sizes come from: the kernel, or a test.
pub(super) type Measure = fn(&Path) -> io::Result<Usage>;

/// What `filesystem` and `fsstat` have in common.
#[derive(Debug)]
pub(super) struct Volumes {
    /// Kinds that are left out; none: those without a device.
    ignored: Option<BTreeSet<String>>,
    measure: Measure,
    buffer: Vec<u8>,
}

impl Volumes {
    /// Without file systems of these kinds; none given: without those that have no device, such as `proc`.
    pub(super) fn new(ignored: Vec<String>, measure: Measure) -> Volumes {
        let ignored = (!ignored.is_empty()).then(|| ignored.into_iter().collect());
        Volumes { ignored, measure, buffer: Vec::new() }
    }

    /// A file system that cannot be asked (its server is gone, it was just unmounted) is left out.
    fn all(&mut self, root: &Root) -> Result<Vec<(Mount, Usage)>, ReadError> {
        let nodev;
        let ignored = match &self.ignored {
            Some(ignored) => ignored,
            None => {
                // Read each time: a module that is loaded brings kinds of its own.
                nodev = mounts::without_device(root);
                &nodev
            }
        };
        let mounts = mounts::read(root, ignored, &mut self.buffer)?;
        let usage = |mount: Mount| {
            let usage = (self.measure)(&root.path(&mount.point)).ok()?;
            Some((mount, usage))
        };
        Ok(mounts.into_iter().filter_map(usage).collect())
    }
}

/// `filesystem`: each of them.
#[derive(Debug)]
pub(super) struct FileSystem(pub(super) Volumes);

impl Metricset for FileSystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn pace(&self) -> Pace {
        Pace::MayHang
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        Ok(self.0.all(root)?.iter().map(|(mount, usage)| document(mount, usage)).collect())
    }
}

fn document(mount: &Mount, usage: &Usage) -> Document {
    let mut document = Document::default();
    document.set("system.filesystem.device_name", mount.device.as_str());
    document.set("system.filesystem.mount_point", mount.point.as_str());
    document.set("system.filesystem.type", mount.kind.as_str());
    document.set("system.filesystem.options", mount.options.as_str());
    document.set("system.filesystem.total", usage.total);
    document.set("system.filesystem.free", usage.free);
    document.set("system.filesystem.available", usage.available);
    document.set("system.filesystem.used.bytes", usage.used());
    document.share("system.filesystem.used.pct", usage.share());
    document.set("system.filesystem.files", usage.files);
    document.set("system.filesystem.free_files", usage.free_files);
    document
}

/// `fsstat`: all of them together.
#[derive(Debug)]
pub(super) struct FsStat(pub(super) Volumes);

impl Metricset for FsStat {
    fn name(&self) -> &'static str {
        "fsstat"
    }

    fn pace(&self) -> Pace {
        Pace::MayHang
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        let all = self.0.all(root)?;
        let sum =
            |part: fn(&Usage) -> u64| all.iter().map(|(_, usage)| part(usage)).fold(0, u64::saturating_add);
        let mut document = Document::default();
        document.set("system.fsstat.count", all.len());
        document.set("system.fsstat.total_files", sum(|usage| usage.files));
        document.set("system.fsstat.total_size.total", sum(|usage| usage.total));
        document.set("system.fsstat.total_size.used", sum(Usage::used));
        document.set("system.fsstat.total_size.free", sum(|usage| usage.free));
        Ok(vec![document])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_share_is_more_than_all(total: u64, free: u64, available: u64) {
            let usage = Usage { total, free, available, ..Usage::default() };
            prop_assert!((0.0..=1.0).contains(&usage.share()));
            prop_assert!(usage.used() <= total);
        }
    }
}
