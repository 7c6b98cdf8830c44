//! The life of a service, as far as it is the agent's: decisions alone, with the time given.
//!
//! | what happens | what is done |
//! |---|---|
//! | it should be there | it is checked; if that fails, it is installed; if that fails, all of it again after a growing pause |
//! | it is there | it has to check in; it is degraded when it does not, and failed the third time |
//! | the agent ends | a check is ended, what else is under way has a grace; the service goes on |
//! | it is not wanted any more | it is uninstalled, after an installation that is under way; a few times if that fails |

use std::time::Duration;

use tokio::time::Instant;

use crate::supervisor::checkins::{Checkins, MOST_MISSES};
use crate::supervisor::runtime::Leave;
use crate::supervisor::spec::{Operation, ServiceSpec};

/// The pause after the first failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// So often is it tried to uninstall a service.
const MOST_UNINSTALLS: u32 = 3;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Begin this operation.
    Begin(Operation),
    /// There is no such operation; this follows.
    Skip(Operation, Outcome),
    /// The service has missed so many check-ins in a row.
    Missed(u32),
    /// It has missed too many.
    Lost(u32),
    /// End the operation that is under way.
    Abort,
}

/// What follows from an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something else is due, or nothing at all.
    GoesOn,
    /// The service is there.
    Serves,
    /// It is not; it is tried again after this pause.
    Failed(Duration),
    /// It is there still, and nothing more is tried.
    GaveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Due { at: Instant, operation: Operation },
    Operating { operation: Operation, abort_at: Option<Instant>, is_aborted: bool },
    Serving(Checkins),
    Ended,
}

/// One service.
#[derive(Debug)]
pub(super) struct Life {
    can_check: bool,
    can_install: bool,
    can_uninstall: bool,
    interval: Duration,
    phase: Phase,
    leaving: Option<Leave>,
    /// In a row.
    failures: u32,
    last_checkin: Option<Instant>,
}

impl Life {
    /// The service should be there.
    pub(super) fn new(spec: &ServiceSpec, now: Instant) -> Life {
        Life {
            can_check: spec.operations.check.is_some(),
            can_install: spec.operations.install.is_some(),
            can_uninstall: spec.operations.uninstall.is_some(),
            interval: spec.timeouts.checkin,
            phase: Phase::Due { at: now, operation: Operation::Check },
            leaving: None,
            failures: 0,
            last_checkin: None,
        }
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Due { at, .. } => Some(at),
            Phase::Operating { abort_at, is_aborted: false, .. } => abort_at,
            Phase::Serving(checkins) => Some(checkins.deadline()),
            Phase::Operating { .. } | Phase::Ended => None,
        }
    }

    /// What is to be done now, if anything is.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Act> {
        match &mut self.phase {
            Phase::Due { at, operation } if *at <= now => {
                let operation = *operation;
                Some(self.begin(operation, now))
            }
            Phase::Operating { abort_at: Some(at), is_aborted, .. } if *at <= now && !*is_aborted => {
                *is_aborted = true;
                Some(Act::Abort)
            }
            Phase::Serving(checkins) => match checkins.look(now)? {
                misses @ ..=MOST_MISSES => Some(Act::Missed(misses)),
                misses if misses == MOST_MISSES + 1 => Some(Act::Lost(misses)),
                // It was told.
                _ => None,
            },
            _ => None,
        }
    }

    fn begin(&mut self, operation: Operation, now: Instant) -> Act {
        let (is_there, is_done_without) = match operation {
            // Who cannot be asked is installed, which does nothing if it is there.
            Operation::Check => (self.can_check, false),
            // Who was not asked whether it is there is taken to be.
            Operation::Install => (self.can_install, !self.can_check),
            Operation::Uninstall => (self.can_uninstall, true),
        };
        if !is_there {
            return Act::Skip(operation, self.finished(operation, is_done_without, now));
        }
        self.phase = Phase::Operating { operation, abort_at: None, is_aborted: false };
        Act::Begin(operation)
    }

    /// An operation has ended.
    pub(super) fn finished(&mut self, operation: Operation, is_done: bool, now: Instant) -> Outcome {
        match (self.leaving, operation) {
            (Some(Leave::Keep), _) => self.end(),
            (Some(Leave::Remove), Operation::Uninstall) if is_done => self.end(),
            (Some(Leave::Remove), Operation::Uninstall) => {
                let outcome = self.retry(Operation::Uninstall, now);
                if self.failures < MOST_UNINSTALLS {
                    return outcome;
                }
                self.phase = Phase::Ended;
                Outcome::GaveUp
            }
            (Some(Leave::Remove), _) => {
                self.phase = Phase::Due { at: now, operation: Operation::Uninstall };
                Outcome::GoesOn
            }
            (None, Operation::Check) if !is_done => {
                self.phase = Phase::Due { at: now, operation: Operation::Install };
                Outcome::GoesOn
            }
            (None, _) if is_done => {
                self.failures = 0;
                self.phase = Phase::Serving(Checkins::new(self.interval, now));
                Outcome::Serves
            }
            (None, _) => self.retry(Operation::Check, now),
        }
    }

    /// What is due cannot be begun. Returns the pause before it is tried again.
    pub(super) fn put_off(&mut self, now: Instant) -> Duration {
        let pause = self.pause();
        self.phase = Phase::Due { at: now + pause, operation: Operation::Check };
        pause
    }

    fn end(&mut self) -> Outcome {
        self.phase = Phase::Ended;
        Outcome::GoesOn
    }

    fn retry(&mut self, operation: Operation, now: Instant) -> Outcome {
        let pause = self.pause();
        self.phase = Phase::Due { at: now + pause, operation };
        Outcome::Failed(pause)
    }

    fn pause(&mut self) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
    }

    /// The service has checked in.
    pub(super) fn checked_in(&mut self, now: Instant) {
        self.last_checkin = Some(now);
        if let Phase::Serving(checkins) = &mut self.phase {
            checkins.checked_in(now);
        }
    }

    /// Whether it has not missed one: it may run from before.
    pub(super) fn checked_in_lately(&self, now: Instant) -> bool {
        self.last_checkin.is_some_and(|at| now - at <= self.interval)
    }

    /// Lets go of it. `grace` is for what is under way when the agent ends.
    pub(super) fn stop(&mut self, leave: Leave, now: Instant, grace: Duration) {
        self.leaving = Some(leave);
        self.failures = 0;
        match (&mut self.phase, leave) {
            (Phase::Operating { operation, abort_at, .. }, _) => {
                let aborts = match (*operation, leave) {
                    (Operation::Check, _) => Some(now),
                    (_, Leave::Keep) => Some(now + grace),
                    // What is half installed may not be known to whatever uninstalls it.
                    (_, Leave::Remove) => None,
                };
                *abort_at = [*abort_at, aborts].into_iter().flatten().min();
            }
            (Phase::Ended, _) => {}
            (phase, Leave::Keep) => *phase = Phase::Ended,
            (phase, Leave::Remove) => *phase = Phase::Due { at: now, operation: Operation::Uninstall },
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving(_))
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }
}

#[cfg(test)]
mod tests;
