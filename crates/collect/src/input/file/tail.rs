//! The reader of a stream's files: which there are, which is which, what is new in them.
//!
//! It is a state machine over a [`FileSystem`]: it never waits, and time is given to it. [`Tail::scan`] looks for
//! files and decides which of them are known; [`Tail::read`] fills a batch from those that are open.
//!
//! A file is known by what it begins with (its *head*, 1024 bytes unless the policy says otherwise) and by its number
//! on its device. As long as it is shorter than a whole head, its number decides, and the part of the head that is
//! there must still fit: so short files are read at once, and are told from others that begin alike.
//!
//! | what happens | what is seen | what is done |
//! |---|---|---|
//! | renamed | the same node at another path | read on |
//! | renamed to where no pattern looks | an open file without a path, or a closed one found among its siblings | read to its end, closed when quiet |
//! | deleted | an open file with no links | read to its end, closed |
//! | copied and truncated | the node begins otherwise or is shorter; the copy has the known head | goes on in the copy; the node is a new file |
//! | compressed | a `.gz` whose content has the known head | goes on in it where it stood |
//! | node used again | the node begins otherwise | a new file |
//!
//! The head is checked *after* each read: what was read before it still fitted belongs to the file.

use std::collections::HashMap;
use std::sync::Arc;

use super::notify::Notices;
use super::options::Options;
use super::read::Turn;
use super::system::{FileSystem, Node};
use super::tracked::{Shared, Tracked};
use crate::batch::Tracker;
use crate::registry::Positions;
use crate::stream::Stream;

/// How far each file of a batch has been read behind it.
pub(super) type Reached = Vec<(Arc<Shared>, u64)>;

/// The reader of a stream's files.
pub(super) struct Tail {
    pub(super) options: Arc<Options>,
    pub(super) system: Arc<dyn FileSystem>,
    pub(super) stream: Arc<Stream>,
    pub(super) positions: Positions,
    pub(super) notices: Box<dyn Notices>,
    pub(super) tracker: Tracker<Reached>,
    pub(super) files: Vec<Tracked>,
    /// Files that look like a copy of another one: for how many scans they have been left to become clear.
    pub(super) unclear: HashMap<Node, u8>,
    /// When the next scan is due, whatever is told.
    pub(super) next_scan: u64,
    /// When the next scan is due that counts for those that wait for some scans: what is told makes others between.
    pub(super) next_regular: u64,
    /// Until then nothing that is told makes a scan: so large trees in which much happens do not take all time.
    pub(super) rest: u64,
    /// More happened than was told: when that was last.
    pub(super) lost: Option<u64>,
    /// When the paths of open files are looked at next.
    pub(super) next_look: u64,
    /// The time of day when the reader was started, and when it was for the first time.
    pub(super) started: u64,
    pub(super) first_started: u64,
    pub(super) scanned: bool,
    /// The scan that is running has found a new file.
    pub(super) added: bool,
    /// The file that is read first in the next turn.
    pub(super) turn: usize,
    pub(super) buffer: Vec<u8>,
    /// What an operator should know, from the last scan.
    pub(super) complaint: Option<String>,
}

/// The key under which the time of the first start is kept; files have keys of 16 digits.
const FIRST_START: &str = "first_start";

impl Tail {
    /// Takes up what is remembered.
    pub(super) fn new(
        options: Arc<Options>,
        system: Arc<dyn FileSystem>,
        stream: Arc<Stream>,
        positions: Positions,
        notices: Box<dyn Notices>,
    ) -> Tail {
        let now = system.time_of_day();
        let mut files = Vec::new();
        let mut first_started = now;
        let all = positions.all();
        for (key, value) in &all {
            if key == FIRST_START {
                first_started = value.as_u64().unwrap_or(now);
            } else if let Some(tracked) = Tracked::restore(key, value, &positions, &options.parsers) {
                files.push(tracked);
            } else {
                tracing::warn!(key, "a position of a file that means nothing is forgotten");
                positions.remove(key);
            }
        }
        if !all.contains_key(FIRST_START) {
            positions.set(FIRST_START, &now.into());
        }
        let apply = |reached: Reached| {
            for (shared, offset) in reached {
                shared.acknowledge(offset);
            }
        };
        Tail {
            options,
            system,
            stream,
            positions,
            notices,
            tracker: Tracker::new(apply),
            files,
            unclear: HashMap::new(),
            next_scan: 0,
            next_regular: 0,
            rest: 0,
            lost: None,
            next_look: 0,
            started: now,
            first_started,
            scanned: false,
            added: false,
            turn: 0,
            buffer: Vec::new(),
            complaint: None,
        }
    }

    /// How many files are open.
    pub(super) fn open_files(&self) -> usize {
        self.files.iter().filter(|file| file.handle.is_some()).count()
    }

    /// Asks to be told when a file grows that is open; says whether that will be told of all of them. A file that has
    /// grown since it was read makes `turn` go on.
    pub(super) fn arm(&mut self, turn: &mut Turn) {
        let open = self.files.iter().filter_map(|file| Some((file, file.handle.as_ref()?)));
        let mut watched = Vec::new();
        turn.told = true;
        for (file, handle) in open.clone() {
            match handle.descriptor() {
                Some(descriptor) => watched.push((file.about.node.device, descriptor)),
                None => turn.told = false,
            }
        }
        turn.told &= self.notices.arm(&watched);
        let mut grown = open.filter(|(file, handle)| handle.look().is_ok_and(|look| look.size != file.size));
        turn.more = turn.told && grown.next().is_some();
    }

    /// Forgets the file, and that it was ever read.
    pub(super) fn forget(&mut self, index: usize) {
        let file = self.files.swap_remove(index);
        file.shared.forget();
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stream.counters().files_open.sub(self.open_files() as u64);
    }
}
