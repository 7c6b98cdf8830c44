//! `submit`, `load` and `start`

use super::create::{Rules, create_units};
use super::target::set_target;
use super::{NO_UNITS, warn_sign};
use crate::cli::{Load, Start, Submit, Wait};
use crate::client::{JobState, is_global};
use crate::context::{Context, Failure, Outcome};
use crate::wait::{Goal, Missed, Task, limit, wait_for};

pub(super) async fn submit(context: &Context, command: &Submit) -> Outcome {
    if command.units.is_empty() {
        context.console.note(NO_UNITS);
        return Ok(0);
    }
    warn_sign(context, command.create.sign);
    let rules = Rules { replace: command.create.replace, replaceable: &[JobState::Inactive], attempts: 0 };
    let created = create_units(context, &command.units, rules).await?;
    Ok(u8::from(created.refused))
}

pub(super) async fn load(context: &Context, command: &Load) -> Outcome {
    warn_sign(context, command.create.sign);
    let rules = Rules {
        replace: command.create.replace,
        replaceable: &[JobState::Inactive, JobState::Loaded],
        attempts: command.wait.block_attempts,
    };
    bring_to(context, &command.units, rules, JobState::Loaded, command.wait).await
}

pub(super) async fn start(context: &Context, command: &Start) -> Outcome {
    warn_sign(context, command.create.sign);
    let rules = Rules {
        replace: command.create.replace,
        replaceable: &[JobState::Inactive, JobState::Loaded, JobState::Launched],
        attempts: command.wait.block_attempts,
    };
    bring_to(context, &command.units, rules, JobState::Launched, command.wait).await
}

async fn bring_to(
    context: &Context,
    units: &[String],
    rules: Rules<'_>,
    state: JobState,
    wait: Wait,
) -> Outcome {
    if units.is_empty() {
        context.console.note(NO_UNITS);
        return Ok(0);
    }
    let (verb, doing) = if state == JobState::Launched { ("start", "starting") } else { ("load", "loading") };
    let created = create_units(context, units, rules).await?;
    let triggered = set_target(context, &created.names, state)
        .await
        .map_err(|why| Failure::new(format!("Error {doing} units: {why}")))?;
    let mut tasks = Vec::new();
    for unit in &triggered {
        if is_global(unit) {
            context.console.line(format_args!("Triggered global unit {} {verb}", unit.name));
        } else if wait.no_block {
            context.console.line(format_args!("Triggered unit {} {verb}", unit.name));
        } else {
            let goal = if state == JobState::Launched { Goal::Started } else { Goal::State(state) };
            tasks.push(Task::new(unit.name.clone(), goal));
        }
    }
    let missed = wait_for(context, tasks, limit(wait.block_attempts)).await;
    tell_missed(context, &missed);
    Ok(u8::from(created.refused || !missed.is_empty()))
}

/// Tells which units did not get where they should, in the original's two steps.
pub(super) fn tell_missed(context: &Context, missed: &[Missed]) {
    for unit in missed {
        context.console.note(format_args!("Error waiting for units: {}", unit.reason));
    }
    match missed.first() {
        Some(first) if first.by_systemd => {
            context
                .console
                .note(format_args!("Error waiting for systemd unit states, err: {}", first.reason));
        }
        Some(first) => {
            context
                .console
                .note(format_args!("Error waiting for unit states, exit status: {}", first.reason));
        }
        None => {}
    }
}
