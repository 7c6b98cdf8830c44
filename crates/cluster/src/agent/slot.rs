//! What the agent keeps of one unit.

use std::time::Duration;

use fleet_unit::UnitFile;
use tokio::time::Instant;

use super::decide::{Actual, Step};
use crate::documents::{Assignment, MachineId, StateDocument, TargetState};
use crate::systemd::UnitState;

/// The first pause after a failure; it doubles with each.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// One unit's bookkeeping.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// What is installed; `None`: nothing.
    pub(super) actual: Option<Actual>,
    /// What systemd says of it.
    pub(super) state: Option<UnitState>,
    /// How often systemd has said something of it: an older answer than that is out of date.
    pub(super) heard: u64,
    /// What had been heard when the last step began.
    heard_before: u64,
    /// Its state is being read.
    pub(super) reading: bool,
    /// The number of its newest job: only that one's result says something of the unit.
    pub(super) job: u64,
    /// A step is being carried out.
    pub(super) busy: bool,
    /// The file that takes the place of the installed one, once that has been stopped and removed.
    pub(super) fetched: Option<UnitFile>,
    /// Why the last step, or the last job, failed.
    pub(super) error: Option<String>,
    /// `error` is about a step that could not be tried.
    postponed: bool,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Slot {
    /// A unit that is installed already.
    pub(super) fn adopted(actual: Actual, state: Option<UnitState>) -> Slot {
        Slot { actual: Some(actual), state, ..Slot::default() }
    }

    /// A step is being carried out from now on.
    pub(super) fn begin(&mut self) {
        self.busy = true;
        self.heard_before = self.heard;
    }

    /// Whether the unit is to be replaced by a file that has not been fetched yet.
    pub(super) fn lacks_file(&self, wanted: &Assignment, actual: Actual) -> bool {
        wanted.hash != actual.hash && self.fetched.as_ref().is_none_or(|file| file.hash() != wanted.hash)
    }

    /// The file that takes the place of the installed one is there.
    pub(super) fn fetched(&mut self, file: UnitFile) {
        self.busy = false;
        self.fetched = Some(file);
    }

    /// systemd was asked during the last step. `false`: what it has said of itself meanwhile is something
    /// else, and may be newer or older.
    pub(super) fn learn(&mut self, state: Option<UnitState>) -> bool {
        if state.is_none() || (self.heard != self.heard_before && self.state != state) {
            return false;
        }
        self.state = state;
        true
    }

    /// When the next attempt is due, if the last one failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A step worked. Taking away what another one has left half done is no success of that one.
    pub(super) fn succeeded_in(&mut self, step: Step) {
        let failures = if step == Step::Unload { self.failures } else { 0 };
        self.succeeded();
        self.failures = failures;
    }

    /// Nothing is left to be done.
    pub(super) fn succeeded(&mut self) {
        self.busy = false;
        self.failures = 0;
        self.retry_at = None;
        self.error = None;
        self.postponed = false;
    }

    /// The last step failed: the next attempt waits, longer each time.
    pub(super) fn failed(&mut self, error: String) -> Instant {
        let pause = BACKOFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures += 1;
        self.postponed = false;
        self.wait(error, pause)
    }

    /// The last step could not be tried, for a reason that is not the unit's: the next attempt waits a little.
    pub(super) fn postponed(&mut self, error: String) -> Instant {
        self.postponed = true;
        self.wait(error, BACKOFF_MIN)
    }

    fn wait(&mut self, error: String, pause: Duration) -> Instant {
        let at = Instant::now() + pause;
        self.busy = false;
        self.retry_at = Some(at);
        self.error = Some(error);
        at
    }

    /// Something else is wanted now: it is tried at once.
    pub(super) fn wanted_anew(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        self.fetched = None;
        if std::mem::take(&mut self.postponed) {
            self.error = None;
        }
    }

    /// What others are to see; `None`: nothing.
    pub(super) fn publication(
        &self,
        machine: &MachineId,
        desired: Option<&Assignment>,
    ) -> Option<StateDocument> {
        let document = |hash, current, state: UnitState, restarts| StateDocument {
            machine: machine.clone(),
            hash,
            current,
            load: state.load,
            active: state.active,
            sub: state.sub,
            restarts,
            error: self.error.clone(),
        };
        match (&self.actual, desired) {
            (Some(actual), _) => {
                let all = desired.map_or(0, |desired| desired.restarts);
                let state = self.state.clone().unwrap_or_default();
                Some(document(actual.hash, actual.current, state, actual.restarts.unwrap_or(all)))
            }
            (None, Some(desired)) if self.error.is_some() => {
                Some(document(desired.hash, TargetState::Inactive, UnitState::default(), 0))
            }
            _ => None,
        }
    }
}
