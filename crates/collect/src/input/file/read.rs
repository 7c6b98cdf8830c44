//! What is new in the files that are open.

use std::io;

use super::beginning::read_head;
use super::emit::Emitter;
use super::options::Identity;
use super::scan::TELLING;
use super::system::OpenFile;
use super::tail::{Reached, Tail};
use super::tracked::{Head, Tracked};
use crate::batch::Batch;
use crate::parser::Record;

/// What is read from a file at once. The cost of a read is spread over some hundred lines.
const CHUNK: usize = 128 * 1024;

/// What one file may fill of a batch before the next one has its turn, as a part of the batch: that much where many files
/// have something unread, and more where there are fewer.
const SHARE: usize = 4;

/// And never more than this, so that some of a request is sent while the rest is read.
const MOST_SHARE: usize = 2;

/// What a turn of reading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// There is more that could be read at once.
    pub(super) more: bool,
    /// Something was read.
    pub(super) progress: bool,
    /// A file is not what it was: a scan is due.
    pub(super) scan: bool,
    /// When a parser will give out what it holds.
    pub(super) due: Option<u64>,
    /// The growth of all files that are open will be told.
    pub(super) told: bool,
}

/// How much a batch may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// How reading a file ended for now.
enum End {
    /// The batch is full, or the file's share of it.
    Full,
    /// Nothing more is in it now.
    Quiet,
    /// It is not the file that it was.
    Replaced,
}

impl Tail {
    /// Fills a batch from the files that are open, each in its turn, and gives it a ticket.
    pub(super) fn read(&mut self, now: u64, room: Room, batch: &mut Batch) -> Turn {
        let open = self.open_files();
        let mut turn = Turn::default();
        let mut reached: Reached = Vec::new();
        let count = self.files.len();
        let start = self.turn;
        let timestamp = crate::clock::now();
        let unread = self.files.iter().filter(|file| file.handle.is_some() && file.is_unread()).count();
        let parts = unread.clamp(MOST_SHARE, SHARE);
        let mut buffer = std::mem::take(&mut self.buffer);
        for step in 0..count {
            let index = (start + step) % count;
            if self.files[index].handle.is_none() {
                continue;
            }
            if self.is_copy(index) {
                self.detach(index, now);
                turn.scan = true;
                continue;
            }
            let full = |batch: &Batch| batch.len() >= room.events || batch.size() >= room.bytes;
            if full(batch) {
                turn.more = true;
                self.turn = index;
                break;
            }
            let before = self.files[index].safe_offset();
            let share = Room {
                events: (batch.len() + room.events.div_ceil(parts)).min(room.events),
                bytes: (batch.size() + room.bytes.div_ceil(parts)).min(room.bytes),
            };
            let end = self.read_file(index, now, &timestamp, share, &mut buffer, batch);
            self.settle_file(index, now, end, &mut turn);
            let file = &mut self.files[index];
            if file.safe_offset() != before || file.about.finished.is_some() {
                turn.progress |= file.safe_offset() != before;
                reached.push((std::sync::Arc::clone(&file.shared), file.safe_offset()));
            }
            let due = file.pipeline.due(&self.options.parsers);
            turn.due = turn.due.into_iter().chain(due).min();
        }
        // A buffer is kept only while there is something to read.
        self.buffer = if turn.progress { buffer } else { Vec::new() };
        if !reached.is_empty() {
            batch.tell(self.tracker.ticket(reached));
        }
        self.count_open(open);
        turn
    }

    /// Whether a file that was empty when it was found now begins as another one does: it was met while somebody
    /// copied into it, and the next scan decides what it is.
    fn is_copy(&mut self, index: usize) -> bool {
        let fresh = |file: &Tracked| file.about.head.length == 0 && file.offset == 0 && !file.compressed;
        if !fresh(&self.files[index]) || self.options.identity == Identity::Path {
            return false;
        }
        let (start, length) = (self.options.fingerprint_offset, self.options.fingerprint_length);
        let Some(handle) = &mut self.files[index].handle else { return false };
        let Ok(bytes) = read_head(&mut **handle, start, length) else { return false };
        let mut others = self.files.iter().enumerate().filter(|(other, _)| *other != index);
        others.any(|(_, file)| file.about.head.length >= TELLING && file.about.head.begins(&bytes))
    }

