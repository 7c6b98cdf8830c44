//! `restart`

use fleet_protocol::fleet_v1::{Unit, UnitState};

use super::NO_UNITS;
use super::submit::tell_missed;
use crate::cli::{Restart, Wait};
use crate::client::{ClientError, JobState, is_global};
use crate::context::{Context, Failure, Outcome};
use crate::error::report;
use crate::names::unit_name;
use crate::wait::{Goal, Missed, Task, limit, wait_for};

pub(super) async fn run(context: &Context, command: &Restart) -> Outcome {
    if command.units.is_empty() {
        context.console.note(NO_UNITS);
        return Ok(0);
    }
    let units = context.find_units(&command.units).await.map_err(|error| Failure::new(report(&error)))?;
    if units.is_empty() {
        let names: Vec<String> = command.units.iter().map(|argument| unit_name(argument)).collect();
        return Err(Failure::new(format!("Unit {} does not exist.", names.join(", "))));
    }
    let mut code = u8::from(units.len() < command.units.len());
    // One after the other, and no further when one does not come back: the units may stand in for each other.
    for (index, unit) in units.iter().enumerate() {
        match restart(context, unit, command.wait).await {
            Ok(task) => {
                let tasks = task.into_iter().collect();
                let missed = wait_for(context, tasks, limit(command.wait.block_attempts)).await;
                if !missed.is_empty() {
                    tell_missed(context, &missed);
                    tell_left(context, &units[index + 1..]);
                    return Ok(1);
                }
            }
            Err(why) => {
                context.console.note(why);
                code = 1;
            }
        }
    }
    Ok(code)
}

fn tell_left(context: &Context, units: &[Unit]) {
    if !units.is_empty() {
        let names: Vec<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
        context.console.note(format_args!("Not restarted: {}", names.join(" ")));
    }
}

/// Asks for a restart, and returns what to wait for.
async fn restart(context: &Context, unit: &Unit, wait: Wait) -> Result<Option<Task>, String> {
    let name = &unit.name;
    let failed = |error: ClientError| format!("Error restarting unit {name}: {}", report(&error));
    match unit.desired_state.as_str() {
        "launched" => {}
        "loaded" if !is_global(unit) => {
            context.cluster.set_target(name, JobState::Launched).await.map_err(failed)?;
            return Ok(triggered(context, unit, wait, Some(Goal::Started)));
        }
        state => return Err(format!("Unable to restart unit {name} in state {state}")),
    }
    if context.cluster.restart(name).await.map_err(failed)? {
        // A server that cannot say how far it is can at least do it.
        let progress = context.cluster.restart_progress(name).await.map_err(failed)?;
        return Ok(triggered(
            context,
            unit,
            wait,
            progress.map(|progress| Goal::Restarted(progress.requested)),
        ));
    }
    stop_and_start(context, unit, wait).await
}

/// What to wait for; where there is nothing, or nobody wants to, says that it was asked for.
fn triggered(context: &Context, unit: &Unit, wait: Wait, goal: Option<Goal>) -> Option<Task> {
    if let Some(goal) = goal.filter(|_| !wait.no_block) {
        return Some(Task::new(unit.name.clone(), goal));
    }
    let kind = if is_global(unit) { "global unit" } else { "unit" };
    context.console.line(format_args!("Triggered {kind} {} restart", unit.name));
    None
}

/// Restarts a unit through a server that only knows how to stop and to start.
async fn stop_and_start(context: &Context, unit: &Unit, wait: Wait) -> Result<Option<Task>, String> {
    let name = &unit.name;
    let failed = |error: ClientError| format!("Error restarting unit {name}: {}", report(&error));
    let global = is_global(unit);
    let states = context.cluster.states(Some(name)).await.map_err(failed)?;
    context.cluster.set_target(name, JobState::Loaded).await.map_err(failed)?;
    let stopped = if global { Goal::StoppedEverywhere } else { Goal::State(JobState::Loaded) };
    let missed = wait_for(context, vec![Task::new(name.clone(), stopped)], limit(wait.block_attempts)).await;
    // Whatever became of the stop: the unit is to run.
    context.cluster.set_target(name, JobState::Launched).await.map_err(failed)?;
    if let Some(Missed { reason, .. }) = missed.into_iter().next() {
        return Err(format!("Error restarting unit {name}: {reason}"));
    }
    let goal = if global { Goal::RunsOn(running(&states)) } else { Goal::Started };
    Ok(triggered(context, unit, wait, Some(goal)))
}

fn running(states: &[UnitState]) -> usize {
    states.iter().filter(|state| state.systemd_active_state == "active").count()
}
