//! `explain`

use fleet_protocol::fleet_v1::{ExplainedState, Explanation};

use super::list::print_data;
use crate::cli::Explain;
use crate::context::{Context, Failure, Outcome};
use crate::error::report;
use crate::names::unit_name;

/// Machines that are named in one line; of more only the number is told.
const NAMED_MACHINES: usize = 4;

pub(super) async fn run(context: &Context, command: &Explain) -> Outcome {
    let [argument] = command.units.as_slice() else {
        return Err(Failure::new("One unit must be provided: fleetctl explain UNIT"));
    };
    let name = unit_name(argument);
    let failed = |error| Failure::new(format!("Error retrieving Unit {name}: {}", report(&error)));
    let Some(explanation) = context.cluster.explain(&name).await.map_err(failed)? else {
        return Err(match context.cluster.unit(&name).await.map_err(failed)? {
            None => Failure::new(format!("Unit {name} does not exist.")),
            Some(_) => Failure::new(
                "This fleetd is too old to explain anything: update it on the machine that fleetctl talks to",
            ),
        });
    };
    if let Some(format) = command.output {
        print_data(context, format, &explanation)?;
        return Ok(0);
    }
    context.console.line(headline(context, &name, &explanation).await);
    for line in reasons(context, &explanation).await {
        context.console.line(format_args!("  {line}"));
    }
    for state in &explanation.states {
        let machine = context.machine_legend(&state.machine_id, false).await;
        context.console.line(format_args!("  {machine}: {}", state_words(state)));
    }
    Ok(0)
}

async fn headline(context: &Context, name: &str, explanation: &Explanation) -> String {
    let desired = &explanation.desired_state;
    if explanation.global {
        return format!("Unit {name} is global and shall be {desired} on every machine that fits.");
    }
    let current = &explanation.current_state;
    if !explanation.machine_id.is_empty() {
        let machine = context.machine_legend(&explanation.machine_id, false).await;
        return format!("Unit {name} shall be {desired}, is {current}, and is placed on {machine}.");
    }
    match desired.as_str() {
        "inactive" => format!("Unit {name} is inactive, as desired: `fleetctl start {name}` starts it."),
        _ => format!("Unit {name} shall be {desired}, and is not placed on any machine."),
    }
}

/// How a unit is on a machine: `launched (active/running)`, and what went wrong there.
fn state_words(state: &ExplainedState) -> String {
    let mut words = state.current_state.clone();
    if !state.systemd_active_state.is_empty() {
        words.push_str(&format!(" ({}/{})", state.systemd_active_state, state.systemd_sub_state));
    }
    if !state.error.is_empty() {
        words.push_str(&format!("; {}", state.error));
    }
    words
}

/// One line for each reason, with the machines that it holds for.
pub(crate) async fn reasons(context: &Context, explanation: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    for reason in &explanation.reasons {
        let mut machines = Vec::new();
        for machine in reason.machines.iter().take(NAMED_MACHINES) {
            machines.push(context.machine_legend(machine, false).await);
        }
        let more = reason.machines.len().saturating_sub(NAMED_MACHINES);
        if more > 0 {
            machines.push(format!("{more} more"));
        }
        lines.push(if machines.is_empty() {
            reason.reason.clone()
        } else {
            format!("{}: {}", machines.join(", "), reason.reason)
        });
    }
    lines
}
