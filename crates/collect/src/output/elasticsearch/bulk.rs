//! What the answer of `_bulk` says.

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

/// One event of a request: which batch, and which in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) batch: usize,
    pub(super) item: usize,
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
