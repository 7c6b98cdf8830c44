//! The agent's loop: everything that happens to a machine's units goes through it, one event at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Error as StoreError, Typed};
use fleet_unit::{UnitFile, UnitName};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::decide::{Actual, Step, desired, next_step};
use super::outbox::Outbox;
use super::slot::Slot;
use super::work::{self, Done};
use crate::documents::{
    Assignment, AssignmentDocument, GlobalAssignmentDocument, MachineId, MetadataDocument, TargetState,
    UnitDocument,
};
use crate::follow::{Known, NotKnown};
use crate::presence::MachineInfo;
use crate::systemd::{Error, JobResult, Notice, Operation, Systemd, UnitState};

/// At most this many units are worked on at once: systemd does one thing at a time, this only keeps it busy.
const PARALLEL: usize = 64;
/// Starts wait for files that are being installed at the same time, but not longer than this.
const GATHER_MAX: Duration = Duration::from_secs(1);
/// When systemd cannot be reached at the beginning, it is tried again after this long.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

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
    machine: MachineId,
    systemd: Arc<dyn Systemd>,
    units: Typed<UnitDocument>,
    outbox: Outbox,
    sources: Sources,
    slots: BTreeMap<UnitName, Slot>,
    desired: BTreeMap<UnitName, Assignment>,
    /// Whether `desired` has ever been read.
    known: bool,
    tasks: JoinSet<Event>,
    permits: Arc<Semaphore>,
    /// Units whose files are to be fetched in one go.
    to_fetch: BTreeSet<UnitName>,
    /// Units whose files are being fetched and installed, and since when there are any.
    loading: BTreeSet<UnitName>,
    loading_since: Option<Instant>,
    /// Units whose start waits for `loading`.
    gathered: BTreeSet<UnitName>,
    handing_over: bool,
}

