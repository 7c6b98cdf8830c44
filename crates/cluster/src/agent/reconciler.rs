//! The agent's loop: everything that happens to a machine's units goes through it, one event at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Error as StoreError, ErrorKind, Typed};
use fleet_unit::{UnitFile, UnitName};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::decide::{Actual, Step, desired, next_step};
use super::guard::guarded;
use super::outbox::Outbox;
use super::slot::Slot;
use super::work::{self, Done};
use crate::documents::{
    Assignment, AssignmentDocument, GlobalAssignmentDocument, MachineId, MetadataDocument, UnitDocument,
};
use crate::follow::{Known, NotKnown};
use crate::presence::{MachineInfo, Membership};
use crate::systemd::{Error, JobResult, Notice, Systemd, UnitState};

/// At most this many units are worked on at once: systemd does one thing at a time, this only keeps it busy.
const PARALLEL: usize = 64;
/// Starts wait for files that are being installed at the same time, but not longer than this.
const GATHER_MAX: Duration = Duration::from_secs(1);
/// How long the loop sleeps at most when nothing is due.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// Where the agent reads what its machine should run.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What is placed on this machine.
    pub assignment: watch::Receiver<Known<AssignmentDocument>>,
    /// The global units.
    pub globals: watch::Receiver<Known<GlobalAssignmentDocument>>,
    /// Metadata that was set at run time.
    pub overrides: watch::Receiver<Known<MetadataDocument>>,
    /// What the machine says of itself.
    pub info: watch::Receiver<MachineInfo>,
}

/// The agent of one machine.
pub struct Agent {
    pub(super) machine: MachineId,
    pub(super) systemd: Arc<dyn Systemd>,
    units: Typed<UnitDocument>,
    pub(super) outbox: Outbox,
    sources: Sources,
    /// Whether this machine is a member; `None`: nobody asks.
    membership: Option<watch::Receiver<Membership>>,
    /// Whether it has been one since this agent began.
    admitted: bool,
    pub(super) slots: BTreeMap<UnitName, Slot>,
    pub(super) desired: BTreeMap<UnitName, Assignment>,
    /// Whether `desired` has ever been read.
    known: bool,
    /// What systemd says; `None` while it is asked for.
    pub(super) notices: Option<mpsc::Receiver<Notice>>,
    pub(super) tasks: JoinSet<Event>,
    pub(super) permits: Arc<Semaphore>,
    /// Units whose files are to be fetched in one go.
    to_fetch: BTreeSet<UnitName>,
    /// Units whose files are being fetched and installed, and since when there are any.
    loading: BTreeSet<UnitName>,
    loading_since: Option<Instant>,
    /// Units whose start waits for `loading`.
    gathered: BTreeSet<UnitName>,
    /// When failed steps are tried again. An entry may be out of date: the slot knows.
    pub(super) retries: BTreeSet<(Instant, UnitName)>,
    handing_over: bool,
}

/// What a task of the agent has to tell.
pub(super) enum Event {
    Fetched(Vec<UnitName>, Result<Vec<Option<UnitDocument>>, StoreError>),
    Stepped(UnitName, Step, Done),
    /// The unit, its job's number, what it was for, and its result; `None`: unknown.
    JobEnded(UnitName, u64, Step, Option<JobResult>),
    /// The unit, what had been heard of it when it was asked for, and its state.
    State(UnitName, u64, Result<UnitState, Error>),
    Subscribed(mpsc::Receiver<Notice>),
}

impl Agent {
    /// An agent of `machine` that has not begun.
    pub fn new(
        machine: MachineId,
        systemd: Arc<dyn Systemd>,
        units: Typed<UnitDocument>,
        outbox: Outbox,
        sources: Sources,
    ) -> Agent {
        Agent {
            machine,
            systemd,
            units,
            outbox,
            sources,
            membership: None,
            admitted: false,
            slots: BTreeMap::new(),
            desired: BTreeMap::new(),
            known: false,
            notices: None,
            tasks: JoinSet::new(),
            permits: Arc::new(Semaphore::new(PARALLEL)),
            to_fetch: BTreeSet::new(),
            loading: BTreeSet::new(),
            loading_since: None,
            gathered: BTreeSet::new(),
            retries: BTreeSet::new(),
            handing_over: false,
        }
    }

    /// Acts on what it reads only once this machine has been a member, and not while it is refused: what is
    /// written under its id is then meant for another machine that has the same id.
    #[must_use]
    pub fn only_as_member(mut self, membership: watch::Receiver<Membership>) -> Agent {
        self.membership = Some(membership);
        self
    }

