//! `list-machines`

use fleet_protocol::fleet_v1::Machine;

use super::list::{Columns, or_dash, print_data};
use crate::cli::ListMachines;
use crate::context::{Context, Failure, Outcome, id_legend};
use crate::error::report;

const FIELDS: [&str; 3] = ["machine", "ip", "metadata"];

pub(super) async fn run(context: &Context, command: &ListMachines) -> Outcome {
    let columns = Columns::parse(&command.fields, &FIELDS)?;
    let machines = context.cluster.machines().await.map_err(|error| {
        Failure::new(format!(
            "Error retrieving list of active machines from fleet API ({})\nPossible issues:\n  \
             etcd is unhealthy and/or lost quorum\n  connection cannot be established to any etcd servers",
            report(&error)
        ))
    })?;
    if let Some(format) = command.options.output {
        print_data(context, format, &machines)?;
        return Ok(0);
    }
    let row =
        |machine: &Machine| columns.names().map(|name| cell(machine, name, command.options.full)).collect();
    columns.print(context, &command.options, machines.iter().map(row).collect());
    Ok(0)
}

fn cell(machine: &Machine, column: &str, full: bool) -> String {
    match column {
        "machine" => id_legend(&machine.id, full),
        "ip" => or_dash(&machine.primary_ip),
        _ => or_dash(&metadata(machine)),
    }
}

fn metadata(machine: &Machine) -> String {
    let pairs: Vec<String> = machine.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}
