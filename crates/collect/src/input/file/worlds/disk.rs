//! A disk in memory, with what rotation needs: names, nodes, links, open files, numbers that are used again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::notify::{Change, Changes, News, Notices};
use super::super::options::Options;
use super::super::system::{FileSystem, Kind, Look, Node, OpenFile};

/// The one directory that there is.
const DIRECTORY: &str = "/logs";

#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    names: BTreeMap<PathBuf, u64>,
    nodes: BTreeMap<u64, Content>,
    now: u64,
    /// Whoever is told of what happens; the numbers tie the halves of renames.
    changes: Option<Changes>,
    renames: u32,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    modified: u64,
    links: u64,
    open: u64,
}

struct Handle {
    disk: Disk,
    inode: u64,
}

impl Disk {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    pub(super) fn at(&self, now: u64) {
        self.with(|inner| inner.now = now);
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.with(|inner| inner.names.contains_key(path))
    }

    pub(super) fn inode(&self, path: &Path) -> Option<u64> {
        self.with(|inner| inner.names.get(path).copied())
    }

    /// Makes an empty file; its number is the smallest that is free, as on many file systems.
    pub(super) fn create(&self, path: &Path) -> u64 {
        self.with(|inner| {
            let inode = (1..).find(|inode| !inner.nodes.contains_key(inode)).unwrap();
            let content = Content { modified: inner.now, links: 1, ..Content::default() };
            inner.nodes.insert(inode, content);
            inner.names.insert(path.to_owned(), inode);
            inner.tell(Change::File(path.to_owned()));
            inode
        })
    }

    pub(super) fn append(&self, inode: u64, bytes: &[u8]) {
        self.with(|inner| {
            let now = inner.now;
            if let Some(node) = inner.nodes.get_mut(&inode) {
                node.bytes.extend_from_slice(bytes);
                node.modified = now;
            }
        });
    }

    pub(super) fn truncate(&self, inode: u64) {
        self.with(|inner| {
            let now = inner.now;
            let node = inner.nodes.get_mut(&inode).unwrap();
            node.bytes.clear();
            node.modified = now;
        });
    }

    pub(super) fn read(&self, path: &Path) -> Vec<u8> {
        self.with(|inner| inner.nodes[&inner.names[path]].bytes.clone())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) {
        if !self.exists(from) {
            return;
        }
        self.remove(to);
        self.with(|inner| {
            let inode = inner.names.remove(from).unwrap();
            inner.names.insert(to.to_owned(), inode);
            inner.renames += 1;
            let cookie = inner.renames;
            inner.tell(Change::From(from.to_owned(), cookie));
            inner.tell(Change::To(to.to_owned(), cookie));
        });
    }

    pub(super) fn remove(&self, path: &Path) {
        self.with(|inner| {
            if let Some(inode) = inner.names.remove(path) {
                let node = inner.nodes.get_mut(&inode).unwrap();
                node.links -= 1;
                inner.free(inode);
                inner.tell(Change::File(path.to_owned()));
            }
        });
    }

    /// Begins to copy: the copy is there, and empty.
    pub(super) fn begin_copy(&self, to: &Path) -> u64 {
        self.remove(to);
        self.create(to)
    }

    /// From now on a reader is told what happens.
    pub(super) fn tell(&self, options: &Arc<Options>) -> Bell {
        self.with(|inner| inner.changes = Some(Changes::new(Arc::clone(options))));
        Bell(self.clone())
    }

    /// More happened than is told.
    pub(super) fn overflow(&self) {
        self.with(|inner| {
            if let Some(changes) = &mut inner.changes {
                // What was kept by the reader stays; what the kernel had is gone.
                changes.tell(Change::Lost);
            }
        });
    }