    fn settle_file(&mut self, index: usize, now: u64, end: io::Result<End>, turn: &mut Turn) {
        match end {
            Ok(End::Full) => turn.more = true,
            Ok(End::Quiet) => self.when_quiet(index, now),
            Ok(End::Replaced) => {
                self.detach(index, now);
                turn.scan = true;
            }
            Err(error) => {
                let path = self.files[index].about.path.display().to_string();
                tracing::warn!(path, %error, "a file cannot be read now");
                self.complaint = Some(format!("cannot read {path}: {error}"));
                self.files[index].close(&self.options.parsers);
            }
        }
    }

    /// Reads whole lines from where the file stands.
    fn read_file(
        &mut self,
        index: usize,
        now: u64,
        timestamp: &str,
        room: Room,
        buffer: &mut Vec<u8>,
        batch: &mut Batch,
    ) -> io::Result<End> {
        let file = &mut self.files[index];
        let Some(mut handle) = file.handle.take() else { return Ok(End::Quiet) };
        let mut emitter =
            Emitter::new(&self.stream, &self.options, &file.about, file.epoch, timestamp, batch);
        if file.pipeline.due(&self.options.parsers).is_some_and(|due| due <= now) {
            let mut pipeline = std::mem::replace(&mut file.pipeline, crate::parser::Pipeline::new(&[]));
            pipeline.flush(&self.options.parsers, now, false, &mut |record| emitter.record(record));
            file.pipeline = pipeline;
        }
        let end = Reader { file, options: &self.options, now }.run(&mut *handle, room, buffer, &mut emitter);
        file.handle = Some(handle);
        end
    }

    /// A file without anything new: whether it stays open.
    fn when_quiet(&mut self, index: usize, now: u64) {
        let options = &self.options;
        let file = &mut self.files[index];
        let Some(look) = file.handle.as_ref().and_then(|handle| handle.look().ok()) else { return };
        if file.compressed {
            file.about.finished = Some((file.size, file.offset));
            file.close(&options.parsers);
            file.remember();
            return;
        }
        file.size = look.size;
        file.modified = Some(look.modified);
        // Whoever deletes or renames a file may go on writing for a while, until it is told to open a new one.
        let quiet = now.saturating_sub(file.active);
        let linger = u64::try_from(options.check_interval.as_millis()).unwrap_or(u64::MAX);
        let gone = look.links == 0 && options.close_removed && quiet > linger;
        let renamed = !file.seen && look.links > 0 && options.close_renamed;
        let inactive = u128::from(quiet) > options.close_inactive.as_millis();
        let scarce = look.links > 0 && file.pipeline.held_from().is_none() && self.system.is_scarce();
        if gone && file.pipeline.held_from().is_none() && file.safe_offset() >= look.size {
            file.handle = None;
            file.missing_since = now;
        } else if renamed || inactive || scarce || options.close_eof {
            file.close(&options.parsers);
        }
    }
}

/// Reads one file.
struct Reader<'a> {
    file: &'a mut Tracked,
    options: &'a super::options::Options,
    now: u64,
}

