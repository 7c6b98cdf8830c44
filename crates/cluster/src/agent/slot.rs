//! What the agent keeps of one unit.

use std::time::Duration;

use tokio::time::Instant;

use super::decide::Actual;
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
    /// A step is being carried out.
    pub(super) busy: bool,
    /// Why the last step, or the last job, failed.
    pub(super) error: Option<String>,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Slot {
    /// A unit that is installed already.
    pub(super) fn adopted(actual: Actual, state: UnitState) -> Slot {
        Slot { actual: Some(actual), state: Some(state), ..Slot::default() }
    }

    /// When the next attempt is due, if the last one failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The last step worked.
    pub(super) fn succeeded(&mut self) {
        self.busy = false;
        self.failures = 0;
        self.retry_at = None;
        self.error = None;
    }

    /// The last step failed: the next attempt waits.
    pub(super) fn failed(&mut self, error: String) {
        let pause = BACKOFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.busy = false;
        self.failures += 1;
        self.retry_at = Some(Instant::now() + pause);
        self.error = Some(error);
    }

    /// Something else is wanted now: it is tried at once.
    pub(super) fn wanted_anew(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    /// What others are to see; `None`: nothing.
    pub(super) fn publication(
        &self,
        machine: &MachineId,
        desired: Option<&Assignment>,
    ) -> Option<StateDocument> {
        let document = |hash, current, state: &UnitState, restarts| StateDocument {
            machine: machine.clone(),
            hash,
            current,
            load: state.load.clone(),
            active: state.active.clone(),
            sub: state.sub.clone(),
            restarts,
            error: self.error.clone(),
        };
        match (&self.actual, &self.state, desired) {
            (Some(actual), Some(state), _) => {
                let all = desired.map_or(0, |desired| desired.restarts);
                Some(document(actual.hash, actual.current, state, actual.restarts.unwrap_or(all)))
            }
            (None, _, Some(desired)) if self.error.is_some() => {
                Some(document(desired.hash, TargetState::Inactive, &UnitState::default(), 0))
            }
            _ => None,
        }
    }
}
