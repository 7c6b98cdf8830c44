//! A service manager that does what a script says.
//!
//! It is a process of its own: what is installed and what runs survives a crash of the daemon that asked for
//! it, and so do jobs under way. A call takes several steps with time between them, so that a crash of the
//! caller may leave each of them undone.

mod jobs;
mod script;
mod unit;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_cluster::systemd::{
    Error, InstalledUnit, Job, Notice, Operation, OwnService, Record, Systemd, UnitState,
};
use fleet_unit::{UnitFile, UnitHash, UnitName};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use script::{Kind, Outcome, Script, Scripts};
use unit::Unit;

/// How many notices wait for a slow subscriber; then some are dropped, and it is told [`Notice::Reset`].
const QUEUE: usize = 256;
/// How long a caller waits for a call that hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);

/// What happened on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A file of this hash was installed.
    Installed(UnitHash),
    /// The file was taken away.
    Uninstalled,
    /// A job was accepted.
    Accepted(Operation),
    /// A process was started.
    Began,
    /// A process came to its end.
    Ended,
    /// The caller broke the contract.
    Misused(&'static str),
}

/// Something that happened to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Instant,
    /// To which unit.
    pub unit: UnitName,
    /// What.
    pub act: Act,
}

/// How a unit is, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The hash of the installed file.
    pub hash: UnitHash,
    /// Whether systemd knows the file.
    pub linked: bool,
    /// What systemd says of it.
    pub state: UnitState,
    /// The number of its running process, unique on this machine.
    pub process: Option<u64>,
    /// What was noted of it.
    pub record: Option<Record>,
}

/// The service manager of one machine.
pub struct Scripted {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    scripts: Scripts,
    reachable: watch::Sender<bool>,
}

struct State {
    units: BTreeMap<UnitName, Unit>,
    subscriber: Option<mpsc::Sender<Notice>>,
    reset_owed: bool,
    deeds: Vec<Deed>,
    processes: u64,
    jobs: u64,
    latency: RangeInclusive<Duration>,
    /// The share of calls that fail for no reason.
    failing_calls: f64,
    /// The share of records that cannot be written.
    failing_records: f64,
    random: StdRng,
    /// Ends the jobs when the machine loses its power.
    running: tokio::task::JoinSet<()>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scripted").field("units", &self.shared.state().units).finish_non_exhaustive()
    }
}

impl Scripted {
    /// A service manager without units. Units behave as `scripts` say.
    pub fn new(seed: u64, scripts: &Scripts) -> Scripted {
        let state = State {
            units: BTreeMap::new(),
            subscriber: None,
            reset_owed: false,
            deeds: Vec::new(),
            processes: 0,
            jobs: 0,
            latency: Duration::ZERO..=Duration::ZERO,
            failing_calls: 0.0,
            failing_records: 0.0,
            random: StdRng::seed_from_u64(seed),
            running: tokio::task::JoinSet::new(),
        };
        let shared = Shared {
            state: Mutex::new(state),
            scripts: scripts.clone(),
            reachable: watch::Sender::new(true),
        };
        Scripted { shared: Arc::new(shared) }
    }

    /// How long each step of a call takes.
    pub fn set_latency(&self, latency: RangeInclusive<Duration>) {
        self.shared.state().latency = latency;
    }

    /// The share of calls that fail for no reason, from 0 to 1.
    pub fn set_failing_calls(&self, share: f64) {
        self.shared.state().failing_calls = share;
    }

    /// The share of records that cannot be written, from 0 to 1.
    pub fn set_failing_records(&self, share: f64) {
        self.shared.state().failing_records = share;
    }

    /// Cuts the caller off: results of jobs under way are lost to it.
    pub fn cut(&self) {
        self.shared.reachable.send_replace(false);
        for unit in self.shared.state().units.values_mut() {
            unit.forget_waiting();
        }
    }

