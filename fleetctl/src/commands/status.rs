//! `status`

use fleet_protocol::fleet_v1::Unit;

use super::NO_UNITS;
use super::remote::run_on;
use crate::cli::Status;
use crate::client::{JobState, is_global};
use crate::context::{Context, Failure, Outcome};
use crate::error::report;
use crate::names::unit_name;

pub(super) async fn run(context: &Context, command: &Status) -> Outcome {
    if command.units.is_empty() {
        context.console.note(NO_UNITS);
    }
    for (index, argument) in command.units.iter().enumerate() {
        let name = unit_name(argument);
        let failed = |error| Failure::new(format!("Error retrieving unit: {}", report(&error)));
        let Some(unit) = context.cluster.unit(&name).await.map_err(failed)? else {
            return Err(Failure::new(format!("Unit {name} does not exist.")));
        };
        if index > 0 {
            context.console.line("");
        }
        let code = if is_global(&unit) {
            everywhere(context, &unit, command.ssh_port).await?
        } else if unit.current_state == JobState::Inactive.as_str() {
            return Err(Failure::new(format!("Unit {name} does not appear to be loaded.")));
        } else {
            show(context, &unit.machine_id, &name, command.ssh_port).await?
        };
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(0)
}

/// Shows a global unit on each machine that it is on. Returns the first exit code that is not 0; one machine
/// that cannot be reached hides no other.
async fn everywhere(context: &Context, unit: &Unit, port: u16) -> Outcome {
    let states = context.cluster.states(Some(&unit.name)).await.map_err(|error| {
        Failure::new(format!("Error retrieving machine state for global units: {}", report(&error)))
    })?;
    if states.is_empty() {
        return Err(Failure::new(format!("Unit {} does not appear to be loaded.", unit.name)));
    }
    let mut first = 0;
    for (index, state) in states.iter().enumerate() {
        if index > 0 {
            context.console.line("");
        }
        context.console.line(format_args!("{}:", context.machine_legend(&state.machine_id, false).await));
        let code = match show(context, &state.machine_id, &unit.name, port).await {
            Ok(code) => code,
            Err(failure) => {
                context.console.note(failure.message);
                failure.code
            }
        };
        first = if first == 0 { code } else { first };
    }
    Ok(first)
}

async fn show(context: &Context, machine: &str, name: &str, port: u16) -> Outcome {
    run_on(context, machine, port, &["systemctl", "status", "-l", name]).await
}
