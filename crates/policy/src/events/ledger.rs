//! What was told last, in compact documents.
//!
//! 256 documents hold what was told of every agent and policy, each of those whose ids fall to it: some 40 KB at
//! 100 000 agents. Only a document of which something changed is written. With it are written the events that follow
//! from the change: they are in the ledger before they are anywhere else.

use std::collections::HashMap;
use std::sync::Arc;

use fleet_store::{
    Collection, Error, Expect, LeaseId, ListRequest, Revision, Store, Typed, Write, WriteError,
};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::event::{Event, EventId};
use crate::agents::Agents;
use crate::status::Status;
use crate::timestamp::Timestamp;

/// `Shard` by its number, and `Head`.
pub static EVENT_LEDGER: Collection = Collection { name: "event-ledger", indexed: &[] };

/// So many shards there are. Never changes: an id falls to one of them for ever.
pub(super) const SHARDS: usize = 256;
/// The id of the [`Head`].
const HEAD: &str = "head";
/// Documents that are read at a time.
const PAGE: usize = 32;

/// What was told last of an agent. The names are short because there are many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// How it was.
    #[serde(rename = "s")]
    pub(super) status: Status,
    /// When it enrolled: another moment is another enrolment.
    #[serde(rename = "e")]
    pub(super) enrolled_at: i64,
    /// The revision of its agent document that was looked at. A keeper that takes over may know an older one at
    /// first, which must not be taken for news.
    #[serde(rename = "a")]
    pub(super) agent_revision: Revision,
    /// The same for its state.
    #[serde(rename = "r")]
    pub(super) state_revision: Revision,
    /// What few agents have.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(super) told: Option<Box<Told>>,
    /// When it is to be looked at again, whatever happens.
    #[serde(skip)]
    pub(super) due: Option<Timestamp>,
}

/// The failures of an agent that were told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    /// Actions, by their revisions, as long as its state names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) actions: Vec<u64>,
    /// The action of an upgrade that failed on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upgrade: Option<String>,
    /// The revision of a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<(Arc<str>, u64)>,
}

/// What was told last of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeenPolicy {
    /// The revision of its document that was looked at. It grows even if the policy is removed and made again.
    #[serde(rename = "d")]
    pub(super) document: Revision,
    /// Its own revision.
    #[serde(rename = "r")]
    pub(super) revision: u64,
}

/// One of the documents.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Shard {
    /// By their ids.
    pub(super) agents: HashMap<Arc<str>, Seen>,
    /// By their ids.
    pub(super) policies: HashMap<String, SeenPolicy>,
    /// What was told when this was written last. It may be written as documents of its own, or not yet.
    pub(super) outbox: Vec<Event>,
    #[serde(skip)]
    pub(super) revision: Revision,
    /// What was told of its agents and policies is not known: they are taken as they are.
    #[serde(skip)]
    pub(super) adopts: bool,
}

/// What holds for all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Until when somebody looked.
    pub(super) watched_until: Timestamp,
    /// Every event up to this one is a document of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<EventId>,
}

/// The ledger as it is in the store.
#[derive(Debug)]
pub(super) struct Ledger {
    shards: Typed<Shard>,
    heads: Typed<Head>,
    pub(super) content: Vec<Shard>,
    /// `None`: nobody has ever looked.
    pub(super) head: Option<Head>,
}

/// The shard that an id falls to (FNV-1a: the same on every machine and in every version).
pub(super) fn shard_of(id: &str) -> usize {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::from((hash ^ (hash >> 32)) as u8)
}

fn name(number: usize) -> String {
    format!("shard-{number:03}")
}

impl Ledger {
    /// What is in the store. The ids of agents that are known are shared with them: there are many.
    pub(super) async fn load(store: &Arc<dyn Store>, agents: &Agents) -> Result<Ledger, Error> {
        let shards: Typed<Shard> = Typed::new(Arc::clone(store), &EVENT_LEDGER);
        let heads: Typed<Head> = Typed::new(Arc::clone(store), &EVENT_LEDGER);
        let head = heads.get(HEAD).await?.map(|found| found.value);
        let fresh = || Shard { adopts: head.is_none(), ..Shard::default() };
        let mut ledger = Ledger { shards, heads, content: (0..SHARDS).map(|_| fresh()).collect(), head };
        let mut request = ListRequest { limit: Some(PAGE), ..ListRequest::prefix("shard-") };
        loop {
            let (listing, next) = ledger.shards.page(request.clone()).await?;
            for malformed in listing.malformed {
                let error = &malformed.error as &dyn std::error::Error;
                warn!(
                    id = malformed.id,
                    error, "what was told of some agents cannot be read: they are taken as they are"
                );
                let unknown = Shard { revision: malformed.revision, adopts: true, ..Shard::default() };
                ledger.place(&malformed.id, unknown);
            }
            for found in listing.values {
                let shared = |(id, seen): (Arc<str>, Seen)| {
                    (agents.get(&id).map_or(id, |agent| Arc::clone(&agent.id)), seen)
                };
                let Shard { agents: known, policies, outbox, .. } = found.value;
                let mut shard = Shard { policies, outbox, revision: found.revision, ..Shard::default() };
                shard.agents = known.into_iter().map(shared).collect();
                shard.adopts = head.is_none();
                ledger.place(&found.id, shard);
            }
            let Some(next) = next else { return Ok(ledger) };
            request.page = Some(next);
        }
    }

    fn place(&mut self, id: &str, shard: Shard) {
        let number = id.strip_prefix("shard-").and_then(|number| number.parse::<usize>().ok());
        if let Some(place) = number.and_then(|number| self.content.get_mut(number)) {
            *place = shard;
        }
    }

    /// What may be missing among the events, oldest first.
    pub(super) fn unwritten(&self) -> Vec<Event> {
        let written = self.head.and_then(|head| head.written);
        let all = self.content.iter().flat_map(|shard| &shard.outbox);
        let mut missing: Vec<Event> = all.filter(|event| Some(event.id) > written).cloned().collect();
        missing.sort_by_key(|event| event.id);
        missing
    }

    /// The newest id that was ever given.
    pub(super) fn last_id(&self) -> Option<EventId> {
        let written = self.head.and_then(|head| head.written);
        self.content.iter().flat_map(|shard| &shard.outbox).map(|event| event.id).max().max(written)
    }

    /// Writes these shards as they are.
    pub(super) async fn write(&mut self, numbers: &[usize], lease: LeaseId) -> Result<(), WriteError> {
        let mut writes: Vec<Write> = Vec::with_capacity(numbers.len());
        for number in numbers {
            let shard = &self.content[*number];
            let expect = match shard.revision {
                Revision::ZERO => Expect::Absent,
                revision => Expect::Revision(revision),
            };
            let write = self.shards.encode(&name(*number), shard, expect, None);
            writes.push(write.map_err(WriteError::NotDone)?);
        }
        let outcomes = self.shards.write_many(writes, Some(lease)).await;
        for (number, outcome) in numbers.iter().zip(outcomes) {
            self.content[*number].revision = outcome?;
        }
        Ok(())
    }

    pub(super) async fn write_head(&mut self, head: Head, lease: LeaseId) -> Result<(), WriteError> {
        self.heads.put(HEAD, &head, Expect::Any, None, Some(lease)).await?;
        self.head = Some(head);
        Ok(())
    }
}