    /// Ends [`Scripted::cut`]; the subscriber is told.
    pub fn mend(&self) {
        self.shared.reachable.send_replace(true);
        self.shared.state().notify(Notice::Reset);
    }

    /// Drops the subscription, as if another process had taken it.
    pub fn end_subscription(&self) {
        self.shared.state().subscriber = None;
    }

    /// The process of a unit dies by itself.
    pub fn kill(&self, unit: &UnitName) {
        self.shared.state().die(unit);
    }

    /// What was noted of a unit is lost, or is torn: the same to who reads it.
    pub fn lose_record(&self, unit: &UnitName) {
        if let Some(unit) = self.shared.state().units.get_mut(unit) {
            unit.record = None;
        }
    }

    /// Everything that is gone when the machine has no power.
    pub fn power_off(&self) {
        let mut state = self.shared.state();
        state.running.abort_all();
        state.units.clear();
        state.subscriber = None;
        state.reset_owed = false;
    }

    /// Every unit that has a file.
    pub fn look(&self) -> BTreeMap<UnitName, Look> {
        let state = self.shared.state();
        state.units.iter().filter_map(|(name, unit)| Some((name.clone(), unit.look()?))).collect()
    }

    /// What happened, from the first moment on.
    pub fn deeds(&self) -> Vec<Deed> {
        self.shared.state().deeds.clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step of a call: takes its time, and fails when the caller is cut off.
    async fn step(&self, doing: &str) -> Result<(), Error> {
        let time = {
            let mut state = self.state();
            let latency = state.latency.clone();
            if latency.end().is_zero() { Duration::ZERO } else { state.random.random_range(latency) }
        };
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        if *self.reachable.borrow() { Ok(()) } else { Err(unreachable(doing)) }
    }

    /// The first step of a call, which may fail for no reason.
    async fn begin(&self, doing: &str) -> Result<(), Error> {
        self.step(doing).await?;
        let mut state = self.state();
        let share = state.failing_calls;
        if share > 0.0 && state.random.random_bool(share.min(1.0)) {
            return Err(refused(format!("cannot {doing}: Connection timed out")));
        }
        Ok(())
    }

    /// Does what a script says of a call.
    async fn perform(
        &self,
        doing: &str,
        unit: &UnitName,
        outcome: impl Fn(&Script) -> Outcome,
    ) -> Result<(), Error> {
        match outcome(&self.scripts.of(unit)) {
            Outcome::Works => Ok(()),
            Outcome::Fails => Err(refused(format!("cannot {doing} {unit}: Access denied"))),
            Outcome::Hangs => {
                let mended = self.scripts.wait(unit, |script| outcome(script) != Outcome::Hangs);
                match tokio::time::timeout(CALL_TIMEOUT, mended).await {
                    Ok(()) => Ok(()),
                    Err(_) => Err(refused(format!("cannot {doing} {unit}: no answer within 25s"))),
                }
            }
        }
    }
}

impl State {
    fn note(&mut self, unit: &UnitName, act: Act) {
        self.deeds.push(Deed { at: Instant::now(), unit: unit.clone(), act });
    }

    fn link(&mut self, unit: &UnitName, hash: UnitHash) {
        if let Some(there) = self.units.get_mut(unit) {
            there.linked = true;
        }
        self.note(unit, Act::Installed(hash));
    }

    /// Tells the subscriber. A slow one misses something, and is told so.
    fn notify(&mut self, notice: Notice) {
        let Some(subscriber) = &self.subscriber else { return };
        if self.reset_owed && subscriber.try_send(Notice::Reset).is_ok() {
            self.reset_owed = false;
        }
        if subscriber.try_send(notice).is_err() {
            self.reset_owed = true;
        }
    }