impl Reader<'_> {
    fn run(
        &mut self,
        handle: &mut dyn OpenFile,
        room: Room,
        buffer: &mut Vec<u8>,
        emitter: &mut Emitter<'_>,
    ) -> io::Result<End> {
        let mut wanted = CHUNK;
        loop {
            let size = if self.file.compressed { u64::MAX } else { handle.look()?.size };
            if size < self.file.offset {
                return Ok(End::Replaced);
            }
            if size == self.file.checked {
                return self.at_end(handle, buffer, emitter);
            }
            let length = fill(handle, self.file.offset, wanted, buffer)?;
            if !self.file.compressed && !self.still_fits(handle)? {
                return Ok(End::Replaced);
            }
            let at_end = length < wanted;
            let used = self.lines(&buffer[..length], room, emitter);
            self.file.checked = if used < length && emitter.is_full(room) {
                self.file.offset
            } else {
                self.file.offset + (length - used) as u64
            };
            if used > 0 {
                self.file.active = self.now;
            }
            if emitter.is_full(room) {
                return Ok(End::Full);
            }
            if at_end && (used == 0 || self.file.compressed) {
                return self.at_end(handle, buffer, emitter);
            }
            if used == 0 && !at_end {
                // One line, and its end is farther away.
                wanted = self.longer(&buffer[..length], wanted, emitter);
            }
        }
    }

    /// Gives out the whole lines; says how many bytes they had.
    fn lines(&mut self, bytes: &[u8], room: Room, emitter: &mut Emitter<'_>) -> usize {
        let mut used = 0;
        while !emitter.is_full(room) {
            let Some((content, end)) = self.options.charset.line(&bytes[used..]) else { break };
            if self.file.skipping {
                self.file.skipping = false;
            } else {
                self.line(&bytes[used..used + content], emitter, false);
            }
            used += end;
            self.file.offset += end as u64;
        }
        used
    }

    fn line(&mut self, content: &[u8], emitter: &mut Emitter<'_>, cut: bool) {
        let most = self.options.max_bytes;
        let cut = cut || content.len() > most;
        let content = &content[..content.len().min(most)];
        let offset = self.file.offset;
        if self.options.parsers.is_empty() {
            emitter.line(content, offset, cut);
            return;
        }
        let mut record = Record {
            text: self.options.charset.decode(content).into_owned(),
            start: offset,
            ..Record::default()
        };
        if cut {
            record.flags.push("truncated");
        }
        self.file
            .pipeline
            .push(&self.options.parsers, record, self.now, &mut |record| emitter.record(record));
    }

    /// The chunk holds no end of a line: a larger one is read, up to the longest line; what is longer is cut, and
    /// skipped up to its end.
    fn longer(&mut self, bytes: &[u8], wanted: usize, emitter: &mut Emitter<'_>) -> usize {
        let most = self.options.max_bytes + 4;
        if self.file.skipping || bytes.len() >= most {
            if !self.file.skipping {
                self.line(bytes, emitter, true);
                self.file.skipping = true;
            }
            // An even number: UTF-16 stays aligned.
            self.file.offset += (bytes.len() & !1) as u64;
            return CHUNK;
        }
        (wanted * 4).min(most.max(CHUNK)).next_multiple_of(2)
    }

    /// The end: a line without its end waits for it, unless it can never come.
    fn at_end(
        &mut self,
        handle: &mut dyn OpenFile,
        buffer: &mut Vec<u8>,
        emitter: &mut Emitter<'_>,
    ) -> io::Result<End> {
        let final_end = self.file.compressed || {
            let look = handle.look()?;
            let linger = u64::try_from(self.options.check_interval.as_millis()).unwrap_or(u64::MAX);
            look.links == 0 && self.now.saturating_sub(self.file.active) > linger
        };
        if !final_end {
            return Ok(End::Quiet);
        }
        let rest = usize::try_from(self.file.checked.saturating_sub(self.file.offset)).unwrap_or(CHUNK);
        let wanted = rest.max(buffer.len()).max(CHUNK).min(self.options.max_bytes.max(CHUNK));
        let length = fill(handle, self.file.offset, wanted, buffer)?;
        if length > 0 && !self.file.skipping {
            self.line(&buffer[..length], emitter, false);
        }
        self.file.offset += length as u64;
        self.file.checked = self.file.offset;
        let mut pipeline =
            std::mem::replace(&mut self.file.pipeline, crate::parser::Pipeline::new(&self.options.parsers));
        pipeline.flush(&self.options.parsers, self.now, true, &mut |record| emitter.record(record));
        Ok(End::Quiet)
    }

    /// Whether the file still begins as it did; learns more of its head while that is not whole.
    fn still_fits(&mut self, handle: &mut dyn OpenFile) -> io::Result<bool> {
        let whole = self.options.fingerprint_length;
        let known = self.file.about.head.length;
        let bytes = read_head(handle, self.options.fingerprint_offset, whole)?;
        if !self.file.about.head.begins(&bytes) {
            return Ok(false);
        }
        if bytes.len() > known {
            self.file.about.head = Head::of(&bytes);
            self.file.remember();
        }
        Ok(true)
    }
}

/// Fills the buffer as far as the file goes; says how far that is.
fn fill(handle: &mut dyn OpenFile, offset: u64, wanted: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
    if buffer.len() < wanted {
        buffer.resize(wanted, 0);
    }
    let mut filled = 0;
    while filled < wanted {
        match handle.read_at(offset + filled as u64, &mut buffer[filled..wanted])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
