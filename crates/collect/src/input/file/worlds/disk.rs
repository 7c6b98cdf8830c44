//! A disk in memory, with what rotation needs: names, nodes, links, open files, numbers that are used again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::system::{FileSystem, Kind, Look, Node, OpenFile};

#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    names: BTreeMap<PathBuf, u64>,
    nodes: BTreeMap<u64, Content>,
    now: u64,
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
        });
    }

    pub(super) fn remove(&self, path: &Path) {
        self.with(|inner| {
            if let Some(inode) = inner.names.remove(path) {
                let node = inner.nodes.get_mut(&inode).unwrap();
                node.links -= 1;
                inner.free(inode);
            }
        });
    }

    pub(super) fn copy(&self, from: &Path, to: &Path) {
        let bytes = self.read(from);
        self.remove(to);
        let inode = self.create(to);
        self.append(inode, &bytes);
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

impl Inner {
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
    fn list(&self, directory: &Path) -> io::Result<Vec<(PathBuf, Kind)>> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        Ok(self
            .with(|inner| inner.names.keys().filter(inside).map(|path| (path.clone(), Kind::File)).collect()))
    }

    fn look(&self, path: &Path, _: bool) -> io::Result<Look> {
        self.with(|inner| inner.look(*inner.names.get(path).ok_or(io::ErrorKind::NotFound)?))
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
