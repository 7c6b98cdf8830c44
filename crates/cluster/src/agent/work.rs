//! Carrying out one step with the service manager.

use fleet_unit::{UnitFile, UnitHash, UnitName};

use super::decide::{Actual, Step};
use super::guard::guarded;
use crate::documents::{Assignment, TargetState};
use crate::systemd::{Error, Job, JobResult, Operation, Record, Systemd, UnitState};

/// What became of a step. A step that failed may have got half of its way.
#[derive(Debug)]
pub(super) struct Done {
    /// How the unit is now; `None`: it is not installed.
    pub(super) actual: Option<Actual>,
    /// What systemd says of it, if it was asked.
    pub(super) state: Option<UnitState>,
    /// A job that systemd has accepted; its result is still to come.
    pub(super) job: Option<Job>,
    /// Why it is not done.
    pub(super) error: Option<Error>,
}

impl Done {
    fn settled(actual: Actual) -> Done {
        Done { actual: Some(actual), state: None, job: None, error: None }
    }

    fn failed(actual: Option<Actual>, error: Error) -> Done {
        Done { actual, state: None, job: None, error: Some(error) }
    }

    /// A step broke off somewhere. Whether a stop was begun, nobody knows; what starts can be started again.
    pub(super) fn broken(step: Step, before: Actual, error: Error) -> Done {
        let actual = match step {
            Step::Stop | Step::Unload => Actual { current: TargetState::Inactive, noted: false, ..before },
            Step::Load | Step::Start | Step::Restart | Step::Note => before,
        };
        Done::failed(Some(actual), error)
    }

    /// An installation broke off somewhere: what may be there of it has to be taken away.
    pub(super) fn broken_load(hash: UnitHash, error: Error) -> Done {
        let actual = Actual { hash, current: TargetState::Inactive, restarts: None, noted: false };
        Done::failed(Some(actual), error)
    }
}

/// Installs a unit's file.
pub(super) async fn load(
    systemd: &dyn Systemd,
    unit: &UnitName,
    file: &UnitFile,
    wanted: &Assignment,
) -> Done {
    if let Err(error) = systemd.install(unit, file).await {
        return Done::failed(None, error);
    }
    let restarts = Some(wanted.restarts);
    let actual = Actual { hash: file.hash(), current: TargetState::Loaded, restarts, noted: false };
    let mut done = note(systemd, unit, actual).await;
    // If systemd does not say how the unit is, it is asked again.
    done.state = guarded(systemd.state(unit)).await.and_then(|state| state).ok();
    done
}

/// Carries out a step of a unit that is installed.
pub(super) async fn carry_out(
    systemd: &dyn Systemd,
    unit: &UnitName,
    step: Step,
    actual: Actual,
    restarts: u64,
) -> Done {
    let reached = |current| Actual { current, restarts: Some(restarts), noted: false, ..actual };
    match step {
        Step::Start => queue(systemd, unit, Operation::Start, actual, reached(TargetState::Launched)).await,
        Step::Restart => {
            queue(systemd, unit, Operation::Restart, actual, reached(TargetState::Launched)).await
        }
        Step::Stop => match stop(systemd, unit, actual).await {
            Ok(()) => note(systemd, unit, reached(TargetState::Loaded)).await,
            Err((stopping, error)) => Done::failed(Some(stopping), error),
        },
        Step::Note => note(systemd, unit, reached(actual.current)).await,
        // Loading is `load`'s; asked of what is installed it has nothing left to do.
        Step::Load => Done::settled(actual),
        Step::Unload => unload(systemd, unit, actual).await,
    }
}

async fn queue(
    systemd: &dyn Systemd,
    unit: &UnitName,
    operation: Operation,
    before: Actual,
    after: Actual,
) -> Done {
    match systemd.queue(unit, operation).await {
        Err(error) => Done::failed(Some(before), error),
        Ok(job) => Done { job: Some(job), ..note(systemd, unit, after).await },
    }
}

/// Writes a unit's record. What was done stays done if that fails: the record is written again, nothing else.
async fn note(systemd: &dyn Systemd, unit: &UnitName, actual: Actual) -> Done {
    let record = Record { current: actual.current, restarts: actual.restarts.unwrap_or(0) };
    match systemd.record(unit, record).await {
        Ok(()) => Done::settled(Actual { noted: true, ..actual }),
        Err(error) => Done::failed(Some(actual), error),
    }
}

async fn unload(systemd: &dyn Systemd, unit: &UnitName, actual: Actual) -> Done {
    let stopping = match stop(systemd, unit, actual).await {
        Ok(()) => Actual { current: TargetState::Inactive, ..actual },
        Err((stopping, error)) => return Done::failed(Some(stopping), error),
    };
    match systemd.uninstall(unit).await {
        Ok(()) => Done { actual: None, state: None, job: None, error: None },
        Err(error) => Done::failed(Some(stopping), error),
    }
}

/// Stops a unit and waits until it has stopped: its own time-out for stopping bounds that. On an error also
/// how the unit is then.
async fn stop(systemd: &dyn Systemd, unit: &UnitName, actual: Actual) -> Result<(), (Actual, Error)> {
    // First the record: if we are interrupted nobody must take the unit for one that runs.
    let stopping = Actual { current: TargetState::Inactive, ..actual };
    let noted = note(systemd, unit, stopping).await;
    if let Some(error) = noted.error {
        return Err((actual, error));
    }
    let stopping = Actual { noted: true, ..stopping };
    let job = systemd.queue(unit, Operation::Stop).await.map_err(|error| (stopping, error))?;
    let outcome = match job.result.await {
        Ok(JobResult::Done | JobResult::Skipped) => return Ok(()),
        Ok(JobResult::Canceled) => "another job took its place".to_owned(),
        Ok(JobResult::Failed(result)) => result,
        Err(_) => "its result is unknown".to_owned(),
    };
    // A stop that failed mostly means that the unit had to be killed: what counts is that it is down.
    let state = systemd.state(unit).await.map_err(|error| (stopping, error))?;
    if matches!(state.active.as_str(), "inactive" | "failed") {
        return Ok(());
    }
    let message = format!("stop {unit}: {outcome}; it is still {}", state.active);
    Err((stopping, Error { unreachable: false, message, source: None }))
}
