//! What parsers make of entries, and how far the journal is done while they hold some.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::config::merge;
use crate::parser::{Parser, Pipeline, Record};

/// Entries behind the oldest that is held whose cursors are known. When there are more, the position moves in larger
/// steps: after a crash some more are read again.
const CURSORS: usize = 1024;

/// The parsers of one journal.
pub(super) struct Parsed<'a> {
    parsers: &'a [Parser],
    pipeline: Pipeline,
    /// How many entries have come.
    count: u64,
    /// Entries from the oldest that is held on, by number.
    cursors: VecDeque<(u64, Arc<str>)>,
    /// All entries up to this one are done.
    done: Option<Arc<str>>,
}

impl<'a> Parsed<'a> {
    pub(super) fn new(parsers: &'a [Parser]) -> Parsed<'a> {
        let pipeline = Pipeline::new(parsers);
        Parsed { parsers, pipeline, count: 0, cursors: VecDeque::new(), done: None }
    }

    /// Sends an entry's document through; one that is left out (`None`) only moves the position.
    pub(super) fn push(
        &mut self,
        document: Option<Map<String, Value>>,
        cursor: &str,
        now: u64,
        emit: &mut dyn FnMut(Record),
    ) {
        self.count += 1;
        let name: Arc<str> = cursor.into();
        if self.cursors.len() == CURSORS {
            self.cursors.pop_back();
        }
        self.cursors.push_back((self.count, Arc::clone(&name)));
        if let Some(document) = document {
            let record = record(document, self.count, name);
            self.pipeline.push(self.parsers, record, now, emit);
        }
        self.settle();
    }

    /// Gives out what was held long enough.
    pub(super) fn flush(&mut self, now: u64, emit: &mut dyn FnMut(Record)) {
        self.pipeline.flush(self.parsers, now, false, emit);
        self.settle();
    }

    /// When something has been held long enough.
    pub(super) fn due(&self) -> Option<u64> {
        self.pipeline.due(self.parsers)
    }

    /// The last entry that needs not be read again, if that is another one than when this was asked last.
    pub(super) fn take_done(&mut self) -> Option<String> {
        self.done.take().map(|cursor| cursor.to_string())
    }

    fn settle(&mut self) {
        let held = self.pipeline.held_from().unwrap_or(u64::MAX);
        while let Some((_, cursor)) = self.cursors.pop_front_if(|(number, _)| *number < held) {
            self.done = Some(cursor);
        }
    }
}

fn record(mut document: Map<String, Value>, start: u64, name: Arc<str>) -> Record {
    let message = document.remove("message");
    let silent = message.is_none();
    let text = message.and_then(|message| message.as_str().map(str::to_owned)).unwrap_or_default();
    Record { text, start, name: Some(name), fields: document, silent, ..Record::default() }
}

/// The document of what parsers gave out, and what it is called.
pub(super) fn document(mut record: Record) -> (Map<String, Value>, Arc<str>) {
    if !record.flags.is_empty() {
        let there = record.fields.get("log").and_then(|log| log.get("flags")).and_then(Value::as_array);
        let flags = there.into_iter().flatten().cloned().chain(record.flags.iter().map(|flag| json!(flag)));
        let flags: Vec<Value> = flags.collect();
        merge(&mut record.fields, "log".to_owned(), json!({ "flags": flags }));
    }
    if !record.silent {
        record.fields.insert("message".to_owned(), json!(record.text));
    }
    (record.fields, record.name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parsers(list: &Value) -> Vec<Parser> {
        crate::parser::read(&Config::new(json!({ "parsers": list }).as_object().unwrap())).unwrap()
    }

    fn push(parsed: &mut Parsed<'_>, cursor: &str, message: &str) -> Vec<(String, Value)> {
        let mut out = Vec::new();
        let fields = json!({"message": message, "process": {"pid": 1}, "log": {"flags": ["truncated"]}});
        parsed.push(fields.as_object().cloned(), cursor, 0, &mut |record| {
            let (fields, name) = document(record);
            out.push((name.to_string(), Value::Object(fields)));
        });
        out
    }

    #[test]
    fn the_position_stands_before_what_is_held() {
        let parsers = parsers(&json!([{"multiline": {"pattern": "^ ", "match": "after"}}]));
        let mut parsed = Parsed::new(&parsers);
        assert!(push(&mut parsed, "a", "one").is_empty());
        assert_eq!(parsed.take_done(), None);
        assert!(push(&mut parsed, "b", " more").is_empty());
        assert_eq!(parsed.take_done(), None);
        let out = push(&mut parsed, "c", "two");
        assert_eq!(out.len(), 1);
        let (name, event) = &out[0];
        assert_eq!((name.as_str(), &event["message"]), ("a", &json!("one\n more")));
        assert_eq!(event["log"]["flags"], json!(["truncated", "multiline"]));
        assert_eq!(event["process"]["pid"], 1);
        assert_eq!(parsed.take_done().as_deref(), Some("b"));
        parsed.push(None, "d", 0, &mut |_| {});
        assert_eq!(parsed.take_done(), None, "it comes behind what is held");
        let due = parsed.due().unwrap();
        let mut count = 0;
        parsed.flush(due, &mut |_| count += 1);
        assert_eq!((count, parsed.take_done().as_deref()), (1, Some("d")));
    }

    #[test]
    fn however_long_something_is_held_there_is_a_bound() {
        let parsers = parsers(&json!([{"multiline": {"type": "count", "count_lines": 1_000_000}}]));
        let mut parsed = Parsed::new(&parsers);
        for number in 0..5000 {
            push(&mut parsed, &number.to_string(), "x");
        }
        assert_eq!(parsed.cursors.len(), CURSORS);
        parsed.flush(u64::MAX, &mut |_| {});
        assert_eq!(parsed.take_done().as_deref(), Some("4999"));
    }

    #[test]
    fn json_stands_beside_what_the_entry_has() {
        let parsers = parsers(&json!([{"ndjson": {"target": "", "message_key": "msg"}}]));
        let mut parsed = Parsed::new(&parsers);
        let out = push(&mut parsed, "a", r#"{"msg": "hi", "level": "info", "process": "other"}"#);
        let event = &out[0].1;
        assert_eq!((&event["message"], &event["level"]), (&json!("hi"), &json!("info")));
        assert_eq!(event["process"], json!({"pid": 1}), "without overwrite_keys it stays");
    }
}
