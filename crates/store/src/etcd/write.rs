//! Writes: one transaction for one, nested transactions for many.

use std::collections::HashMap;

use etcd_client::proto::{PbResponseOp, PbTxnOpResponse};
use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp};
use futures_util::stream::{self, StreamExt};

use super::failure::{Failure, What};
use super::session::Effect;
use super::{Etcd, from_revision, to_revision};
use crate::check;
use crate::contract::{Action, Collection, Expect, LeaseId, Revision, Write};
use crate::error::{Error, ErrorKind, WriteError};

/// etcd's default bound of operations in a transaction; what a nested one uses counts on top of its parent's.
const MAX_OPERATIONS: usize = 128;

/// The bytes of one batch: below etcd's default bound of 1.5 MiB for a request.
const MAX_BATCH_BYTES: usize = 1_400_000;

/// How many batches are under way at once.
const BATCHES: usize = 4;

/// The outcome of one write.
type Outcome = Result<Revision, WriteError>;

/// One write with its conditions, and what tells afterwards which of them failed.
struct Conditional {
    compares: Vec<Compare>,
    action: TxnOp,
    /// The document first, then the leases.
    lookups: Vec<TxnOp>,
}

impl Conditional {
    fn into_txn(self) -> Txn {
        Txn::new().when(self.compares).and_then(vec![self.action]).or_else(self.lookups)
    }
}

