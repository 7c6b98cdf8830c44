//! One unit, as the service manager knows it.

use fleet_cluster::systemd::{JobResult, Operation, Record, UnitState};
use fleet_unit::UnitFile;
use tokio::sync::oneshot;

use super::Look;

/// systemd's `ActiveState`, in shorter words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Down,
    Starting,
    Up,
    Stopping,
    Failed,
}

/// A job under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) operation: Operation,
    /// Who waits for its result.
    pub(super) waiting: Vec<oneshot::Sender<JobResult>>,
}

#[derive(Debug, Default)]
pub(super) struct Unit {
    /// The file in the units directory.
    pub(super) file: Option<UnitFile>,
    /// Whether systemd knows the file.
    pub(super) linked: bool,
    pub(super) record: Option<Record>,
    pub(super) phase: Phase,
    pub(super) process: Option<u64>,
    pub(super) job: Option<Pending>,
}

impl Unit {
    /// Whether a process of it is there, or about to be.
    pub(super) fn is_up(&self) -> bool {
        !matches!(self.phase, Phase::Down | Phase::Failed)
    }

    pub(super) fn forget_failure(&mut self) {
        if self.phase == Phase::Failed {
            self.phase = Phase::Down;
        }
    }

    /// Nobody waits for the job under way any more.
    pub(super) fn forget_waiting(&mut self) {
        if let Some(job) = &mut self.job {
            job.waiting.clear();
        }
    }

    pub(super) fn state(&self) -> UnitState {
        let load = if self.linked { "loaded" } else { "not-found" };
        let (active, sub) = match self.phase {
            Phase::Down => ("inactive", "dead"),
            Phase::Starting => ("activating", "start"),
            Phase::Up => ("active", "running"),
            Phase::Stopping => ("deactivating", "stop-sigterm"),
            Phase::Failed => ("failed", "failed"),
        };
        UnitState { load: load.to_owned(), active: active.to_owned(), sub: sub.to_owned() }
    }

    /// How it is, seen from outside; `None` without a file.
    pub(super) fn look(&self) -> Option<Look> {
        Some(Look {
            hash: self.file.as_ref()?.hash(),
            linked: self.linked,
            state: self.state(),
            process: self.process,
            record: self.record,
        })
    }
}

/// The state of a unit that is not there.
pub(super) fn not_found() -> UnitState {
    Unit::default().state()
}