    pub(super) fn compress(&self, from: &Path, to: &Path) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.read(from)).unwrap();
        let bytes = encoder.finish().unwrap();
        self.remove(to);
        let inode = self.create(to);
        self.append(inode, &bytes);
        self.remove(from);
    }

    /// A process that writes has the file open.
    pub(super) fn hold(&self, inode: u64) {
        self.with(|inner| inner.nodes.get_mut(&inode).unwrap().open += 1);
    }

    pub(super) fn let_go(&self, inode: u64) {
        self.with(|inner| {
            inner.nodes.get_mut(&inode).unwrap().open -= 1;
            inner.free(inode);
        });
    }
}

/// Tells a reader what happens on the disk.
pub(super) struct Bell(Disk);

impl Bell {
    fn with<T: Default>(&self, work: impl FnOnce(&mut Changes) -> T) -> T {
        self.0.with(|inner| inner.changes.as_mut().map(work).unwrap_or_default())
    }
}

impl Notices for Bell {
    fn begin(&mut self) {
        self.with(Changes::begin);
    }

    fn watch(&mut self, _: &Path) {}

    fn end(&mut self) {}

    fn news(&mut self) -> News {
        self.with(Changes::news)
    }

    fn strays(&mut self) -> Vec<PathBuf> {
        self.with(Changes::strays)
    }

    fn is_settled(&mut self, stray: &Path) -> bool {
        self.with(|changes| changes.is_settled(stray))
    }

    fn keep_stray(&mut self, path: &Path) {
        self.with(|changes| changes.keep_stray(path));
    }

    fn arm(&mut self, _: &[(u64, BorrowedFd<'_>)]) -> bool {
        false
    }

    fn lacking(&self) -> Option<String> {
        None
    }
}

/// Where nothing is told, as on a file system of the network.
pub(super) struct Silence;

impl Notices for Silence {
    fn begin(&mut self) {}

    fn watch(&mut self, _: &Path) {}

    fn end(&mut self) {}

    fn news(&mut self) -> News {
        News::default()
    }

    fn strays(&mut self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn is_settled(&mut self, _: &Path) -> bool {
        false
    }

    fn keep_stray(&mut self, _: &Path) {}

    fn arm(&mut self, _: &[(u64, BorrowedFd<'_>)]) -> bool {
        false
    }

    fn lacking(&self) -> Option<String> {
        None
    }
}

impl Inner {
    fn tell(&mut self, change: Change) {
        if let Some(changes) = &mut self.changes {
            changes.tell(change);
        }
    }

    fn free(&mut self, inode: u64) {
        if self.nodes.get(&inode).is_some_and(|node| node.links == 0 && node.open == 0) {
            self.nodes.remove(&inode);
        }
    }

    fn look(&self, inode: u64) -> io::Result<Look> {
        let node = self.nodes.get(&inode).ok_or(io::ErrorKind::NotFound)?;
        Ok(Look {
            kind: Kind::File,
            node: Node { device: 1, inode },
            size: node.bytes.len() as u64,
            modified: node.modified,
            links: node.links,
        })
    }
}

impl FileSystem for Disk {
    fn time_of_day(&self) -> u64 {
        self.with(|inner| inner.now)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(PathBuf, Kind)>> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        Ok(self
            .with(|inner| inner.names.keys().filter(inside).map(|path| (path.clone(), Kind::File)).collect()))
    }

    fn look(&self, path: &Path, _: bool) -> io::Result<Look> {
        let root = Look {
            kind: Kind::Directory,
            node: Node { device: 1, inode: 0 },
            size: 0,
            modified: 0,
            links: 1,
        };
        self.with(|inner| match inner.names.get(path) {
            Some(inode) => inner.look(*inode),
            None if path == Path::new(DIRECTORY) => Ok(root),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let inode = self.inode(path).ok_or(io::ErrorKind::NotFound)?;
        self.hold(inode);
        Ok(Box::new(Handle { disk: self.clone(), inode }))
    }
}

impl OpenFile for Handle {
    fn look(&self) -> io::Result<Look> {
        self.disk.with(|inner| inner.look(self.inode))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.with(|inner| {
            let bytes = &inner.nodes[&self.inode].bytes;
            let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.disk.let_go(self.inode);
    }
}
