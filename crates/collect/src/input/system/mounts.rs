//! What is mounted.

use std::collections::BTreeSet;
use std::path::Path;

use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// More than this is no machine's table of mounts, or nobody wants an event for each at every period.
const MOST: usize = 4096;

/// One line of the table of mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) device: String,
    pub(super) point: String,
    pub(super) kind: String,
    pub(super) options: String,
}

/// Reads the table, without the file systems of these kinds. A device that is mounted several times is there once, by
/// its shortest path.
pub(super) fn read(
    root: &Root,
    ignored: &BTreeSet<String>,
    buffer: &mut Vec<u8>,
) -> Result<Vec<Mount>, ReadError> {
    // Under another root, only its first process tells of the host's mounts; this process has its own.
    if root.is_own() || root.read("proc/1/mounts", buffer).is_err() {
        root.read("proc/self/mounts", buffer)?;
    }
    let wanted = parse(buffer).filter(|mount| !ignored.contains(&mount.kind)).take(MOST);
    Ok(distinct(wanted))
}

/// The kinds of file systems that have no device, as the kernel says.
pub(super) fn without_device(root: &Root) -> BTreeSet<String> {
    let mut buffer = Vec::new();
    if root.read("proc/filesystems", &mut buffer).is_err() {
        return BTreeSet::new();
    }
    let kind = |line: &[u8]| line.strip_prefix(b"nodev\t").map(|kind| text::text(kind.trim_ascii()));
    text::lines(&buffer).filter_map(kind).collect()
}

fn parse(mounts: &[u8]) -> impl Iterator<Item = Mount> {
    text::lines(mounts).filter_map(|line| {
        let mut words = text::words(line);
        let mut next = || words.next().map(unescape);
        Some(Mount { device: next()?, point: next()?, kind: next()?, options: next()? })
    })
}

fn distinct(mounts: impl Iterator<Item = Mount>) -> Vec<Mount> {
    let mut kept: Vec<Mount> = Vec::new();
    for mount in mounts {
        // Only a path names a device: each `tmpfs` is one of its own.
        let is_same = |other: &Mount| {
            let same_device = other.device == mount.device && Path::new(&mount.device).is_absolute();
            same_device || other.point == mount.point
        };
        match kept.iter_mut().find(|other| is_same(other)) {
            // What was mounted later at the same place hides what was there.
            Some(other) if other.point == mount.point => *other = mount,
            Some(other) if mount.point.len() < other.point.len() => *other = mount,
            Some(_) => {}
            None => kept.push(mount),
        }
    }
    kept
}

/// White space and backslashes are written as three octal digits, `\040`.
fn unescape(word: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(table: &str) -> Vec<(String, String)> {
        distinct(parse(table.as_bytes())).into_iter().map(|mount| (mount.device, mount.point)).collect()
    }

    #[test]
    fn a_device_is_there_once_by_its_shortest_path() {
        let table = "/dev/sda1 /var/lib/x ext4 rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /y ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        let expected = [("/dev/sda1", "/"), ("tmpfs", "/run"), ("tmpfs", "/tmp")];
        assert_eq!(points(table), expected.map(|(device, point)| (device.to_owned(), point.to_owned())));
    }

    #[test]
    fn the_upper_of_two_mounts_at_one_place_is_seen() {
        assert_eq!(
            points("/dev/a /x ext4 rw\n/dev/b /x ext4 rw\n"),
            [("/dev/b".to_owned(), "/x".to_owned())]
        );
    }

    #[test]
    fn spaces_are_escaped() {
        assert_eq!(unescape(br"/a\040b\134c\9"), r"/a b\c\9");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            distinct(parse(&bytes));
            unescape(&bytes);
        }
    }
}