enum Event {
    Fetched(Vec<UnitName>, Result<Vec<Option<UnitDocument>>, StoreError>),
    Stepped(UnitName, Step, Result<Done, Error>),
    JobEnded(UnitName, Step, Option<JobResult>),
    State(UnitName, Result<UnitState, Error>),
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
            slots: BTreeMap::new(),
            desired: BTreeMap::new(),
            known: false,
            tasks: JoinSet::new(),
            permits: Arc::new(Semaphore::new(PARALLEL)),
            to_fetch: BTreeSet::new(),
            loading: BTreeSet::new(),
            loading_since: None,
            gathered: BTreeSet::new(),
            handing_over: false,
        }
    }

    /// Adopts what runs, then keeps the machine at what it should run. On `stop` it returns and touches
    /// nothing; on `hand_over` it stops and removes every unit first.
    pub async fn run(mut self, stop: CancellationToken, hand_over: CancellationToken) {
        let mut notices = tokio::select! {
            () = stop.cancelled() => return,
            notices = self.adopt() => notices,
        };
        self.outbox.complete();
        self.read_desired();
        loop {
            self.fetch();
            let deadline = self.next_deadline();
            tokio::select! {
                () = stop.cancelled() => return,
                () = hand_over.cancelled(), if !self.handing_over => self.begin_hand_over(),
                Ok(()) = self.sources.assignment.changed() => self.read_desired(),
                Ok(()) = self.sources.globals.changed() => self.read_desired(),
                Ok(()) = self.sources.overrides.changed() => self.read_desired(),
                Ok(()) = self.sources.info.changed() => self.read_desired(),
                Some(event) = self.tasks.join_next() => self.take(event),
                notice = notices.recv() => match notice {
                    Some(notice) => self.take_notice(notice),
                    None => notices = self.subscribe_again().await,
                },
                () = tokio::time::sleep_until(deadline) => {
                    self.gathered.clear();
                    self.consider_all();
                }
            }
            if self.handing_over && self.slots.is_empty() {
                return;
            }
        }
    }

    /// Takes over what a former agent of this machine has installed, as it is.
    async fn adopt(&mut self) -> mpsc::Receiver<Notice> {
        loop {
            match self.try_adopt().await {
                Ok(notices) => return notices,
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "systemd cannot be asked yet");
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
        }
    }

    async fn try_adopt(&mut self) -> Result<mpsc::Receiver<Notice>, Error> {
        // First subscribe, then read, or a change in between is missed.
        let notices = self.systemd.subscribe().await?;
        for installed in self.systemd.installed().await? {
            let state = self.systemd.state(&installed.name).await?;
            let runs = matches!(state.active.as_str(), "active" | "activating" | "reloading");
            let guessed = if runs { TargetState::Launched } else { TargetState::Loaded };
            let actual = Actual {
                hash: installed.hash,
                current: installed.record.map_or(guessed, |record| record.current),
                restarts: installed.record.map(|record| record.restarts),
            };
            let slot = Slot::adopted(actual, state);
            self.slots.insert(installed.name.clone(), slot);
            self.publish(&installed.name);
        }
        if !self.slots.is_empty() {
            info!(units = self.slots.len(), "adopted what is installed");
        }
        Ok(notices)
    }

    async fn subscribe_again(&mut self) -> mpsc::Receiver<Notice> {
        loop {
            match self.systemd.subscribe().await {
                Ok(notices) => {
                    self.read_states();
                    return notices;
                }
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "systemd cannot be asked");
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
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
        self.known = true;
        let changed: Vec<UnitName> = wanted
            .iter()
            .filter(|(name, assignment)| self.desired.get(*name) != Some(assignment))
            .map(|(name, _)| name.clone())
            .chain(self.desired.keys().filter(|name| !wanted.contains_key(*name)).cloned())
            .collect();
        self.desired = wanted;
        for name in changed {
            self.slots.entry(name).or_default().wanted_anew();
        }
        self.consider_all();
    }

    fn wanted(&mut self) -> Result<BTreeMap<UnitName, Assignment>, NotKnown> {
        let assignment = self.sources.assignment.borrow_and_update();
        let globals = self.sources.globals.borrow_and_update();
        let overrides = self.sources.overrides.borrow_and_update();
        let info = self.sources.info.borrow_and_update();
        let metadata = match overrides.known()? {
            Some(overrides) => overrides.apply(&info.metadata),
            None => info.metadata.clone(),
        };
        Ok(desired(&metadata, assignment.known()?, globals.known()?))
    }

    fn begin_hand_over(&mut self) {
        info!(units = self.slots.len(), "handing over: every unit of this machine is stopped");
        self.handing_over = true;
        self.known = true;
        self.desired.clear();
        for slot in self.slots.values_mut() {
            slot.wanted_anew();
        }
        self.consider_all();
    }

    fn consider_all(&mut self) {
        let names: Vec<UnitName> = self.slots.keys().cloned().collect();
        for name in names {
            self.consider(&name);
        }
    }

    /// Takes the next step of one unit, if there is one and it is due.
    fn consider(&mut self, name: &UnitName) {
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
            }
            return;
        };
        let restarts = wanted.map_or(0, |wanted| wanted.restarts);
        match (step, slot.actual) {
            (Step::Load, _) | (_, None) => {
                slot.busy = true;
                self.loading_since.get_or_insert(now);
                self.loading.insert(name.clone());
                self.to_fetch.insert(name.clone());
            }
            (Step::Start, _) if gathering => {
                self.gathered.insert(name.clone());
            }
            (step, Some(actual)) => {
                slot.busy = true;
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
            let result = work::carry_out(&*systemd, &name, step, actual, restarts).await;
            Event::Stepped(name, step, result)
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
            let found = units.get_many(&ids).await;
            let documents = found.map(|found| {
                found.into_iter().map(|versioned| versioned.map(|versioned| versioned.value)).collect()
            });
            Event::Fetched(names, documents)
        });
    }

    fn install(&mut self, name: UnitName, file: UnitFile, wanted: Assignment) {
        let (systemd, permits) = (Arc::clone(&self.systemd), Arc::clone(&self.permits));
        self.tasks.spawn(async move {
            let _permit = permits.acquire().await.ok();
            let result = work::load(&*systemd, &name, &file, &wanted).await;
            Event::Stepped(name, Step::Load, result)
        });
    }

    fn take(&mut self, event: Result<Event, tokio::task::JoinError>) {
        match event {
            Ok(Event::Fetched(names, Ok(documents))) => {
                for (name, document) in names.into_iter().zip(documents) {
                    self.take_file(name, document);
                }
            }
            Ok(Event::Fetched(names, Err(error))) => {
                debug!(error = &error as &dyn std::error::Error, "unit files not fetched");
                for name in names {
                    self.loaded(&name);
                    self.fail(&name, format!("fetch the unit file: {error}"));
                }
            }
            Ok(Event::Stepped(name, step, result)) => self.take_step(&name, step, result),
            Ok(Event::JobEnded(name, step, result)) => self.take_job(&name, step, result),
            Ok(Event::State(name, state)) => self.take_state(&name, state),
            // A task panicked: that is a bug, and the unit stays busy. Say so loudly.
            Err(error) => tracing::error!(%error, "a task of the agent failed"),
        }
    }

    fn take_file(&mut self, name: UnitName, document: Option<UnitDocument>) {
        let file = document.map(|document| document.file());
        match (file, self.desired.get(&name).cloned()) {
            (Some(file), Some(wanted)) if file.hash() == wanted.hash => self.install(name, file, wanted),
            (_, None) => {
                self.loaded(&name);
                if let Some(slot) = self.slots.get_mut(&name) {
                    slot.succeeded();
                }
                self.consider(&name);
            }
            // The unit was changed or destroyed meanwhile: the assignment will say so.
            (_, Some(_)) => {
                self.loaded(&name);
                self.fail(&name, "fetch the unit file: it is another one now".to_owned());
            }
        }
    }

    fn take_step(&mut self, name: &UnitName, step: Step, result: Result<Done, Error>) {
        if step == Step::Load {
            self.loaded(name);
        }
        let done = match result {
            Ok(done) => done,
            Err(error) => {
                let text = chain(&error);
                warn!(unit = %name, ?step, error = text, "failed");
                self.fail(name, text);
                return;
            }
        };
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.succeeded();
        match done {
            Done::Loaded(actual, state) => {
                slot.actual = Some(actual);
                slot.state = Some(state);
            }
            Done::Settled(actual) => slot.actual = Some(actual),
            Done::Unloaded => {
                slot.actual = None;
                slot.state = None;
            }
            Done::Queued(actual, job) => {
                slot.actual = Some(actual);
                let name = name.clone();
                self.tasks.spawn(async move { Event::JobEnded(name, step, job.result.await.ok()) });
            }
        }
        info!(unit = %name, ?step, "done");
        self.publish(name);
        self.consider(name);
    }

    fn take_job(&mut self, name: &UnitName, step: Step, result: Option<JobResult>) {
        let operation = if step == Step::Restart { Operation::Restart } else { Operation::Start };
        let Some(slot) = self.slots.get_mut(name) else { return };
        if let Some(JobResult::Failed(result)) = result {
            warn!(unit = %name, ?operation, result, "systemd could not do it");
            slot.error = Some(format!("systemd could not {} it: {result}", verb(operation)));
            self.publish(name);
        }
    }

    fn take_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Changed { unit, state } => self.take_state(&unit, Ok(state)),
            Notice::Reset => self.read_states(),
        }
    }

    fn take_state(&mut self, name: &UnitName, state: Result<UnitState, Error>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        match state {
            Ok(state) => slot.state = Some(state),
            Err(error) => debug!(unit = %name, error = &error as &dyn std::error::Error, "state not read"),
        }
        self.publish(name);
    }

    fn read_states(&mut self) {
        let names: Vec<UnitName> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.actual.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let (systemd, permits) = (Arc::clone(&self.systemd), Arc::clone(&self.permits));
            self.tasks.spawn(async move {
                let _permit = permits.acquire().await.ok();
                let state = systemd.state(&name).await;
                Event::State(name, state)
            });
        }
    }

    /// A unit is no longer being loaded; when it was the last one, the starts that waited go ahead.
    fn loaded(&mut self, name: &UnitName) {
        self.loading.remove(name);
        if self.loading.is_empty() {
            self.loading_since = None;
            for name in std::mem::take(&mut self.gathered) {
                self.consider(&name);
            }
        }
    }

    fn fail(&mut self, name: &UnitName, error: String) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.failed(error);
            self.publish(name);
        }
    }

    fn publish(&self, name: &UnitName) {
        let Some(slot) = self.slots.get(name) else { return };
        self.outbox.set(name, slot.publication(&self.machine, self.desired.get(name)));
    }

    /// When something is due by the clock.
    fn next_deadline(&self) -> Instant {
        let retry = self.slots.values().filter(|slot| !slot.busy).filter_map(Slot::retry_at).min();
        let gathering =
            self.loading_since.filter(|_| !self.gathered.is_empty()).map(|since| since + GATHER_MAX);
        let far = Instant::now() + Duration::from_secs(3600);
        retry.into_iter().chain(gathering).min().unwrap_or(far)
    }
}

fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::Start => "start",
        Operation::Stop => "stop",
        Operation::Restart => "restart",
    }
}

/// An error with its causes, for people.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
