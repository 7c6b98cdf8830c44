//! The few things that are asked of a machine's service manager.
//!
//! The real one is `fleet-systemd` (files and D-Bus); simulations and tests script their own. Each call is
//! about one unit, and calls about different units may run at the same time. Calls about the same unit are
//! made one after another by the agent.

use fleet_unit::{UnitFile, UnitHash, UnitName};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::documents::TargetState;

/// A machine's service manager.
#[async_trait::async_trait]
pub trait Systemd: Send + Sync {
    /// The units that are installed here, by whichever process, in the order of their names: the truth that
    /// a restarted agent adopts. Files in the units directory that are no units are left alone and not told.
    async fn installed(&self) -> Result<Vec<InstalledUnit>, Error>;

    /// Writes the unit's file, links it (at run time, `force`) and, if it has an `[Install]` section, enables
    /// it; reloads the manager only if that is needed for the file to be in force. Replaces an older file of
    /// the unit, which must have been stopped. On an error nothing is left installed.
    async fn install(&self, unit: &UnitName, file: &UnitFile) -> Result<(), Error>;

    /// Takes the unit away again: disables it, forgets a failure of it, removes its file and its record.
    /// The unit must have been stopped. Done, not an error, for what is not installed or not loaded.
    async fn uninstall(&self, unit: &UnitName) -> Result<(), Error>;

    /// Notes what has been done with an installed unit, durably for this boot, for [`Systemd::installed`].
    async fn record(&self, unit: &UnitName, record: Record) -> Result<(), Error>;

    /// Queues a job. The answer means that systemd has accepted it; its result comes through [`Job`].
    async fn queue(&self, unit: &UnitName, operation: Operation) -> Result<Job, Error>;

    /// What systemd says of the unit now. A unit that is not loaded is `not-found`/`inactive`/`dead`.
    async fn state(&self, unit: &UnitName) -> Result<UnitState, Error>;

    /// Every change of the state of an installed unit from now on, in order. After
    /// [`Notice::Reset`] (the connection was lost, or changes had to be dropped): ask for each state again.
    /// One subscriber: a second call ends the first.
    async fn subscribe(&self) -> Result<mpsc::Receiver<Notice>, Error>;

    /// The service that this process is the main process of, or a child of that; `None`: it is neither, even
    /// if some service's process has started it.
    async fn own_service(&self) -> Result<Option<OwnService>, Error>;
}

/// A unit whose file is in the units directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledUnit {
    /// Its name.
    pub name: UnitName,
    /// The hash of its file.
    pub hash: UnitHash,
    /// What was noted of it last, if anything.
    pub record: Option<Record>,
}

/// What an agent has done with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Loaded or launched; [`TargetState::Inactive`] from before the unit is stopped until that is done, so
    /// that whoever finds it knows that it was interrupted.
    pub current: TargetState,
    /// The number of the last restart that has been carried out.
    pub restarts: u64,
}

/// What to do with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Start it; nothing if it runs.
    Start,
    /// Stop it; nothing if it does not run.
    Stop,
    /// Stop it if it runs, then start it.
    Restart,
}

/// The service that this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnService {
    /// What systemd is doing with it.
    pub job: Option<Operation>,
}

/// A job that systemd has accepted.
#[derive(Debug)]
pub struct Job {
    /// Its result when it has ended. Closed without one: the connection was lost, the result is unknown.
    pub result: oneshot::Receiver<JobResult>,
}

/// How a job ended, as `org.freedesktop.systemd1.Manager.JobRemoved` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// As asked.
    Done,
    /// Not needed, because a condition of the unit does not hold or there was nothing to do.
    Skipped,
    /// Another job took its place.
    Canceled,
    /// Anything else, in systemd's word: `failed`, `timeout`, `dependency`, `invalid`, `unsupported` …
    Failed(String),
}

/// systemd's three words for a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `LoadState`: loaded, not-found, bad-setting, error, masked.
    pub load: String,
    /// `ActiveState`: active, reloading, inactive, failed, activating, deactivating.
    pub active: String,
    /// `SubState`: depends on the type of the unit.
    pub sub: String,
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A unit's state has changed.
    Changed {
        /// The unit.
        unit: UnitName,
        /// Its state now.
        state: UnitState,
    },
    /// Changes may have been missed.
    Reset,
}

/// A call to the service manager failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whether the manager itself is out of reach, so that every call would fail now.
    pub unreachable: bool,
    /// The operation, the unit, and what systemd said.
    pub message: String,
    /// The cause below.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
