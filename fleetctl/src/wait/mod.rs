//! Waiting until units are as they shall be.
//!
//! One loop watches all units of a command: it asks quickly at first, then every 250 ms, and fetches a list
//! when there are many. Each unit's [`Task`] judges what is seen of it.

mod observe;
mod task;

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::client::ClientError;
use crate::commands::reasons;
use crate::context::{Context, FEW};
use crate::error::report;
use observe::{Observations, observe};

use task::Verdict;
pub(crate) use task::{Goal, Task};

/// The time between two looks: short at first, as most units need a few milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What `--block-attempts` counts.
const ATTEMPT: Duration = Duration::from_secs(2);

/// After this time the user is told why it takes so long, once.
const PATIENCE: Duration = Duration::from_secs(2);

/// A unit that did not become what it should.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    /// The unit.
    pub(crate) name: String,
    /// Why, for the user.
    pub(crate) reason: String,
    /// Whether its machine had taken it up, and systemd is to blame.
    pub(crate) by_systemd: bool,
}

/// The time that a number of attempts is; 0 or less is for ever.
pub(crate) fn limit(attempts: i64) -> Option<Duration> {
    u32::try_from(attempts).ok().filter(|attempts| *attempts > 0).map(|attempts| ATTEMPT * attempts)
}

/// Waits for all of `tasks`, and prints a line for each as it gets there. Returns those that did not.
pub(crate) async fn wait_for(
    context: &Context,
    mut tasks: Vec<Task>,
    limit: Option<Duration>,
) -> Vec<Missed> {
    let start = Instant::now();
    let deadline = limit.map(|limit| start + limit);
    let total = tasks.len();
    let mut missed = Vec::new();
    let mut pause = FIRST_PAUSE;
    let mut trouble_since = None;
    while !tasks.is_empty() && !context.console.is_closed() {
        let looked = match observe(context, &tasks).await {
            Ok(seen) => judge(context, &mut tasks, &seen, &mut missed).await,
            Err(error) => Err(error),
        };
        match looked {
            Ok(()) => trouble_since = None,
            Err(error) if error.is_permanent() => {
                let error = report(&error);
                missed.extend(tasks.drain(..).map(|task| task.out_of_sight(&error)));
            }
            Err(error) => {
                let since = *trouble_since.get_or_insert_with(Instant::now);
                tell_trouble(context, &mut tasks, since, &report(&error));
            }
        }
        if tasks.is_empty() {
            break;
        }
        if start.elapsed() >= PATIENCE {
            context.console.progress(format_args!("Waiting for {} of {total} units", tasks.len()));
            look_deeper(context, &mut tasks, &mut missed).await;
        }
        let next = Instant::now() + pause;
        match deadline {
            Some(deadline) if next >= deadline => {
                missed.extend(tasks.drain(..).map(Task::timed_out));
                break;
            }
            _ => sleep_until(next).await,
        }
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
    missed
}

/// Judges all of `tasks` and leaves those that are still pending. A unit of which too little can be seen is; the
/// last such error is returned.
async fn judge(
    context: &Context,
    tasks: &mut Vec<Task>,
    seen: &Observations,
    missed: &mut Vec<Missed>,
) -> Result<(), ClientError> {
    let mut pending = Vec::with_capacity(tasks.len());
    let mut looked = Ok(());
    for mut task in tasks.drain(..) {
        match task.judge(context, seen.of(task.name())).await {
            Ok(Verdict::Pending) => pending.push(task),
            Ok(Verdict::Reached) => {}
            Ok(Verdict::Missed(failure)) => missed.push(failure),
            Err(error) => {
                looked = Err(error);
                pending.push(task);
            }
        }
    }
    *tasks = pending;
    looked
}

/// A server that does not answer is waited for too, as it may only be restarting; but not in silence.
fn tell_trouble(context: &Context, tasks: &mut [Task], since: Instant, error: &str) {
    if since.elapsed() < PATIENCE {
        return;
    }
    if let Some(task) = tasks.first_mut().filter(|task| !task.told_trouble) {
        task.told_trouble = true;
        context.console.note(format_args!("Cannot see how far it is, trying again: {error}"));
    }
}

/// Asks why units are not yet where they should be: tells it once, and gives up on a unit that its machine
/// cannot take. An explanation costs the server more than a look, so of many units one is asked about at a time.
async fn look_deeper(context: &Context, tasks: &mut Vec<Task>, missed: &mut Vec<Missed>) {
    let at_once = if tasks.len() <= FEW { FEW } else { 1 };
    let due: Vec<usize> =
        (0..tasks.len()).filter(|index| tasks[*index].wants_explanation()).take(at_once).collect();
    // From the end, so that the places of the others stay.
    for index in due.into_iter().rev() {
        if let Some(failure) = explain(context, &mut tasks[index]).await {
            tasks.remove(index);
            missed.push(failure);
        }
    }
}

/// Tells why a unit waits. A unit that its machine cannot take is returned as failed.
async fn explain(context: &Context, task: &mut Task) -> Option<Missed> {
    let explanation = context.cluster.explain(task.name()).await.ok()??;
    let first_time = task.explained();
    if explanation.global {
        return None;
    }
    if explanation.machine_id.is_empty() {
        let lines = reasons(context, &explanation).await;
        if first_time && !lines.is_empty() {
            let name = task.name();
            context.console.note(format_args!("Unit {name} is still waiting:\n  {}", lines.join("\n  ")));
        }
        return None;
    }
    let state = explanation.states.into_iter().find(|state| state.machine_id == explanation.machine_id)?;
    if state.error.is_empty() {
        None
    } else {
        Some(task.failed(context, &state.machine_id, &state.error).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_two_seconds_each() {
        assert_eq!(limit(20), Some(Duration::from_secs(40)));
        assert_eq!(limit(0), None);
        assert_eq!(limit(-1), None);
    }
}