    /// Adopts what runs, then keeps the machine at what it should run. On `stop` it returns and touches
    /// nothing; on `hand_over` it stops and removes every unit first.
    pub async fn run(mut self, stop: CancellationToken, hand_over: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = self.adopt() => {}
        }
        self.outbox.complete();
        self.read_desired();
        loop {
            self.fetch();
            let deadline = self.next_deadline();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = hand_over.cancelled(), if !self.handing_over => self.begin_hand_over(),
                Ok(()) = self.sources.assignment.changed() => self.read_desired(),
                Ok(()) = self.sources.globals.changed() => self.read_desired(),
                Ok(()) = self.sources.overrides.changed() => self.read_desired(),
                Ok(()) = self.sources.info.changed() => self.read_desired(),
                () = membership_changed(self.membership.as_mut()) => self.read_desired(),
                () = tokio::time::sleep_until(deadline) => self.consider_due(),
                Some(event) = self.tasks.join_next() => self.take(event),
                notice = next_notice(self.notices.as_mut()) => match notice {
                    Some(notice) => self.take_notice(notice),
                    None => self.subscribe_again(),
                },
            }
            if self.handing_over && self.slots.is_empty() {
                return;
            }
        }
    }

    /// Reads from the sources what should run. As long as one of them has never been read nothing is known.
    fn read_desired(&mut self) {
        if self.handing_over {
            return;
        }
        let wanted = match self.wanted() {
            Ok(wanted) => wanted,
            Err(NotKnown) => return,
        };
        let mut changed: BTreeSet<UnitName> = wanted
            .iter()
            .filter(|(name, assignment)| self.desired.get(*name) != Some(assignment))
            .map(|(name, _)| name.clone())
            .chain(self.desired.keys().filter(|name| !wanted.contains_key(*name)).cloned())
            .collect();
        self.desired = wanted;
        for name in &changed {
            self.slots.entry(name.clone()).or_default().wanted_anew();
        }
        if !std::mem::replace(&mut self.known, true) {
            // The first time, what was adopted and is not wanted has to go.
            changed = self.slots.keys().cloned().collect();
        }
        self.consider_each(changed);
    }

    fn is_admitted(&mut self) -> bool {
        let Some(membership) = &mut self.membership else { return true };
        match &*membership.borrow_and_update() {
            Membership::Member { .. } => self.admitted = true,
            Membership::Refused => return false,
            Membership::Joining | Membership::Late => {}
        }
        self.admitted
    }

    fn wanted(&mut self) -> Result<BTreeMap<UnitName, Assignment>, NotKnown> {
        if !self.is_admitted() {
            return Err(NotKnown);
        }
        let assignment = self.sources.assignment.borrow_and_update();
        let globals = self.sources.globals.borrow_and_update();
        let overrides = self.sources.overrides.borrow_and_update();
        let info = self.sources.info.borrow_and_update();
        let (assignment, globals) = (assignment.known()?, globals.known()?);
        let metadata = match &*overrides {
            Known::NotYet => return Err(NotKnown),
            Known::Present(overrides) => overrides.apply(&info.metadata),
            Known::Absent => info.metadata.clone(),
            // As if there were none, but for what is here already: it may be here because of them.
            Known::Unreadable => {
                let here = |name: &UnitName| self.slots.get(name).is_some_and(|slot| slot.actual.is_some());
                let globals = globals.map(|globals| globals.kept_where(here));
                return Ok(desired(&info.metadata, assignment, globals.as_ref()));
            }
        };
        Ok(desired(&metadata, assignment, globals))
    }

    fn begin_hand_over(&mut self) {
        info!(units = self.slots.len(), "handing over: every unit of this machine is stopped");
        self.handing_over = true;
        self.known = true;
        self.desired.clear();
        for slot in self.slots.values_mut() {
            slot.wanted_anew();
        }
        self.consider_each(self.slots.keys().cloned().collect());
    }

    fn consider_each(&mut self, names: BTreeSet<UnitName>) {
        for name in names {
            self.consider(&name);
        }
    }

    /// Takes up what is due by the clock.
    fn consider_due(&mut self) {
        let now = Instant::now();
        while let Some((at, name)) = self.retries.pop_first() {
            if at > now {
                self.retries.insert((at, name));
                break;
            }
            self.consider(&name);
        }
        if !self.must_gather(now) {
            let gathered = std::mem::take(&mut self.gathered);
            self.consider_each(gathered);
        }
    }

    /// Takes the next step of one unit, if there is one and it is due.
    pub(super) fn consider(&mut self, name: &UnitName) {
        let now = Instant::now();
        let gathering = self.must_gather(now);
        let Some(slot) = self.slots.get_mut(name) else { return };
        if !self.known || slot.busy || slot.retry_at().is_some_and(|at| at > now) {
            return;
        }
        let wanted = self.desired.get(name);
        let Some(step) = next_step(wanted, slot.actual.as_ref()) else {
            slot.wanted_anew();
            if wanted.is_none() {
                self.slots.remove(name);
                self.outbox.set(name, None);
            } else {
                self.publish(name);
            }
            return;
        };
        let restarts = wanted.map_or(0, |wanted| wanted.restarts);
        match (step, slot.actual) {
            (Step::Load, _) | (_, None) => {
                slot.begin();
                self.loading_since.get_or_insert(now);
                self.loading.insert(name.clone());
                match (slot.fetched.take(), wanted.cloned()) {
                    (Some(file), Some(wanted)) if file.hash() == wanted.hash => {
                        self.install(name.clone(), file, wanted);
                    }
                    _ => {
                        self.to_fetch.insert(name.clone());
                    }
                }
            }
            // Nothing is stopped for a file that may not be there.
            (Step::Unload, Some(actual)) if wanted.is_some_and(|wanted| slot.lacks_file(wanted, actual)) => {
                slot.begin();
                self.to_fetch.insert(name.clone());
            }
            (Step::Start, _) if gathering => {
                self.gathered.insert(name.clone());
            }
            (step, Some(actual)) => {
                slot.begin();
                self.gathered.remove(name);
                self.spawn_step(name.clone(), step, actual, restarts);
            }
        }
    }

    fn must_gather(&self, now: Instant) -> bool {
        !self.loading.is_empty() && self.loading_since.is_some_and(|since| now < since + GATHER_MAX)
    }

    fn spawn_step(&mut self, name: UnitName, step: Step, actual: Actual, restarts: u64) {
        debug!(unit = %name, ?step, "step");
        let (systemd, permits) = (Arc::clone(&self.systemd), Arc::clone(&self.permits));
        self.tasks.spawn(async move {
            // Stopping may take as long as the unit likes: it must not keep others from their turn.
            let _permit = match step {
                Step::Stop | Step::Unload => None,
                _ => permits.acquire().await.ok(),
            };
            let done = guarded(work::carry_out(&*systemd, &name, step, actual, restarts)).await;
            let done = done.unwrap_or_else(|error| Done::broken(step, actual, error));
            Event::Stepped(name, step, done)
        });
    }

    /// Fetches the files that are needed, all in one go.
    fn fetch(&mut self) {
        if self.to_fetch.is_empty() {
            return;
        }
        let names: Vec<UnitName> = std::mem::take(&mut self.to_fetch).into_iter().collect();
        let units = self.units.clone();
        self.tasks.spawn(async move {
            let ids: Vec<String> = names.iter().map(ToString::to_string).collect();
            let found = guarded(units.get_many(&ids)).await.unwrap_or_else(|error| {
                Err(StoreError::caused_by(ErrorKind::Unavailable, "get the unit files", error))
            });
            let documents = found.map(|found| {
                found.into_iter().map(|versioned| versioned.map(|versioned| versioned.value)).collect()
            });
            Event::Fetched(names, documents)
        });
    }

    pub(super) fn install(&mut self, name: UnitName, file: UnitFile, wanted: Assignment) {
        let (systemd, permits) = (Arc::clone(&self.systemd), Arc::clone(&self.permits));
        self.tasks.spawn(async move {
            let _permit = permits.acquire().await.ok();
            let done = guarded(work::load(&*systemd, &name, &file, &wanted)).await;
            let done = done.unwrap_or_else(|error| Done::broken_load(file.hash(), error));
            Event::Stepped(name, Step::Load, done)
        });
    }

    /// A unit is no longer being loaded; when it was the last one, the starts that waited go ahead.
    pub(super) fn loaded(&mut self, name: &UnitName) {
        self.loading.remove(name);
        if self.loading.is_empty() {
            self.loading_since = None;
            let gathered = std::mem::take(&mut self.gathered);
            self.consider_each(gathered);
        }
    }

    pub(super) fn publish(&self, name: &UnitName) {
        let Some(slot) = self.slots.get(name) else { return };
        self.outbox.set(name, slot.publication(&self.machine, self.desired.get(name)));
    }

    /// When something is due by the clock.
    fn next_deadline(&self) -> Instant {
        let retry = self.retries.first().map(|(at, _)| *at);
        let gathering =
            self.loading_since.filter(|_| !self.gathered.is_empty()).map(|since| since + GATHER_MAX);
        let far = Instant::now() + IDLE_MAX;
        retry.into_iter().chain(gathering).min().unwrap_or(far)
    }
}

async fn next_notice(notices: Option<&mut mpsc::Receiver<Notice>>) -> Option<Notice> {
    match notices {
        Some(notices) => notices.recv().await,
        None => std::future::pending().await,
    }
}

async fn membership_changed(membership: Option<&mut watch::Receiver<Membership>>) {
    if let Some(membership) = membership
        && membership.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
