//! From a message that somebody sent to an event.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::batch::DocumentId;
use crate::clock::timestamp;
use crate::event::Event;
use crate::stream::{OwnFields, Stream};
use crate::syslog::{Message, Settings, fields, written};

/// The fields that these inputs give their events.
pub(super) const OWN_FIELDS: OwnFields =
    OwnFields::Only(&["@timestamp", "error", "event", "host", "log", "message", "process"]);

/// How messages are made events.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// They are syslog messages, to be taken apart.
    pub(super) syslog: Option<Settings>,
}

impl Shape {
    /// An event of a message, or nothing for an empty one.
    pub(super) fn event(
        &self,
        stream: &Stream,
        bytes: &[u8],
        truncated: bool,
        source: &str,
    ) -> Option<Event> {
        if bytes.is_empty() {
            return None;
        }
        let now = OffsetDateTime::now_utc();
        let text = String::from_utf8_lossy(bytes);
        let mut log = Map::new();
        log.insert("source".to_owned(), json!({"address": source}));
        if truncated {
            log.insert("flags".to_owned(), json!(["truncated"]));
        }
        let mut event = stream.event();
        match &self.syslog {
            None => {
                event.set("@timestamp", timestamp(now));
                event.set("message", text.into_owned());
            }
            Some(settings) => match settings.parse(&text, now) {
                Ok(message) => take_apart(&mut event, &mut log, &message, now),
                Err(error) => {
                    event.set("@timestamp", timestamp(now));
                    event.set("error", json!({"message": format!("no syslog: {error}")}));
                    event.set("message", text.into_owned());
                }
            },
        }
        event.set("log", Value::Object(log));
        Some(event)
    }
}

fn take_apart(event: &mut Event, log: &mut Map<String, Value>, message: &Message<'_>, now: OffsetDateTime) {
    event.set("@timestamp", message.timestamp.map_or_else(|| timestamp(now), written));
    event.set("message", message.text);
    log.insert("syslog".to_owned(), Value::Object(fields::log_syslog(message)));
    let mut document = Map::new();
    if let Some(host) = message.hostname {
        document.insert("host".to_owned(), json!({"hostname": host}));
    }
    if let Some(priority) = message.priority {
        document.insert("event".to_owned(), json!({"severity": priority & 7}));
    }
    let mut process = Map::new();
    if let Some(name) = message.appname {
        process.insert("name".to_owned(), json!(name));
    }
    if let Some(pid) = message.procid.and_then(|process| process.parse::<u32>().ok()) {
        process.insert("pid".to_owned(), json!(pid));
    }
    if !process.is_empty() {
        document.insert("process".to_owned(), Value::Object(process));
    }
    event.merge(document);
}

/// Ids of documents for messages that have no place in any source: a message that is sent to the engine again is the
/// same document. They begin with the time, which keeps the engine's look-ups for them cheap.
#[derive(Debug)]
pub(in crate::input) struct Ids {
    start: [u8; 8],
    next: AtomicU64,
}

impl Ids {
    pub(in crate::input) fn new() -> Ids {
        Ids { start: rand::random(), next: AtomicU64::new(0) }
    }

    pub(in crate::input) fn next(&self) -> DocumentId {
        let mut id = [0; 20];
        let seconds = OffsetDateTime::now_utc().unix_timestamp().to_be_bytes();
        // The lower four bytes last until 2106, and only have to grow most of the time.
        id[..4].copy_from_slice(&seconds[4..]);
        id[4..12].copy_from_slice(&self.start);
        id[12..].copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        DocumentId::Stable(id)
    }
}
