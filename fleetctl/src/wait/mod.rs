//! Waiting until units are as they shall be.
//!
//! One loop watches all units of a command: it asks quickly at first, then every 250 ms, and fetches a list
//! when there are many. Each unit's [`Task`] judges what is seen of it.

mod observe;
mod task;

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::commands::reasons;
use crate::context::Context;
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
        match observe(context, &tasks).await {
            Ok(seen) => {
                trouble_since = None;
                judge(context, &mut tasks, &seen, &mut missed).await;
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
            tell_reasons(context, &mut tasks).await;
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

async fn judge(context: &Context, tasks: &mut Vec<Task>, seen: &Observations, missed: &mut Vec<Missed>) {
    let mut pending = Vec::with_capacity(tasks.len());
    for mut task in tasks.drain(..) {
        match task.judge(context, seen.of(task.name())).await {
            Verdict::Pending => pending.push(task),
            Verdict::Reached => {}
            Verdict::Missed(failure) => missed.push(failure),
        }
    }
    *tasks = pending;
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

/// Tells why units are not yet where they should be, each once.
async fn tell_reasons(context: &Context, tasks: &mut [Task]) {
    for task in tasks.iter_mut().filter(|task| !task.told_reason && task.may_be_explained()) {
        task.told_reason = true;
        let Ok(Some(explanation)) = context.cluster.explain(task.name()).await else { continue };
        let mut lines = Vec::new();
        if explanation.machine_id.is_empty() && !explanation.global {
            lines.extend(reasons(context, &explanation).await);
        }
        for state in explanation.states.iter().filter(|state| !state.error.is_empty()) {
            let machine = context.machine_legend(&state.machine_id, false).await;
            lines.push(format!("{machine}: {}", state.error));
        }
        if !lines.is_empty() {
            context.console.note(format_args!(
                "Unit {} is still waiting:\n  {}",
                task.name(),
                lines.join("\n  ")
            ));
        }
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
