//! Sets of units that may be larger than one document.
//!
//! What a machine is to run, and the global units, are sets: a *head* document holds the units or, when they are
//! too many for one document, names the *parts* that hold them. A part's id is made of the head's and of the
//! hash of what it holds, so that a part never changes: the writer first writes new parts, then the head, and
//! then removes what the head names no longer. So a head is always whole, one write takes everybody from one set
//! to the next, and a change of one unit costs one part. A reader that finds a part missing has been overtaken
//! by the next head: it reads again. It never makes anything of half a set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use fleet_store::contract::MAX_BODY;
use fleet_store::{Error, ErrorKind, Typed};
use fleet_unit::UnitName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::documents::UnitSet;
use crate::follow::Source;

/// A set that is split is so into parts of about this share of the largest document: a change of one unit writes
/// one of them.
const PART_SHARE: usize = 4;
/// The most parts that a set may have: the head, which names them, must stay small.
const PARTS_MAX: usize = 4096;

/// A document that stands for a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Raw<U>", bound(deserialize = "U: Deserialize<'de>"))]
pub enum Head<U> {
    /// The set itself; also what a part is.
    Whole(UnitSet<U>),
    /// Where it is.
    Split {
        /// The last part of the ids of its parts, see [`part_id`].
        parts: BTreeSet<String>,
    },
}

/// A head before it is known which kind it is.
#[derive(Deserialize)]
#[serde(bound(deserialize = "U: Deserialize<'de>"))]
struct Raw<U> {
    units: Option<BTreeMap<UnitName, U>>,
    parts: Option<BTreeSet<String>>,
}

/// A document is no head.
#[derive(Debug, thiserror::Error)]
#[error("it has neither units nor the names of parts, or both")]
struct NoHead;

impl<U> TryFrom<Raw<U>> for Head<U> {
    type Error = NoHead;

    fn try_from(raw: Raw<U>) -> Result<Head<U>, NoHead> {
        match (raw.units, raw.parts) {
            (Some(units), None) => Ok(Head::Whole(UnitSet { units })),
            (None, Some(parts)) if !parts.is_empty() => Ok(Head::Split { parts }),
            _ => Err(NoHead),
        }
    }
}

/// The id of a part of a set. Ids of sets hold no slash.
pub fn part_id(set: &str, part: &str) -> String {
    format!("{set}/{part}")
}

/// The set that a part with this id belongs to; `None`: this is no part's id.
pub fn set_of_part(id: &str) -> Option<&str> {
    id.split_once('/').map(|(set, _)| set)
}

/// A set as it is written: its head, and the JSON text of each part that the head names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The head's JSON text.
    pub head: Vec<u8>,
    /// By id.
    pub parts: BTreeMap<String, Vec<u8>>,
}

/// Encodes a set in documents of at most `limit` bytes. It is split only if it must be.
///
/// # Errors
/// [`ErrorKind::Invalid`]: one unit alone is too large for a document, or there are too many.
pub fn encode<U: Clone + Serialize>(id: &str, set: &UnitSet<U>, limit: usize) -> Result<Encoded, Error> {
    let limit = limit.min(MAX_BODY);
    let whole = json(id, set)?;
    if whole.len() <= limit {
        return Ok(Encoded { head: whole, parts: BTreeMap::new() });
    }
    // A power of two, so that a set that grows is divided anew seldom.
    let mut count = whole.len().div_ceil((limit / PART_SHARE).max(1)).next_power_of_two();
    while count <= PARTS_MAX {
        if let Some(parts) = split(id, set, count, limit)? {
            let names = parts.keys().filter_map(|part| Some(part.split_once('/')?.1.to_owned())).collect();
            let head = json(id, &Head::<U>::Split { parts: names })?;
            return Ok(Encoded { head, parts });
        }
        count *= 2;
    }
    let message = format!("split {id}: {} bytes do not fit into {PARTS_MAX} documents", whole.len());
    Err(Error::new(ErrorKind::Invalid, message))
}

/// Divides a set by the hashes of the units' names, so that a unit that comes or goes moves no other. `None`: a
/// part is too large.
fn split<U: Clone + Serialize>(
    id: &str,
    set: &UnitSet<U>,
    count: usize,
    limit: usize,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, Error> {
    let mut shares: BTreeMap<usize, UnitSet<U>> = BTreeMap::new();
    for (name, unit) in &set.units {
        let share = shares.entry(share_of(name, count)).or_default();
        share.units.insert(name.clone(), unit.clone());
    }
    let mut parts = BTreeMap::new();
    for share in shares.values() {
        let body = json(id, share)?;
        if body.len() > limit {
            return Ok(None);
        }
        parts.insert(part_id(id, &hash(&body)), body);
    }
    Ok(Some(parts))
}

fn share_of(name: &UnitName, count: usize) -> usize {
    let digest = Sha1::digest(name.as_str().as_bytes());
    let number = digest.iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte));
    number % count
}

fn hash(body: &[u8]) -> String {
    Sha1::digest(body).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn json<T: Serialize>(id: &str, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value)
        .map_err(|error| Error::caused_by(ErrorKind::Invalid, format!("encode {id}"), error))
}

/// Puts a set together from its head and the documents that the head names; `part` finds them. `None`: not all
/// of them are there.
pub fn assemble<U>(head: Head<U>, mut part: impl FnMut(&str) -> Option<UnitSet<U>>) -> Option<UnitSet<U>> {
    match head {
        Head::Whole(set) => Some(set),
        Head::Split { parts } => {
            let mut whole = UnitSet::default();
            for name in &parts {
                whole.units.extend(part(name)?.units);
            }
            // What is split is never empty.
            (!whole.units.is_empty()).then_some(whole)
        }
    }
}

/// The sets of one collection, for those who follow one of them.
#[derive(Debug)]
pub struct Sets<U> {
    heads: Typed<Head<U>>,
}

impl<U: Serialize + DeserializeOwned> Sets<U> {
    /// Of these documents.
    pub fn new(heads: Typed<Head<U>>) -> Sets<U> {
        Sets { heads }
    }
}

impl<U> Source for Sets<U>
where
    U: Serialize + DeserializeOwned + PartialEq + Send + Sync + 'static,
{
    type Document = Head<U>;
    type Value = UnitSet<U>;

    fn documents(&self) -> &Typed<Head<U>> {
        &self.heads
    }

    async fn complete(&self, id: &str, head: Head<U>) -> Result<UnitSet<U>, Error> {
        let names: Vec<String> = match &head {
            Head::Whole(_) => Vec::new(),
            Head::Split { parts } => parts.iter().cloned().collect(),
        };
        let mut found = BTreeMap::new();
        if !names.is_empty() {
            let ids: Vec<String> = names.iter().map(|name| part_id(id, name)).collect();
            for (name, document) in names.iter().zip(self.heads.get_many(&ids).await?) {
                if let Some(Head::Whole(part)) = document.map(|versioned| versioned.value) {
                    found.insert(name.clone(), part);
                }
            }
        }
        assemble(head, |name| found.remove(name)).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, format!("read {id}: some of its parts are not there any more"))
        })
    }
}
