//! Batches on their way, and what is left to do for them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::bulk::{Outcome, Place, Refusal};
use super::dead_letter;
use crate::batch::Batch;
use crate::output::Context;

/// Batches on their way.
pub(super) struct Request {
    pub(super) batches: Vec<Arc<Batch>>,
    /// Events of each that have not been settled.
    left: Vec<usize>,
    pub(super) pending: Vec<Pending>,
    /// Events that are dead letters by now.
    pub(super) dead_lettered: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Pending {
    pub(super) place: Place,
    /// The batch that is settled by it: for a dead letter, that of the original.
    pub(super) owner: usize,
    pub(super) dead: bool,
}

/// What an attempt left behind, one of each kind for the message.
#[derive(Default)]
pub(super) struct Refused {
    pub(super) later: Option<Refusal>,
    pub(super) forbidden: Option<(String, Refusal)>,
    pub(super) dead: Option<(String, Refusal)>,
    pub(super) dead_count: u64,
    /// Refused as dead letters too; not settled.
    pub(super) homeless: Vec<Pending>,
    /// Why the last of them was.
    pub(super) unwelcome: Option<(String, Refusal)>,
    /// The batches with events that are forbidden.
    pub(super) owners: BTreeSet<usize>,
}

/// What waits for data streams that are not there.
#[derive(Default)]
pub(super) struct Lacking {
    pub(super) owners: BTreeSet<usize>,
    pub(super) first: Option<(String, Refusal)>,
    /// Data streams of dead letters.
    pub(super) of_letters: BTreeSet<String>,
    /// Why the first of them is not there.
    pub(super) unwelcome: Option<(String, Refusal)>,
}

impl Request {
    pub(super) fn new(batches: Vec<Arc<Batch>>) -> Request {
        let left = batches.iter().map(|batch| batch.len()).collect();
        let pending = batches
            .iter()
            .enumerate()
            .flat_map(|(batch, content)| {
                (0..content.len()).map(move |item| Pending {
                    place: Place { batch, item },
                    owner: batch,
                    dead: false,
                })
            })
            .collect();
        Request { batches, left, pending, dead_lettered: 0 }
    }

    /// Settles what the first `count` pending events came to; those that are to be sent again stay, behind the rest.
    pub(super) fn apply(
        &mut self,
        count: usize,
        outcomes: Option<Vec<Outcome>>,
        context: &Context,
    ) -> Refused {
        let mut refused = Refused::default();
        let sent: Vec<Pending> = self.pending.drain(..count).collect();
        let mut dead: Vec<(Pending, Refusal)> = Vec::new();
        let outcomes = outcomes.unwrap_or_else(|| vec![Outcome::Done; count]);
        // An answer that is too short leaves events without one: they are sent again.
        let missing = || Outcome::Later(Refusal::default());
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(missing));
        for (pending, outcome) in sent.into_iter().zip(outcomes) {
            let index = || self.batches[pending.place.batch].destination(pending.place.item).to_owned();
            match outcome {
                Outcome::Done | Outcome::Duplicate => {
                    if outcome == Outcome::Duplicate {
                        context.counters.events_duplicate.add(1);
                    }
                    if pending.dead {
                        context.counters.events_dead_lettered.add(1);
                        context.outlet.losses.dead_lettered.add(1);
                        self.dead_lettered += 1;
                    } else {
                        context.counters.events_acknowledged.add(1);
                    }
                    self.done(pending.owner);
                }
                Outcome::Later(refusal) => {
                    self.pending.push(pending);
                    refused.later = Some(refusal);
                }
                Outcome::Forbidden(refusal) if !pending.dead => {
                    refused.forbidden = Some((index(), refusal));
                    refused.owners.insert(pending.owner);
                    self.pending.push(pending);
                }
                Outcome::Refused(refusal) if !pending.dead => {
                    refused.dead_count += 1;
                    refused.dead = Some((index(), refusal.clone()));
                    dead.push((pending, refusal));
                }
                Outcome::Forbidden(refusal) | Outcome::Refused(refusal) => {
                    refused.unwelcome = Some((index(), refusal));
                    refused.homeless.push(pending);
                }
            }
        }
        self.bury(&dead);
        refused
    }

    /// Takes out the dead letters for these data streams; they are not settled.
    pub(super) fn letters_for(&mut self, names: &BTreeSet<String>) -> Vec<Pending> {
        let batches = &self.batches;
        let is_meant = |pending: &Pending| {
            pending.dead && names.contains(batches[pending.place.batch].destination(pending.place.item))
        };
        let (letters, others) = self.pending.drain(..).partition(is_meant);
        self.pending = others;
        letters
    }

    /// The documents of dead letters, each in a line.
    pub(super) fn lines(&self, letters: &[Pending]) -> Vec<u8> {
        let documents =
            letters.iter().map(|letter| self.batches[letter.place.batch].document(letter.place.item));
        documents.flat_map(|document| [document, b"\n"].concat()).collect()
    }

    /// Settles dead letters that the engine does not have.
    pub(super) fn give_up(&mut self, letters: &[Pending]) {
        letters.iter().for_each(|letter| self.done(letter.owner));
    }

    /// Puts dead letters in place of what was refused for good.
    fn bury(&mut self, dead: &[(Pending, Refusal)]) {
        let refused: Vec<(&Batch, usize, &Refusal)> = dead
            .iter()
            .map(|(pending, refusal)| (&*self.batches[pending.place.batch], pending.place.item, refusal))
            .collect();
        let Some(letters) = dead_letter::batch(&refused) else { return };
        let batch = self.batches.len();
        self.batches.push(Arc::new(letters));
        self.left.push(0);
        let pending = dead.iter().enumerate().map(|(item, (original, _))| Pending {
            place: Place { batch, item },
            owner: original.owner,
            dead: true,
        });
        self.pending.extend(pending);
    }

    /// Takes some batches out, with all that is left to do for them, as a request of their own.
    pub(super) fn take(&mut self, owners: &BTreeSet<usize>) -> Request {
        let mut part =
            Request { batches: Vec::new(), left: Vec::new(), pending: Vec::new(), dead_lettered: 0 };
        // Where batches are in the new request, by where they are in this one.
        let mut moved: HashMap<usize, usize> = HashMap::new();
        let (mut batches, mut left) = (Vec::new(), Vec::new());
        let mut move_to = |batch: usize, count: usize| {
            *moved.entry(batch).or_insert_with(|| {
                batches.push(Arc::clone(&self.batches[batch]));
                left.push(count);
                batches.len() - 1
            })
        };
        for owner in owners {
            move_to(*owner, std::mem::take(&mut self.left[*owner]));
        }
        let (theirs, ours) =
            self.pending.drain(..).partition(|pending: &Pending| owners.contains(&pending.owner));
        self.pending = ours;
        for pending in theirs {
            let owner = move_to(pending.owner, 0);
            let batch = move_to(pending.place.batch, 0);
            part.pending.push(Pending { place: Place { batch, ..pending.place }, owner, ..pending });
        }
        (part.batches, part.left) = (batches, left);
        part
    }

    fn done(&mut self, batch: usize) {
        self.left[batch] = self.left[batch].saturating_sub(1);
        if self.left[batch] == 0 {
            self.batches[batch].settle();
        }
    }

    /// The batches that have not been settled.
    pub(super) fn unsettled(self) -> Vec<Arc<Batch>> {
        self.batches
            .into_iter()
            .zip(self.left)
            .filter(|(_, left)| *left > 0)
            .map(|(batch, _)| batch)
            .collect()
    }
}
