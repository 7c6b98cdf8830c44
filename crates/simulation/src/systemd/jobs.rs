//! Jobs: queued, carried out in their own time, replaced by others.

use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::systemd::{Error, Job, JobResult, Operation};
use fleet_unit::UnitName;
use tokio::sync::oneshot;

use super::script::{Kind, Outcome};
use super::unit::{Pending, Phase};
use super::{Act, Shared, State, refused};

/// How long systemd waits for a unit that neither starts nor stops before it kills it.
const JOB_TIMEOUT: Duration = Duration::from_secs(90);

/// Accepts a job. It takes the place of one of another kind that is under way.
pub(super) fn accept(shared: &Arc<Shared>, name: &UnitName, operation: Operation) -> Result<Job, Error> {
    let (sender, result) = oneshot::channel();
    let mut state = shared.state();
    state.jobs += 1;
    let number = state.jobs;
    let Some(unit) = state.units.get_mut(name).filter(|unit| unit.linked || unit.is_up()) else {
        if operation == Operation::Stop {
            // Nobody can have gone yet: the receiver is returned.
            let _ = sender.send(JobResult::Done);
            return Ok(Job { result });
        }
        return Err(refused(format!("cannot start {name}: Unit {name} not found.")));
    };
    match &mut unit.job {
        Some(job) if job.operation == operation => job.waiting.push(sender),
        job => {
            if let Some(replaced) = job.replace(Pending { number, operation, waiting: vec![sender] }) {
                for waiting in replaced.waiting {
                    let _ = waiting.send(JobResult::Canceled);
                }
            }
            let task = carry_out(Arc::clone(shared), name.clone(), number, operation);
            state.running.spawn(task);
        }
    }
    state.note(name, Act::Accepted(operation));
    Ok(Job { result })
}

async fn carry_out(shared: Arc<Shared>, name: UnitName, job: u64, operation: Operation) {
    let stopped = match operation {
        Operation::Start => Ok(()),
        Operation::Stop | Operation::Restart => stop(&shared, &name, job).await,
    };
    let result = match (stopped, operation) {
        (Ok(()), Operation::Start | Operation::Restart) => start(&shared, &name, job).await,
        (stopped, _) => stopped,
    };
    let result = match result {
        Ok(()) => JobResult::Done,
        Err(Some(word)) => JobResult::Failed(word.to_owned()),
        // Another job has told who waited for this one.
        Err(None) => return,
    };
    let mut state = shared.state();
    let Some(pending) = state.own(&name, job).and_then(|unit| unit.job.take()) else { return };
    for waiting in pending.waiting {
        let _ = waiting.send(result.clone());
    }
}

/// systemd's word for why a job failed; `None`: it was replaced.
type Ended = Result<(), Option<&'static str>>;

async fn start(shared: &Shared, name: &UnitName, job: u64) -> Ended {
    let script = shared.scripts.of(name);
    {
        let mut state = shared.state();
        let unit = state.own(name, job).ok_or(None)?;
        if unit.phase == Phase::Up {
            return Ok(());
        }
        if unit.phase != Phase::Starting {
            state.begin_process(name);
        }
    }
    tokio::time::sleep(script.starting).await;
    if script.start == Outcome::Hangs {
        let mended = shared.scripts.wait(name, |script| script.start != Outcome::Hangs);
        let in_time = tokio::time::timeout(JOB_TIMEOUT, mended).await.is_ok();
        let mut state = shared.state();
        state.own(name, job).ok_or(None)?;
        if !in_time {
            state.end_process(name, Phase::Failed);
            return Err(Some("timeout"));
        }
    }
    let mut state = shared.state();
    let unit = state.own(name, job).ok_or(None)?;
    if script.start == Outcome::Fails {
        state.end_process(name, Phase::Failed);
        return Err(Some("failed"));
    }
    if script.kind == Kind::Oneshot {
        state.end_process(name, Phase::Down);
    } else {
        unit.phase = Phase::Up;
        state.tell(name);
    }
    Ok(())
}

async fn stop(shared: &Shared, name: &UnitName, job: u64) -> Ended {
    let script = shared.scripts.of(name);
    {
        let mut state = shared.state();
        let unit = state.own(name, job).ok_or(None)?;
        if !unit.is_up() {
            return Ok(());
        }
        unit.phase = Phase::Stopping;
        state.tell(name);
    }
    tokio::time::sleep(script.stopping).await;
    if script.stop == Outcome::Hangs {
        let mended = shared.scripts.wait(name, |script| script.stop != Outcome::Hangs);
        let in_time = tokio::time::timeout(JOB_TIMEOUT, mended).await.is_ok();
        let mut state = shared.state();
        state.own(name, job).ok_or(None)?;
        if !in_time {
            // It was killed in the end.
            state.end_process(name, Phase::Failed);
            return Err(Some("timeout"));
        }
    }
    let mut state = shared.state();
    let unit = state.own(name, job).ok_or(None)?;
    if script.stop == Outcome::Fails {
        unit.phase = Phase::Up;
        state.tell(name);
        return Err(Some("failed"));
    }
    state.end_process(name, Phase::Down);
    Ok(())
}

impl State {
    /// The unit, if this job is still the one under way.
    fn own(&mut self, name: &UnitName, job: u64) -> Option<&mut super::Unit> {
        self.units.get_mut(name).filter(|unit| unit.job.as_ref().is_some_and(|own| own.number == job))
    }

    fn begin_process(&mut self, name: &UnitName) {
        self.processes += 1;
        let process = self.processes;
        // A process that is being stopped when it is wanted again ends first.
        if self.units.get(name).is_some_and(|unit| unit.process.is_some()) {
            self.note(name, Act::Ended);
        }
        if let Some(unit) = self.units.get_mut(name) {
            unit.phase = Phase::Starting;
            unit.process = Some(process);
        }
        self.note(name, Act::Began);
        self.tell(name);
    }

    fn end_process(&mut self, name: &UnitName, left: Phase) {
        if let Some(unit) = self.units.get_mut(name) {
            unit.phase = left;
            unit.process = None;
        }
        self.note(name, Act::Ended);
        self.tell(name);
    }

    /// The process of a unit dies by itself.
    pub(super) fn die(&mut self, name: &UnitName) {
        if self.units.get(name).is_some_and(|unit| unit.phase == Phase::Up) {
            self.end_process(name, Phase::Failed);
        }
    }
}
