//! The body of a `_bulk` request, and what its answer says.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use crate::batch::Batch;
use crate::event::write_json;

/// One event of a request: which batch, and which in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) batch: usize,
    pub(super) item: usize,
}

/// Writes the body, compressed unless the level is 0. Costs processor time: not for a thread that others wait for.
pub(super) fn body(batches: &[Arc<Batch>], places: &[Place], level: u32) -> io::Result<Vec<u8>> {
    let size: usize = places.iter().map(|place| batches[place.batch].document(place.item).len() + 128).sum();
    if level == 0 {
        let mut plain = Vec::with_capacity(size);
        write(batches, places, &mut plain)?;
        return Ok(plain);
    }
    // Logs shrink to a tenth and less.
    let mut encoder = GzEncoder::new(Vec::with_capacity(size / 8), Compression::new(level));
    write(batches, places, &mut encoder)?;
    encoder.finish()
}

fn write(batches: &[Arc<Batch>], places: &[Place], out: &mut impl Write) -> io::Result<()> {
    // Gathered first: the encoder is called once for many small pieces.
    let mut piece = Vec::with_capacity(64 * 1024);
    for place in places {
        let batch = &batches[place.batch];
        action(batch, place.item, &mut piece);
        piece.extend_from_slice(batch.document(place.item));
        piece.push(b'\n');
        if piece.len() >= 48 * 1024 {
            out.write_all(&piece)?;
            piece.clear();
        }
    }
    out.write_all(&piece)
}

fn action(batch: &Batch, item: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"create\":{\"_index\":");
    write_json(out, batch.destination(item));
    let before = out.len();
    out.extend_from_slice(b",\"_id\":");
    if !batch.id(item).write(out) {
        out.truncate(before);
    }
    if let Some(pipeline) = batch.stream().pipeline() {
        out.extend_from_slice(b",\"pipeline\":");
        write_json(out, pipeline);
    }
    out.extend_from_slice(b"}}\n");
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the engine.
    Done,
    /// It was there already.
    Duplicate,
    /// Not now.
    Later(Refusal),
    /// Not until an operator does something.
    Forbidden(Refusal),
    /// Never.
    Refused(Refusal),
}

/// Why an event was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Refusal {
    #[serde(skip)]
    pub(super) status: u16,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) reason: String,
}

/// What a `_bulk` answer says of each event, in order; `None` when it says that all is done, and nothing of events.
///
/// What is said of each event goes before what is said of all: something on the way may have cut the request short.
pub(super) fn outcomes(answer: &[u8]) -> Result<Option<Vec<Outcome>>, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(answer)?;
    if !answer.errors && answer.items.is_empty() {
        return Ok(None);
    }
    Ok(Some(answer.items.into_iter().map(|Entry(item)| item.outcome()).collect()))
}

#[derive(Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Vec<Entry>,
}

/// `{"create": {...}}`: whatever the key is.
struct Entry(Item);

#[derive(Default, Deserialize)]
struct Item {
    #[serde(default)]
    status: u16,
    #[serde(default)]
    error: Option<Refusal>,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        struct First;
        impl<'de> Visitor<'de> for First {
            type Value = Entry;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a map with one operation")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let mut item = Item::default();
                while map.next_key::<IgnoredAny>()?.is_some() {
                    item = map.next_value()?;
                }
                Ok(Entry(item))
            }
        }
        deserializer.deserialize_map(First)
    }
}

impl Item {
    fn outcome(self) -> Outcome {
        let mut refusal = self.error.unwrap_or_default();
        refusal.status = self.status;
        // An index that is read-only, as engines make it when the disk is full, is mended by them or by people.
        let blocked = refusal.kind == "cluster_block_exception";
        match self.status {
            200..=299 => Outcome::Done,
            409 => Outcome::Duplicate,
            // 0: nothing is said of it.
            0 | 408 | 429 | 500..=599 => Outcome::Later(refusal),
            _ if blocked => Outcome::Later(refusal),
            401 | 403 | 404 => Outcome::Forbidden(refusal),
            _ => Outcome::Refused(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_item_by_item() {
        let answer = br#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"x"}}},{"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}},{"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"bad"}}},{"create":{"status":403,"error":{"type":"security_exception","reason":"no"}}},{"create":{"status":403,"error":{"type":"cluster_block_exception","reason":"ro"}}}]}"#;
        let outcomes = outcomes(answer).unwrap().unwrap();
        assert!(matches!(outcomes[0], Outcome::Done));
        assert!(matches!(outcomes[1], Outcome::Duplicate));
        assert!(matches!(&outcomes[2], Outcome::Later(refusal) if refusal.status == 429));
        assert!(matches!(&outcomes[3], Outcome::Refused(refusal) if refusal.reason == "bad"));
        assert!(matches!(outcomes[4], Outcome::Forbidden(_)));
        assert!(matches!(outcomes[5], Outcome::Later(_)));
    }

    #[test]
    fn a_good_answer_may_say_nothing_of_events() {
        assert_eq!(outcomes(b"{\"took\":3,\"errors\":false}").unwrap(), None);
        assert!(outcomes(b"{\"errors\":false,\"items\":[").is_err());
        assert!(outcomes(b"<html>").is_err());
    }

    #[test]
    fn what_is_said_of_events_goes_before_what_is_said_of_all() {
        let answer = br#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":503}},{"create":{}}]}"#;
        let outcomes = outcomes(answer).unwrap().unwrap();
        assert_eq!(outcomes.len(), 3);
        assert_eq!(outcomes[0], Outcome::Done);
        assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::Later(_))));
    }
}