    /// Tells the subscriber of a unit's state, if it is installed.
    fn tell(&mut self, name: &UnitName) {
        let Some(unit) = self.units.get(name).filter(|unit| unit.file.is_some()) else { return };
        let state = unit.state();
        self.notify(Notice::Changed { unit: name.clone(), state });
    }
}

fn refused(message: String) -> Error {
    Error { unreachable: false, message, source: None }
}

fn unreachable(doing: &str) -> Error {
    Error { unreachable: true, message: format!("cannot {doing}: systemd is out of reach"), source: None }
}

#[async_trait::async_trait]
impl Systemd for Scripted {
    async fn installed(&self) -> Result<Vec<InstalledUnit>, Error> {
        self.shared.begin("list the installed units").await?;
        let state = self.shared.state();
        let installed = state.units.iter().filter_map(|(name, unit)| {
            let hash = unit.file.as_ref()?.hash();
            Some(InstalledUnit { name: name.clone(), hash, record: unit.record })
        });
        Ok(installed.collect())
    }

    async fn install(&self, unit: &UnitName, file: &UnitFile) -> Result<(), Error> {
        let shared = &self.shared;
        shared.begin("install").await?;
        {
            let mut state = shared.state();
            let there = state.units.entry(unit.clone()).or_default();
            let runs = there.is_up();
            there.record = None;
            there.file = Some(file.clone());
            there.linked = false;
            if runs {
                state.note(unit, Act::Misused("a unit that runs was replaced"));
            }
        }
        let mut installed = shared.perform("install", unit, |script| script.install).await;
        if installed.is_ok() {
            installed = shared.step("link").await;
        }
        if installed.is_ok() {
            shared.state().link(unit, file.hash());
            installed = shared.step("link").await;
        }
        if installed.is_err() {
            shared.state().units.remove(unit);
        }
        installed
    }

    async fn uninstall(&self, unit: &UnitName) -> Result<(), Error> {
        let shared = &self.shared;
        shared.begin("uninstall").await?;
        shared.perform("uninstall", unit, |script| script.uninstall).await?;
        {
            let mut state = shared.state();
            let Some(there) = state.units.get_mut(unit) else { return Ok(()) };
            there.linked = false;
            there.forget_failure();
            if there.is_up() {
                state.note(unit, Act::Misused("a unit that runs was uninstalled"));
            }
        }
        shared.step("unlink").await?;
        {
            let mut state = shared.state();
            if state.units.get(unit).is_some_and(|there| there.file.is_some()) {
                state.note(unit, Act::Uninstalled);
            }
            state.units.remove(unit);
        }
        shared.step("unlink").await
    }

    async fn record(&self, unit: &UnitName, record: Record) -> Result<(), Error> {
        // A small file on a tmpfs: it needs no systemd, and does not wait.
        let mut state = self.shared.state();
        let share = state.failing_records;
        if share > 0.0 && state.random.random_bool(share.min(1.0)) {
            return Err(refused(format!("cannot note what was done with {unit}: No space left on device")));
        }
        if let Some(there) = state.units.get_mut(unit) {
            there.record = Some(record);
        }
        Ok(())
    }

    async fn queue(&self, unit: &UnitName, operation: Operation) -> Result<Job, Error> {
        self.shared.begin("queue a job").await?;
        let job = jobs::accept(&self.shared, unit, operation)?;
        self.shared.step("queue a job").await?;
        Ok(job)
    }

    async fn state(&self, unit: &UnitName) -> Result<UnitState, Error> {
        self.shared.begin("read a state").await?;
        let state = self.shared.state().units.get(unit).map_or_else(unit::not_found, Unit::state);
        self.shared.step("read a state").await?;
        Ok(state)
    }

    async fn subscribe(&self) -> Result<mpsc::Receiver<Notice>, Error> {
        self.shared.step("subscribe").await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut state = self.shared.state();
        state.subscriber = Some(sender);
        state.reset_owed = false;
        Ok(receiver)
    }

    async fn own_service(&self) -> Result<Option<OwnService>, Error> {
        self.shared.begin("find the own service").await?;
        Ok(None)
    }
}
