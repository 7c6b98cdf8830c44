//! Carrying out one step with the service manager.

use fleet_unit::{UnitFile, UnitName};

use super::decide::{Actual, Step};
use crate::documents::{Assignment, TargetState};
use crate::systemd::{Error, Job, JobResult, Operation, Record, Systemd, UnitState};

/// What a step has brought about.
#[derive(Debug)]
pub(super) enum Done {
    /// The file is installed.
    Loaded(Actual, UnitState),
    /// systemd has accepted the job; its result is still to come.
    Queued(Actual, Job),
    /// The unit is installed and this is how far it is.
    Settled(Actual),
    /// It is gone.
    Unloaded,
}

/// Installs a unit's file.
pub(super) async fn load(
    systemd: &dyn Systemd,
    unit: &UnitName,
    file: &UnitFile,
    wanted: &Assignment,
) -> Result<Done, Error> {
    systemd.install(unit, file).await?;
    let actual = Actual { hash: file.hash(), current: TargetState::Loaded, restarts: Some(wanted.restarts) };
    record(systemd, unit, &actual).await?;
    Ok(Done::Loaded(actual, systemd.state(unit).await?))
}

/// Carries out a step of a unit that is installed.
pub(super) async fn carry_out(
    systemd: &dyn Systemd,
    unit: &UnitName,
    step: Step,
    actual: Actual,
    restarts: u64,
) -> Result<Done, Error> {
    let settled = |current| Actual { hash: actual.hash, current, restarts: Some(restarts) };
    match step {
        Step::Start | Step::Restart => {
            let operation = if step == Step::Start { Operation::Start } else { Operation::Restart };
            let job = systemd.queue(unit, operation).await?;
            let actual = settled(TargetState::Launched);
            record(systemd, unit, &actual).await?;
            Ok(Done::Queued(actual, job))
        }
        Step::Stop => {
            stop(systemd, unit).await?;
            let actual = settled(TargetState::Loaded);
            record(systemd, unit, &actual).await?;
            Ok(Done::Settled(actual))
        }
        Step::SkipRestart => {
            let actual = settled(actual.current);
            record(systemd, unit, &actual).await?;
            Ok(Done::Settled(actual))
        }
        // Loading is `load`'s; asked of what is installed it has nothing left to do.
        Step::Load => Ok(Done::Settled(actual)),
        Step::Unload => {
            stop(systemd, unit).await?;
            systemd.uninstall(unit).await?;
            Ok(Done::Unloaded)
        }
    }
}

async fn record(systemd: &dyn Systemd, unit: &UnitName, actual: &Actual) -> Result<(), Error> {
    let record = Record { current: actual.current, restarts: actual.restarts.unwrap_or(0) };
    systemd.record(unit, record).await
}

/// Stops a unit and waits until it has stopped: its own time-out for stopping bounds that.
async fn stop(systemd: &dyn Systemd, unit: &UnitName) -> Result<(), Error> {
    let job = systemd.queue(unit, Operation::Stop).await?;
    let outcome = match job.result.await {
        Ok(JobResult::Done | JobResult::Skipped) => return Ok(()),
        Ok(JobResult::Canceled) => "another job took its place".to_owned(),
        Ok(JobResult::Failed(result)) => result,
        Err(_) => "its result is unknown".to_owned(),
    };
    // A stop that failed mostly means that the unit had to be killed: what counts is that it is down.
    let state = systemd.state(unit).await?;
    if matches!(state.active.as_str(), "inactive" | "failed") {
        return Ok(());
    }
    Err(Error {
        unreachable: false,
        message: format!("stop {unit}: {outcome}; it is still {}", state.active),
        source: None,
    })
}
