//! One entry of the trail, and where it lies.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::{ContextV7, Uuid};

use super::mask::mask;
use super::shorten::{shorten, size};
use crate::timestamp::Timestamp;

/// The longest text of a field, in bytes.
const MAX_FIELD: usize = 512;
/// Milliseconds stand in the first 48 of an id's 128 bits (RFC 9562, 5.7).
const BITS_BELOW_TIME: u32 = 80;

/// Something that was done, or tried.
#[derive(Clone, Debug, Default)]
pub struct Deed {
    /// What kind of object: `agent-policy`, `user` …
    pub kind: String,
    /// Its id.
    pub object: String,
    /// As it was; nothing if it is new.
    pub before: Option<Value>,
    /// As it is; nothing if it is gone.
    pub after: Option<Value>,
}

/// Who did something, and how that ended.
#[derive(Clone, Debug, Default)]
pub struct Doer {
    /// The user's name.
    pub user: String,
    /// The address.
    pub remote: String,
    /// The status that was answered.
    pub status: u16,
}

/// An entry of the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// A UUID of version 7: later entries have greater ones.
    pub id: String,
    /// When.
    #[serde(rename = "@timestamp")]
    pub timestamp: Timestamp,
    /// Who.
    pub user: String,
    /// From where.
    pub remote: String,
    /// What kind of object.
    pub kind: String,
    /// Which one.
    pub object: String,
    /// The status that was answered: whether it was done.
    pub status: u16,
    /// The object as it was, without secrets, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The object as it is, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Makes ids that grow, also within a millisecond.
#[derive(Debug)]
pub(super) struct Ids(Mutex<ContextV7>);

impl Ids {
    pub(super) fn new() -> Ids {
        Ids(Mutex::new(ContextV7::new()))
    }

    fn next(&self, now: SystemTime) -> Uuid {
        let passed = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let moment = uuid::Timestamp::from_unix(&self.0, passed.as_secs(), passed.subsec_nanos());
        Uuid::new_v7(moment)
    }
}

/// The entries of one request. Together their sides are no larger than `most` bytes: the sides of further ones are
/// only measured.
pub(super) fn entries(
    ids: &Ids,
    doer: &Doer,
    deeds: Vec<Deed>,
    now: SystemTime,
    most: usize,
) -> Vec<AuditEntry> {
    let mut room = most;
    let entry = |deed: Deed| {
        let after = deed.after.as_ref().map(|after| mask(after, deed.before.as_ref()));
        let before = deed.before.as_ref().map(|before| mask(before, None));
        let (before, after) = shorten(before, after);
        AuditEntry {
            id: ids.next(now).to_string(),
            timestamp: Timestamp::of(now),
            user: cut(&doer.user),
            remote: cut(&doer.remote),
            kind: cut(&deed.kind),
            object: cut(&deed.object),
            status: doer.status,
            before: before.map(|side| within(side, &mut room)),
            after: after.map(|side| within(side, &mut room)),
        }
    };
    deeds.into_iter().map(entry).collect()
}

fn within(side: Value, room: &mut usize) -> Value {
    let bytes = size(&side);
    match room.checked_sub(bytes) {
        Some(left) => {
            *room = left;
            side
        }
        None => serde_json::json!({"…": format!("{bytes} bytes: one of too many changes to be kept")}),
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_FIELD)].to_owned()
}

/// The id of an entry's document: its bits turned round, so that a store, which lists in the order of ids, lists
/// the newest first.
pub(super) fn key_of(id: &str) -> Option<String> {
    Uuid::parse_str(id).ok().map(|id| key(id.as_u128()))
}

fn key(id: u128) -> String {
    format!("{:032x}", !id)
}

/// The key in front of all entries of this second and before.
pub(super) fn key_before_end_of(moment: Timestamp) -> String {
    let next_second = millis(moment) + 1000;
    key(next_second << BITS_BELOW_TIME)
}

/// Whether the entry with this key is older than the moment.
pub(super) fn is_older(key: &str, moment: Timestamp) -> bool {
    u128::from_str_radix(key, 16).is_ok_and(|key| !key < millis(moment) << BITS_BELOW_TIME)
}

fn millis(moment: Timestamp) -> u128 {
    u128::from(moment.unix().unsigned_abs()) * 1000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn later_entries_have_greater_ids_and_smaller_keys() {
        let ids = Ids::new();
        let begin = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let times = [0, 0, 0, 1, 1, 999, 1000].map(|millis| begin + Duration::from_millis(millis));
        let ids: Vec<String> = times.iter().map(|time| ids.next(*time).to_string()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let keys: Vec<String> = ids.iter().map(|id| key_of(id).unwrap()).collect();
        assert!(keys.is_sorted_by(|a, b| a > b), "{keys:?}");
        assert!(key_of("x").is_none());

        let (second, next) = (Timestamp::of(begin), Timestamp::of(begin) + Duration::from_secs(1));
        let is_after = |key: &&String| **key > key_before_end_of(second);
        assert_eq!(keys.iter().filter(is_after).count(), 6);
        assert_eq!(keys.iter().filter(|key| is_older(key, next)).count(), 6);
        assert_eq!(keys.iter().filter(|key| is_older(key, second)).count(), 0);
    }

    #[test]
    fn an_entry_is_bounded_in_every_field() {
        let long = "é".repeat(1000);
        let doer = Doer { user: long.clone(), remote: long.clone(), status: 200 };
        let side = serde_json::json!({"text": "x".repeat(10_000)});
        let deed = Deed { kind: long.clone(), object: long, before: Some(side.clone()), after: Some(side) };
        let made = entries(&Ids::new(), &doer, vec![deed; 10], SystemTime::now(), 50_000);
        assert_eq!(made.len(), 10);
        let bytes: usize = made.iter().map(|entry| serde_json::to_vec(entry).unwrap().len()).sum();
        assert!(bytes < 50_000 + 10 * 5 * MAX_FIELD, "{bytes}");
        assert!(made[9].after.as_ref().unwrap()["…"].is_string());
    }
}
