//! From lines to events.

use serde_json::{Map, Value, json};

use super::options::Options;
use super::tracked::About;
use crate::batch::{Batch, DocumentId};
use crate::event::{FieldPath, write_json};
use crate::parser::Record;
use crate::stream::Stream;

use super::read::Room;

/// Writes the lines of one file into a batch.
pub(super) struct Emitter<'a> {
    stream: &'a Stream,
    options: &'a Options,
    /// `log.file` of all its events.
    file: Value,
    epoch: u64,
    timestamp: &'a str,
    batch: &'a mut Batch,
    /// What stands before a line's offset and is the same for all lines of the file.
    before: Vec<u8>,
    bytes: u64,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        stream: &'a Stream,
        options: &'a Options,
        about: &About,
        epoch: u64,
        timestamp: &'a str,
        batch: &'a mut Batch,
    ) -> Emitter<'a> {
        let file = file_fields(about);
        let mut before = Vec::new();
        if stream.is_plain() {
            before.extend_from_slice(b",\"@timestamp\":\"");
            before.extend_from_slice(timestamp.as_bytes());
            before.extend_from_slice(b"\",\"log\":{\"file\":");
            write_json(&mut before, &file);
            before.extend_from_slice(b",\"offset\":");
        }
        Emitter { stream, options, file, epoch, timestamp, batch, before, bytes: 0 }
    }

    pub(super) fn is_full(&self, room: Room) -> bool {
        self.batch.len() >= room.events || self.batch.size() >= room.bytes
    }

    /// A line as it is in the file.
    pub(super) fn line(&mut self, content: &[u8], offset: u64, cut: bool) {
        self.bytes += content.len() as u64 + 1;
        let text = self.options.charset.decode(content);
        if !self.wanted(&text) {
            return;
        }
        if cut || !self.stream.is_plain() {
            let flags = if cut { vec!["truncated"] } else { Vec::new() };
            self.event(text.into_owned(), offset, &flags, Map::new(), false);
            return;
        }
        let id = self.id(offset, text.as_bytes());
        let Emitter { stream, batch, before, .. } = self;
        stream.push_plain(batch, id, |out| {
            out.extend_from_slice(before);
            write_json(out, &offset);
            out.extend_from_slice(b"},\"message\":");
            write_json(out, &*text);
        });
    }

    /// What parsers have made of lines.
    pub(super) fn record(&mut self, record: Record) {
        self.bytes += record.text.len() as u64 + 1;
        if self.wanted(&record.text) {
            self.event(record.text, record.start, &record.flags, record.fields, record.silent);
        }
    }

    fn wanted(&self, text: &str) -> bool {
        let Options { include_lines, exclude_lines, .. } = self.options;
        (include_lines.is_empty() || include_lines.iter().any(|pattern| pattern.is_match(text)))
            && !exclude_lines.iter().any(|pattern| pattern.is_match(text))
    }

    fn event(&mut self, text: String, offset: u64, flags: &[&str], fields: Map<String, Value>, silent: bool) {
        let id = self.id(offset, text.as_bytes());
        let mut event = self.stream.event();
        event.set("@timestamp", self.timestamp);
        let mut log = json!({"file": self.file, "offset": offset});
        if !flags.is_empty() {
            log["flags"] = json!(flags);
        }
        event.set("log", log);
        if !silent {
            event.put(&FieldPath::top("message".to_owned()), Value::String(text));
        }
        event.merge(fields);
        self.stream.push(self.batch, event, id);
    }

    /// The same for the same line at the same place, and for no other: the file's content by its epoch, the place in
    /// it, and a checksum of the line for what neither could see.
    fn id(&self, offset: u64, text: &[u8]) -> DocumentId {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&self.epoch.to_be_bytes());
        id[8..16].copy_from_slice(&offset.to_be_bytes());
        id[16..].copy_from_slice(&crc32fast::hash(text).to_be_bytes());
        DocumentId::Stable(id)
    }
}

impl Drop for Emitter<'_> {
    fn drop(&mut self) {
        self.stream.counters().bytes_read.add(self.bytes);
    }
}

fn file_fields(about: &About) -> Value {
    json!({
        "path": about.path.to_string_lossy(),
        "device_id": about.node.device.to_string(),
        "inode": about.node.inode.to_string(),
    })
}
