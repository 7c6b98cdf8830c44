//! Publishing what units do: only what changed, many changes in one batch, nothing periodic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_store::{Error, Expect, LeaseId, ListRequest, Store, Typed, Write, WriteError};
use fleet_unit::UnitName;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::debug;

use crate::documents::{MachineId, STATES, StateDocument, split_state_id, state_id};
use crate::environment::Environment;
use crate::presence::Membership;

/// After a failure the same states are tried again after up to this long; it doubles with each …
const RETRY_MIN: Duration = Duration::from_millis(200);
/// … up to this, or all machines together would keep a store that has just come back busy.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A write without an answer may still be done this much later, and take the place of a newer one: then the
/// state is written once more.
const LATE_MAX: Duration = Duration::from_secs(10);

/// What the agent wants others to see. Its size is bounded by the number of units: a newer state of a unit
/// takes the place of an older one that has not been written yet.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    content: Mutex<Content>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Content {
    /// What should be in the store.
    states: BTreeMap<UnitName, StateDocument>,
    /// What may differ from it.
    dirty: BTreeSet<UnitName>,
    /// What will have to be written once more, and when.
    uncertain: BTreeMap<UnitName, Instant>,
    /// Whether `states` holds everything that is installed here.
    complete: bool,
}

impl Outbox {
    /// Says how a unit is; `None`: it is not here any more.
    pub fn set(&self, unit: &UnitName, state: Option<StateDocument>) {
        let mut content = self.content();
        if content.states.get(unit) == state.as_ref() {
            return;
        }
        match state {
            Some(state) => content.states.insert(unit.clone(), state),
            None => content.states.remove(unit),
        };
        content.dirty.insert(unit.clone());
        drop(content);
        self.shared.changed.notify_one();
    }

    /// Says that everything that is installed has been told: what a former fleetd of this machine published
    /// and is not here any more may go.
    pub fn complete(&self) {
        self.content().complete = true;
        self.shared.changed.notify_one();
    }

    /// What should be in the store, and which of it may not be there yet.
    pub fn look(&self) -> (BTreeMap<UnitName, StateDocument>, Vec<UnitName>) {
        let content = self.content();
        (content.states.clone(), content.dirty.iter().cloned().collect())
    }

    fn take(&self, machine: &MachineId, lease: LeaseId, states: &Typed<StateDocument>) -> Batch {
        let mut content = self.content();
        let dirty = std::mem::take(&mut content.dirty);
        let mut batch = Batch { units: Vec::new(), writes: Vec::new(), complete: content.complete };
        for unit in dirty {
            let id = state_id(unit.as_str(), machine);
            let write = match content.states.get(&unit) {
                // A state always encodes: it is plain strings and numbers.
                Some(state) => match states.encode(&id, state, Expect::Any, Some(lease)) {
                    Ok(write) => write,
                    Err(_) => continue,
                },
                None => Write::delete(id, Expect::Any),
            };
            batch.units.push(unit);
            batch.writes.push(write);
        }
        batch
    }

    fn everything_is_dirty(&self) {
        let mut content = self.content();
        let units: Vec<UnitName> = content.states.keys().cloned().collect();
        content.dirty.extend(units);
    }

    /// Takes what has to be written once more by now. When something else has to be; `None`: nothing has.
    fn take_up_uncertain(&self) -> Option<Instant> {
        let mut content = self.content();
        let now = Instant::now();
        let due: Vec<UnitName> =
            content.uncertain.extract_if(.., |_, at| *at <= now).map(|(unit, _)| unit).collect();
        content.dirty.extend(due);
        content.uncertain.values().min().copied()
    }

    /// Ends the lease of a former fleetd of this machine, and with it what it published and is not here any more.
    /// A late write of that one may have taken a state of ours along: what is gone is written again.
    async fn end_former(&self, store: &dyn Store, machine: &MachineId, lease: LeaseId) -> Result<(), Error> {
        store.revoke(lease).await?;
        let filter = vec![("machine", machine.0.clone())];
        let page = store.list(&STATES, ListRequest { filter, ..ListRequest::all() }).await?;
        let there: BTreeSet<&str> =
            page.documents.iter().filter_map(|document| Some(split_state_id(&document.id)?.0)).collect();
        let mut content = self.content();
        let gone: Vec<UnitName> =
            content.states.keys().filter(|unit| !there.contains(unit.as_str())).cloned().collect();
        content.dirty.extend(gone);
        Ok(())
    }

    fn has_unwritten(&self) -> bool {
        !self.content().dirty.is_empty()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.shared.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what changes onto the presence lease, and everything again when that lease is another one.
    /// Runs until the membership's sender is gone.
    pub async fn publish(
        &self,
        store: &Arc<dyn Store>,
        machine: &MachineId,
        mut membership: watch::Receiver<Membership>,
        environment: &Environment,
    ) {
        let mut pause = RETRY_MIN;
        let states = Typed::new(Arc::clone(store), &STATES);
        let mut published_on = None;
        let mut former = None;
        loop {
            let Membership::Member { lease, former: replaced } = membership.borrow_and_update().clone()
            else {
                if membership.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if published_on != Some(lease) {
                self.everything_is_dirty();
                published_on = Some(lease);
                former = replaced;
            }
            let uncertain = self.take_up_uncertain();
            let batch = self.take(machine, lease, &states);
            let complete = batch.complete;
            let mut trouble = batch.write(self, &states).await.err().map(|error| error.to_string());
            if trouble.is_none()
                && complete
                && let Some(lease) = former
            {
                match self.end_former(&**store, machine, lease).await {
                    Ok(()) => former = None,
                    Err(error) => trouble = Some(error.to_string()),
                }
            }
            if let Some(error) = trouble {
                debug!(error, "states not published, trying again");
                // Between half of the pause and all of it: who has just failed does not try again at once.
                let jittered = pause / 2 + environment.up_to(pause / 2);
                pause = (pause * 2).min(RETRY_MAX);
                tokio::select! {
                    biased;
                    // The store answers, on this lease or on a new one.
                    changed = membership.changed() => if changed.is_err() { return } else { pause = RETRY_MIN },
                    () = tokio::time::sleep(jittered) => {}
                }
                continue;
            }
            pause = RETRY_MIN;
            if self.has_unwritten() {
                continue;
            }
            tokio::select! {
                biased;
                () = self.shared.changed.notified() => {}
                () = sleep_until(uncertain) => {}
                changed = membership.changed() => if changed.is_err() { return },
            }
        }
    }
}

struct Batch {
    units: Vec<UnitName>,
    writes: Vec<Write>,
    complete: bool,
}

impl Batch {
    /// Writes the batch; what was not written goes back into the outbox.
    async fn write(self, outbox: &Outbox, states: &Typed<StateDocument>) -> Result<(), WriteError> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let answers = states.write_many(self.writes, None).await;
        let mut trouble = Ok(());
        let mut content = outbox.content();
        for (unit, answer) in self.units.into_iter().zip(answers) {
            // When the lease is lost the presence reconciler will notice, and make another one.
            let Err(error) = answer else { continue };
            if matches!(error, WriteError::Unknown(_)) {
                content.uncertain.insert(unit.clone(), Instant::now() + LATE_MAX);
            }
            content.dirty.insert(unit);
            trouble = Err(error);
        }
        trouble
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