impl Etcd {
    pub(super) async fn write_one(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Outcome {
        check::write(collection, &write).map_err(WriteError::NotDone)?;
        let response = self.session.call(Effect::Once, || {
            let (mut kv, txn) =
                (self.session.kv(), self.conditional(collection, &write, while_held).into_txn());
            async move { kv.txn(txn).await }
        });
        let of = || format!("write {}/{}", collection.name, write.id);
        let response = response.await.map_err(|failure| failure.into_write_error(of()))?.0;
        let revision = response.header.map_or(0, |header| header.revision);
        outcome(response.succeeded, revision, &response.responses)
            .unwrap_or_else(|failure| Err(failure.into_write_error(of())))
    }

    pub(super) async fn write_each(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(writes.len());
        // The writes to one document are told apart by their turn: etcd takes one for each in a transaction.
        let mut rounds: Vec<Vec<usize>> = Vec::new();
        let mut turns: HashMap<&str, usize> = HashMap::new();
        for (place, write) in writes.iter().enumerate() {
            if let Err(error) = check::write(collection, write) {
                outcomes.push(Some(Err(WriteError::NotDone(error))));
                continue;
            }
            outcomes.push(None);
            let turn = turns.entry(&write.id).or_default();
            if rounds.len() == *turn {
                rounds.push(Vec::new());
            }
            if let Some(round) = rounds.get_mut(*turn) {
                round.push(place);
            }
            *turn += 1;
        }
        // A write whose outcome is unknown may yet be done, after whatever follows: nothing may follow.
        let mut unsettled: Vec<&str> = Vec::new();
        for round in rounds {
            let (held_up, free): (Vec<usize>, Vec<usize>) =
                round.into_iter().partition(|place| unsettled.contains(&writes[*place].id.as_str()));
            for place in held_up {
                outcomes[place] = Some(Err(WriteError::NotDone(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "write {}/{}: what became of the write before it is unknown",
                        collection.name, writes[place].id
                    ),
                ))));
            }
            let batches = self.batches(&writes, &free);
            let results = stream::iter(batches)
                .map(|batch| self.write_batch(collection, &writes, batch, while_held))
                .buffer_unordered(BATCHES);
            let mut results = std::pin::pin!(results);
            while let Some(done) = results.next().await {
                for (place, outcome) in done {
                    if matches!(outcome, Err(WriteError::Unknown(_))) {
                        unsettled.push(&writes[place].id);
                    }
                    outcomes[place] = Some(outcome);
                }
            }
        }
        let lost = || {
            let failure = Failure::nonsense("a batch with too few results");
            Err(failure.into_write_error(format!("write {}", collection.name)))
        };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect()
    }

    /// Splits writes to different documents into transactions that etcd takes.
    fn batches(&self, writes: &[Write], places: &[usize]) -> Vec<Vec<usize>> {
        let overhead = self.keys.prefix().len() + 128;
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let (mut bytes, mut widest) = (0, 1);
        for place in places {
            let Write { id, expect, action } = &writes[*place];
            let (body, leased) = match action {
                Action::Put { body, lease } => (body.len(), lease.is_some()),
                Action::Delete => (0, false),
            };
            // As many lookups as [`Conditional`] makes.
            let conditional = *expect != Expect::Any || leased;
            let width = if conditional { 1 + usize::from(leased) } else { 1 };
            // The key stands in the condition, the write and the lookup.
            let size = body + 3 * (overhead + id.len());
            let room = MAX_OPERATIONS - widest.max(width);
            match batches.last_mut() {
                Some(batch) if batch.len() < room && bytes + size <= MAX_BATCH_BYTES => batch.push(*place),
                _ => {
                    batches.push(vec![*place]);
                    (bytes, widest) = (0, 1);
                }
            }
            bytes += size;
            widest = widest.max(width);
        }
        batches
    }

    /// Does one batch; a server that takes less in one request gets it in halves.
    async fn write_batch(
        &self,
        collection: &'static Collection,
        writes: &[Write],
        batch: Vec<usize>,
        while_held: Option<LeaseId>,
    ) -> Vec<(usize, Outcome)> {
        let mut todo = vec![batch];
        let mut done = Vec::new();
        while let Some(mut places) = todo.pop() {
            match self.send_batch(collection, writes, &places, while_held).await {
                Ok(outcomes) => done.extend(places.into_iter().zip(outcomes)),
                Err(failure) if failure.what == What::RequestTooLarge && places.len() > 1 => {
                    let rest = places.split_off(places.len() / 2);
                    todo.push(rest);
                    todo.push(places);
                }
                Err(failure) => {
                    for place in places {
                        let of = format!("write {}/{}", collection.name, writes[place].id);
                        done.push((place, Err(failure.clone().into_write_error(of))));
                    }
                }
            }
        }
        done
    }

    async fn send_batch(
        &self,
        collection: &'static Collection,
        writes: &[Write],
        places: &[usize],
        while_held: Option<LeaseId>,
    ) -> Result<Vec<Outcome>, Failure> {
        let response = self.session.call(Effect::Once, || {
            let children = places.iter().map(|place| {
                // The holder's lease is compared once, outside.
                TxnOp::txn(self.conditional(collection, &writes[*place], None).into_txn())
            });
            let held: Vec<Compare> = while_held.iter().map(|lease| self.is_held(*lease)).collect();
            let txn = Txn::new().when(held).and_then(children.collect::<Vec<_>>());
            let mut kv = self.session.kv();
            async move { kv.txn(txn).await }
        });
        let response = response.await?.0;
        if !response.succeeded {
            return Ok(places.iter().map(|_| Err(WriteError::LeaseLost)).collect());
        }
        if response.responses.len() != places.len() {
            return Err(Failure::nonsense("a batch with too few results"));
        }
        let revision = response.header.map_or(0, |header| header.revision);
        let outcomes = response.responses.iter().map(|child| match &child.response {
            Some(PbTxnOpResponse::ResponseTxn(child)) => outcome(child.succeeded, revision, &child.responses),
            _ => Err(Failure::nonsense("a nested transaction with something else")),
        });
        outcomes.collect()
    }

    fn is_held(&self, lease: LeaseId) -> Compare {
        Compare::create_revision(self.keys.marker(lease), CompareOp::Greater, 0)
    }

    fn conditional(
        &self,
        collection: &Collection,
        write: &Write,
        while_held: Option<LeaseId>,
    ) -> Conditional {
        let key = self.keys.document(collection, &write.id);
        let lookup = |key: Vec<u8>| TxnOp::get(key, Some(GetOptions::new().with_keys_only()));
        let (action, lease) = match &write.action {
            Action::Put { body, lease } => {
                let options = PutOptions::new().with_lease(lease.map_or(0, |lease| lease.0));
                (TxnOp::put(key.clone(), body.to_vec(), Some(options)), *lease)
            }
            Action::Delete => (TxnOp::delete(key.clone(), None), None),
        };
        let mut compares = Vec::new();
        match write.expect {
            Expect::Any => {}
            Expect::Absent => compares.push(Compare::create_revision(key.clone(), CompareOp::Equal, 0)),
            Expect::Revision(revision) => {
                // etcd takes 0 for "absent"; nothing was written at -1.
                let wanted = if revision == Revision::ZERO { -1 } else { from_revision(revision) };
                compares.push(Compare::mod_revision(key.clone(), CompareOp::Equal, wanted));
            }
        }
        let leases = while_held.into_iter().chain(lease);
        let markers: Vec<LeaseId> = leases.collect();
        compares.extend(markers.iter().map(|lease| self.is_held(*lease)));
        let lookups = match compares.is_empty() {
            true => Vec::new(),
            false => std::iter::once(key)
                .chain(markers.iter().map(|lease| self.keys.marker(*lease)))
                .map(lookup)
                .collect(),
        };
        Conditional { compares, action, lookups }
    }
}

/// Reads one transaction's answer: the document's revision comes first, then one key for each lease.
fn outcome(succeeded: bool, revision: i64, responses: &[PbResponseOp]) -> Result<Outcome, Failure> {
    if succeeded {
        return Ok(Ok(to_revision(revision)));
    }
    let mut found = Vec::with_capacity(responses.len());
    for response in responses {
        match &response.response {
            Some(PbTxnOpResponse::ResponseRange(range)) => {
                found.push(range.kvs.first().map(|pair| to_revision(pair.mod_revision)));
            }
            _ => return Err(Failure::nonsense("a lookup with something else")),
        }
    }
    let Some((document, leases)) = found.split_first() else {
        return Err(Failure::nonsense("a failed condition without its cause"));
    };
    if leases.iter().any(Option::is_none) {
        return Ok(Err(WriteError::LeaseLost));
    }
    Ok(Err(WriteError::Conflict { current: *document }))
}
