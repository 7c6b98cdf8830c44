//! `list-units`

use fleet_protocol::fleet_v1::UnitState;

use super::list::{Columns, or_dash, print_data};
use crate::cli::ListUnits;
use crate::context::{Context, Failure, Outcome};
use crate::error::report;

const FIELDS: [&str; 6] = ["unit", "load", "active", "sub", "machine", "hash"];

pub(super) async fn run(context: &Context, command: &ListUnits) -> Outcome {
    let columns = Columns::parse(&command.fields, &FIELDS)?;
    let states = context.cluster.states(None).await.map_err(|error| {
        Failure::new(format!("Error retrieving list of units from repository: {}", report(&error)))
    })?;
    if let Some(format) = command.options.output {
        print_data(context, format, &states)?;
        return Ok(0);
    }
    let mut rows = Vec::with_capacity(states.len());
    for state in &states {
        let mut row = Vec::new();
        for column in columns.names() {
            row.push(cell(context, state, column, command.options.full).await);
        }
        rows.push(row);
    }
    columns.print(context, &command.options, rows);
    Ok(0)
}

async fn cell(context: &Context, state: &UnitState, column: &str, full: bool) -> String {
    match column {
        "unit" => state.name.clone(),
        "load" => state.systemd_load_state.clone(),
        "active" => state.systemd_active_state.clone(),
        "sub" => state.systemd_sub_state.clone(),
        "machine" if state.machine_id.is_empty() => "-".to_owned(),
        "machine" => context.machine_legend(&state.machine_id, full).await,
        _ if full => or_dash(&state.hash),
        _ => or_dash(&state.hash.chars().take(7).collect::<String>()),
    }
}
