//! `stop` and `unload`

use super::NO_UNITS;
use crate::cli::{Stop, Unload, Wait};
use crate::client::{JobState, is_global};
use crate::context::{Context, Failure, Outcome};
use crate::error::report;
use crate::wait::{Goal, Task, limit, wait_for};

/// The words of one of the two commands.
struct Words {
    verb: &'static str,
    done: &'static str,
    state: JobState,
}

pub(super) async fn stop(context: &Context, command: &Stop) -> Outcome {
    let words = Words { verb: "stop", done: "stopped", state: JobState::Loaded };
    take_back(context, &command.units, command.wait, &words).await
}

pub(super) async fn unload(context: &Context, command: &Unload) -> Outcome {
    let words = Words { verb: "unload", done: "unloaded", state: JobState::Inactive };
    take_back(context, &command.units, command.wait, &words).await
}

async fn take_back(context: &Context, arguments: &[String], wait: Wait, words: &Words) -> Outcome {
    if arguments.is_empty() {
        context.console.note(NO_UNITS);
        return Ok(0);
    }
    let units = context.find_units(arguments).await.map_err(|error| Failure::new(report(&error)))?;
    if units.is_empty() {
        context.console.note("Units not found in registry");
        return Ok(0);
    }
    let mut code = 0;
    let mut names = Vec::new();
    for unit in &units {
        let global = is_global(unit);
        // Of a global unit only what is wanted is known; of another one its machine may still be on the way
        // to something else, so both must be there already to be left alone.
        let there = unit.current_state == words.state.as_str() && unit.desired_state == words.state.as_str();
        if !global && words.state == JobState::Loaded && unit.current_state == JobState::Inactive.as_str() {
            context.console.note(format_args!(
                "Unable to stop unit {} in state {}",
                unit.name,
                JobState::Inactive
            ));
            code = 1;
            continue;
        }
        if !global && there {
            continue;
        }
        if let Err(error) = context.cluster.set_target(&unit.name, words.state).await {
            context.console.note(format_args!(
                "Unable to {} unit {}: {}",
                words.verb,
                unit.name,
                report(&error)
            ));
            code = 1;
        } else if global {
            context.console.line(format_args!("Triggered global unit {} {}", unit.name, words.verb));
        } else {
            names.push(unit.name.clone());
        }
    }
    if wait.no_block {
        for name in &names {
            context.console.line(format_args!("Triggered unit {name} {}", words.verb));
        }
    } else {
        let tasks = names.iter().map(|name| Task::new(name.clone(), Goal::State(words.state))).collect();
        let missed = wait_for(context, tasks, limit(wait.block_attempts)).await;
        for unit in &missed {
            context.console.note(format_args!("Error waiting for units: {}", unit.reason));
        }
        if let Some(first) = missed.first() {
            let names = names.join(" ");
            return Err(Failure::new(format!(
                "Failed to {} units [{names}]. err: {}",
                words.verb, first.reason
            )));
        }
    }
    context.console.note(format_args!("Successfully {} units [{}].", words.done, names.join(" ")));
    Ok(code)
}
