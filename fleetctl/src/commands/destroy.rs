//! `destroy`

use futures_util::StreamExt;

use super::NO_UNITS;
use crate::cli::Destroy;
use crate::context::{Context, Failure, Outcome};
use crate::error::report;
use crate::wait::{Goal, Task, limit, wait_for};

pub(super) async fn run(context: &Context, command: &Destroy) -> Outcome {
    if command.units.is_empty() {
        context.console.note(NO_UNITS);
        return Ok(0);
    }
    let units = context.find_units(&command.units).await.map_err(|error| Failure::new(report(&error)))?;
    if units.is_empty() {
        context.console.note("Units not found in registry");
        return Ok(0);
    }
    let mut code = 0;
    let mut tasks = Vec::new();
    let work: Vec<_> = units
        .iter()
        .map(|unit| async move { (unit.name.clone(), context.cluster.destroy(&unit.name).await) })
        .collect();
    let mut answers = futures_util::stream::iter(work).buffered(context.cluster.concurrency());
    while let Some((name, answer)) = answers.next().await {
        match answer {
            // Gone already: somebody else was faster.
            Ok(_) if command.wait.no_block => context.console.line(format_args!("Destroyed {name}")),
            Ok(_) => tasks.push(Task::new(name, Goal::Gone)),
            Err(error) => {
                context.console.note(format_args!("Error destroying units: {}", report(&error)));
                code = 1;
            }
        }
    }
    for unit in wait_for(context, tasks, limit(command.wait.block_attempts)).await {
        context.console.note(format_args!("Error destroying units: {}", unit.reason));
        code = 1;
    }
    Ok(code)
}
