//! `journal`

use super::remote::run_on;
use crate::cli::Journal;
use crate::client::{JobState, is_global};
use crate::context::{Context, Failure, Outcome};
use crate::error::report;
use crate::names::unit_name;

pub(super) async fn run(context: &Context, command: &Journal) -> Outcome {
    let [argument] = command.units.as_slice() else {
        return Err(Failure::new("One unit file must be provided."));
    };
    let name = unit_name(argument);
    let failed = |error| Failure::new(format!("Error retrieving unit {name}: {}", report(&error)));
    let Some(unit) = context.cluster.unit(&name).await.map_err(failed)? else {
        return Err(Failure::new(format!("Unit {name} does not exist.")));
    };
    if is_global(&unit) {
        return Err(Failure::new(format!(
            "Unable to retrieve journal of global unit {name}. On one of its machines: fleetctl ssh MACHINE \
             journalctl --unit {name}"
        )));
    }
    if unit.current_state == JobState::Inactive.as_str() {
        return Err(Failure::new(format!("Unit {name} does not appear to be running.")));
    }
    let lines = command.lines.to_string();
    let mut program = Vec::new();
    if command.sudo {
        program.push("sudo");
    }
    program.extend(["journalctl", "--unit", &name, "--no-pager", "-n", &lines, "--output", &command.output]);
    if command.follow {
        program.push("-f");
    }
    run_on(context, &unit.machine_id, command.ssh_port, &program).await
}
