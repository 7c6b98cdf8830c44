//! One file that is, was or will be read.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::system::{Look, Node, OpenFile};
use crate::parser::{Parser, Pipeline};
use crate::registry::Positions;

/// What a file begins with: tells it from others, and from what stood there before it was truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Head {
    /// How many bytes.
    pub(super) length: usize,
    hash: [u8; 16],
}

impl Head {
    pub(super) fn of(bytes: &[u8]) -> Head {
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..16]);
        Head { length: bytes.len(), hash }
    }

    /// Whether a file that begins with these bytes may be the one.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.length).is_some_and(|bytes| Head::of(bytes) == *self)
    }

    fn hex(&self) -> String {
        hex::encode(self.hash)
    }

    fn parse(length: usize, text: &str) -> Option<Head> {
        let mut hash = [0; 16];
        hex::decode_to_slice(text, &mut hash).ok()?;
        Some(Head { length, hash })
    }
}

/// What is remembered of a file over restarts, beside how far it has been read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct About {
    pub(super) path: PathBuf,
    pub(super) node: Node,
    pub(super) head: Head,
    /// A compressed file's size on disk when it had been read to its end, and how long its content was.
    pub(super) finished: Option<(u64, u64)>,
}

/// The part of a tracked file that acknowledgements touch, from whichever task they come.
#[derive(Debug)]
pub(super) struct Shared {
    key: String,
    about: Mutex<About>,
    acknowledged: AtomicU64,
    forgotten: AtomicBool,
    positions: Positions,
}

impl Shared {
    /// Everything before this offset is where it belongs.
    pub(super) fn acknowledge(&self, offset: u64) {
        self.acknowledged.store(offset, Ordering::Relaxed);
        self.write();
    }

    fn write(&self) {
        if self.forgotten.load(Ordering::Relaxed) {
            return;
        }
        let about = self.about.lock().unwrap_or_else(PoisonError::into_inner);
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        // Read to its end is not yet acknowledged to its end.
        let finished = about.finished.filter(|(_, end)| acknowledged >= *end).map(|(size, _)| size);
        let value = json!({
            "path": about.path.to_string_lossy(),
            "device": about.node.device,
            "inode": about.node.inode,
            "head_length": about.head.length,
            "head": about.head.hex(),
            "finished": finished,
            "offset": acknowledged,
        });
        self.positions.set(&self.key, &value);
    }

    pub(super) fn forget(&self) {
        self.forgotten.store(true, Ordering::Relaxed);
        self.positions.remove(&self.key);
    }

    fn update(&self, about: &About) {
        about.clone_into(&mut self.about.lock().unwrap_or_else(PoisonError::into_inner));
        self.write();
    }
}

/// A file, with how far it has been read.
pub(super) struct Tracked {
    pub(super) shared: Arc<Shared>,
    pub(super) about: About,
    /// Made anew whenever the file's content is another one: part of the ids of its documents.
    pub(super) epoch: u64,
    /// Lines before this have been read.
    pub(super) offset: u64,
    /// Up to here there is no whole line more.
    pub(super) checked: u64,
    pub(super) handle: Option<Box<dyn OpenFile>>,
    pub(super) compressed: bool,
    /// Opened although nothing is unread in it: somebody may still write into it where no pattern finds it.
    pub(super) wanted: bool,
    /// As it was when it was looked at last; `None`: not since the start.
    pub(super) size: u64,
    pub(super) modified: Option<u64>,
    /// Found by the scan that is running, or was last.
    pub(super) seen: bool,
    /// Scans since it was seen last, and when it was missed first.
    pub(super) missed: u32,
    pub(super) missing_since: u64,
    /// What its node holds now is another content.
    pub(super) detached: bool,
    /// Inside a line that is longer than any may be.
    pub(super) skipping: bool,
    pub(super) pipeline: Pipeline,
    /// When something was read last.
    pub(super) active: u64,
}

impl Tracked {
    /// A file that is met for the first time.
    pub(super) fn new(
        about: About,
        look: &Look,
        positions: &Positions,
        parsers: &[Parser],
        now: u64,
    ) -> Tracked {
        let epoch: u64 = rand::random();
        let mut tracked = Tracked::build(epoch, about, 0, positions, parsers);
        tracked.size = look.size;
        tracked.modified = Some(look.modified);
        tracked.seen = true;
        tracked.active = now;
        tracked
    }

    /// A file that is known from before a restart.
    pub(super) fn restore(
        key: &str,
        value: &Value,
        positions: &Positions,
        parsers: &[Parser],
    ) -> Option<Tracked> {
        let epoch = u64::from_str_radix(key, 16).ok()?;
        let number = |name: &str| value.get(name)?.as_u64();
        let about = About {
            path: value.get("path")?.as_str()?.into(),
            node: Node { device: number("device")?, inode: number("inode")? },
            head: Head::parse(usize::try_from(number("head_length")?).ok()?, value.get("head")?.as_str()?)?,
            finished: number("finished").zip(number("offset")),
        };
        Some(Tracked::build(epoch, about, number("offset")?, positions, parsers))
    }

    fn build(epoch: u64, about: About, offset: u64, positions: &Positions, parsers: &[Parser]) -> Tracked {
        let shared = Shared {
            key: format!("{epoch:016x}"),
            about: Mutex::new(about.clone()),
            acknowledged: AtomicU64::new(offset),
            forgotten: AtomicBool::new(false),
            positions: positions.clone(),
        };
        let compressed = about.path.extension().is_some_and(|extension| extension == "gz");
        Tracked {
            shared: Arc::new(shared),
            about,
            epoch,
            offset,
            checked: offset,
            handle: None,
            compressed,
            wanted: false,
            size: 0,
            modified: None,
            seen: false,
            missed: 0,
            missing_since: 0,
            detached: false,
            skipping: false,
            pipeline: Pipeline::new(parsers),
            active: 0,
        }
    }

    /// Begins behind what is there already.
    pub(super) fn skip_to(&mut self, offset: u64) {
        self.offset = offset;
        self.checked = offset;
        self.shared.acknowledge(offset);
    }

    /// Remembers what has changed about it.
    pub(super) fn remember(&self) {
        self.shared.update(&self.about);
    }

    /// From where it would be read again: lines that a parser still holds are not done.
    pub(super) fn safe_offset(&self) -> u64 {
        self.pipeline.held_from().map_or(self.offset, |held| held.min(self.offset))
    }

    /// Whether it may hold something that has not been read.
    pub(super) fn is_unread(&self) -> bool {
        if self.compressed {
            self.about.finished.map(|(size, _)| size) != Some(self.size)
        } else {
            self.size > self.checked
        }
    }

    /// What is read from the file from now on is read from its last safe line on.
    pub(super) fn close(&mut self, parsers: &[Parser]) {
        self.handle = None;
        self.offset = self.safe_offset();
        self.checked = self.offset;
        self.pipeline = Pipeline::new(parsers);
    }
}
