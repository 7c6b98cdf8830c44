//! One unit, as the service manager knows it.

use fleet_cluster::systemd::{JobResult, Operation, Record, UnitState};
use fleet_unit::UnitFile;
use tokio::sync::oneshot;

use super::Look;

/// systemd's `ActiveState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Active {
    #[default]
    Inactive,
    Activating,
    Active,
    Deactivating,
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
    pub(super) active: Active,
    pub(super) process: Option<u64>,
    pub(super) job: Option<Pending>,
}

impl Unit {
    /// Whether a process of it is there, or about to be.
    pub(super) fn is_up(&self) -> bool {
        !matches!(self.active, Active::Inactive | Active::Failed)
    }

    pub(super) fn forget_failure(&mut self) {
        if self.active == Active::Failed {
            self.active = Active::Inactive;
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
        let (active, sub) = match self.active {
            Active::Inactive => ("inactive", "dead"),
            Active::Activating => ("activating", "start"),
            Active::Active => ("active", "running"),
            Active::Deactivating => ("deactivating", "stop-sigterm"),
            Active::Failed => ("failed", "failed"),
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
