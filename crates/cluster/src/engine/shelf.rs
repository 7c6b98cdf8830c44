//! What the store holds of sets beside their heads, and writing sets: see [`sets`](crate::sets).

use std::collections::{BTreeMap, BTreeSet};

use fleet_store::{
    Error, ErrorKind, Expect, LeaseId, Listing, Malformed, Revision, Typed, Write, WriteError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{debug, error};

use super::reconciler::TermEnd;
use crate::documents::UnitSet;
use crate::sets::{Encoded, Head, assemble, encode, part_id, set_of_part};

/// The parts of one collection.
#[derive(Debug)]
pub(super) struct Shelf {
    /// The largest document that is written, in bytes.
    limit: usize,
    /// Ids of parts that are there and can be read.
    there: BTreeSet<String>,
    /// The ids of the parts that each head names.
    named: BTreeMap<String, BTreeSet<String>>,
    /// Ids of parts that no head names any more, or that nobody can read.
    litter: BTreeSet<String>,
}

/// What a leader finds.
#[derive(Debug)]
pub(super) struct Found<U> {
    /// The sets, by id.
    pub(super) sets: BTreeMap<String, UnitSet<U>>,
    /// Ids of sets that cannot be read: their heads, or some of their parts.
    pub(super) unreadable: BTreeSet<String>,
}

/// Sorts out what there is.
pub(super) fn read<U>(listing: Listing<Head<U>>, what: &str, limit: usize) -> (Shelf, Found<U>) {
    let (mut shelf, mut parts, mut heads) = (Shelf::new(limit), BTreeMap::new(), BTreeMap::new());
    let mut unreadable = BTreeSet::new();
    for Malformed { id, error, .. } in listing.malformed {
        error!(id, %error, "{what} cannot be read: what runs goes on as it is");
        if set_of_part(&id).is_some() {
            shelf.litter.insert(id);
        } else {
            unreadable.insert(id);
        }
    }
    for document in listing.values {
        if set_of_part(&document.id).is_none() {
            heads.insert(document.id, document.value);
            continue;
        }
        // Until a head that names it is met.
        shelf.litter.insert(document.id.clone());
        if let Head::Whole(part) = document.value {
            shelf.there.insert(document.id.clone());
            parts.insert(document.id, part);
        }
    }
    let mut sets = BTreeMap::new();
    for (id, head) in heads {
        if let Head::Split { parts } = &head {
            let named: BTreeSet<String> = parts.iter().map(|part| part_id(&id, part)).collect();
            shelf.litter.retain(|part| !named.contains(part));
            shelf.named.insert(id.clone(), named);
        }
        match assemble(head, |part| parts.remove(&part_id(&id, part))) {
            Some(set) => {
                sets.insert(id, set);
            }
            None => {
                error!(id, "{what} lacks a part: what runs goes on as it is");
                unreadable.insert(id);
            }
        }
    }
    (shelf, Found { sets, unreadable })
}

impl Shelf {
    /// One with nothing on it.
    pub(super) fn new(limit: usize) -> Shelf {
        Shelf { limit, there: BTreeSet::new(), named: BTreeMap::new(), litter: BTreeSet::new() }
    }

    /// Writes sets, or removes them: new parts first, then the heads. For each, why the store refuses it for what
    /// it is, such as one that is too large: that is trouble of that set alone, which stays as it was.
    pub(super) async fn write<U>(
        &mut self,
        heads: &Typed<Head<U>>,
        sets: Vec<(String, Option<&UnitSet<U>>)>,
        lease: LeaseId,
    ) -> Result<Vec<Option<Error>>, TermEnd>
    where
        U: Clone + Serialize + DeserializeOwned,
    {
        let mut outcomes: Vec<Option<Error>> = Vec::with_capacity(sets.len());
        let mut encoded = Vec::with_capacity(sets.len());
        for (id, set) in sets {
            match set.map(|set| encode(&id, set, self.limit)).transpose() {
                Ok(set) => {
                    outcomes.push(None);
                    encoded.push((id, set));
                }
                Err(refused) => {
                    outcomes.push(Some(refused));
                    encoded.push((id, None));
                }
            }
        }
        self.write_parts(heads, &encoded, &mut outcomes, lease).await?;
        self.write_heads(heads, encoded, &mut outcomes, lease).await?;
        Ok(outcomes)
    }

    async fn write_parts<U: Serialize + DeserializeOwned>(
        &mut self,
        heads: &Typed<Head<U>>,
        encoded: &[(String, Option<Encoded>)],
        outcomes: &mut [Option<Error>],
        lease: LeaseId,
    ) -> Result<(), TermEnd> {
        let (mut places, mut writes) = (Vec::new(), Vec::new());
        for (place, (_, set)) in encoded.iter().enumerate() {
            for (part, body) in set.iter().flat_map(|set| &set.parts) {
                if !self.there.contains(part) {
                    places.push((place, part.clone()));
                    writes.push(Write::put(part, Expect::Any, body.clone()));
                }
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        for ((place, part), answer) in places.into_iter().zip(heads.write_many(writes, Some(lease)).await) {
            match refused(answer)? {
                Some(refused) => outcomes[place] = Some(refused),
                None => {
                    // Until its head names it.
                    self.litter.insert(part.clone());
                    self.there.insert(part);
                }
            }
        }
        Ok(())
    }

    async fn write_heads<U: Serialize + DeserializeOwned>(
        &mut self,
        heads: &Typed<Head<U>>,
        encoded: Vec<(String, Option<Encoded>)>,
        outcomes: &mut [Option<Error>],
        lease: LeaseId,
    ) -> Result<(), TermEnd> {
        let (mut places, mut writes) = (Vec::new(), Vec::new());
        for (place, (id, set)) in encoded.into_iter().enumerate() {
            if outcomes[place].is_some() {
                continue;
            }
            let named: BTreeSet<String> = set.iter().flat_map(|set| set.parts.keys().cloned()).collect();
            writes.push(match set {
                Some(set) => Write::put(&id, Expect::Any, set.head),
                None => Write::delete(&id, Expect::Any),
            });
            places.push((place, id, named));
        }
        if writes.is_empty() {
            return Ok(());
        }
        for ((place, id, named), answer) in
            places.into_iter().zip(heads.write_many(writes, Some(lease)).await)
        {
            match refused(answer)? {
                Some(refused) => outcomes[place] = Some(refused),
                None => self.name(id, named),
            }
        }
        Ok(())
    }

    /// A head names these parts from now on.
    fn name(&mut self, id: String, named: BTreeSet<String>) {
        self.litter.retain(|part| !named.contains(part));
        let before = self.named.remove(&id).into_iter().flatten();
        self.litter.extend(before.filter(|part| !named.contains(part)));
        if !named.is_empty() {
            self.named.insert(id, named);
        }
    }

    /// Removes what no head names.
    pub(super) async fn sweep<U: Serialize + DeserializeOwned>(
        &mut self,
        heads: &Typed<Head<U>>,
        lease: LeaseId,
    ) -> Result<(), TermEnd> {
        if self.litter.is_empty() {
            return Ok(());
        }
        debug!(parts = self.litter.len(), "removing parts that are not needed any more");
        let litter: Vec<String> = std::mem::take(&mut self.litter).into_iter().collect();
        let writes = litter.iter().map(|part| Write::delete(part, Expect::Any)).collect();
        for (part, answer) in litter.iter().zip(heads.write_many(writes, Some(lease)).await) {
            refused(answer)?;
            self.there.remove(part);
        }
        Ok(())
    }
}

/// A document that the store refuses for what it is, such as one that is too large, is trouble of that document
/// alone: it is tried again when it has changed, and all others are written.
fn refused(answer: Result<Revision, WriteError>) -> Result<Option<Error>, TermEnd> {
    match answer {
        Ok(_) => Ok(None),
        Err(WriteError::NotDone(error)) if error.kind == ErrorKind::Invalid => Ok(Some(error)),
        Err(error) => Err(ended(error)),
    }
}

/// What a write of a derived document that was not acknowledged means for the term. Those writes have no
/// condition but the lease.
fn ended(error: WriteError) -> TermEnd {
    match error {
        WriteError::LeaseLost => TermEnd::Deposed,
        WriteError::NotDone(error) | WriteError::Unknown(error) => TermEnd::Store(error),
        WriteError::Conflict { .. } => {
            let message = "write what machines are to run: a conflict without a condition";
            TermEnd::Store(Error::new(ErrorKind::Corrupt, message))
        }
    }
}
