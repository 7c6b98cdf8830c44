//! `list-unit-files`

use fleet_protocol::fleet_v1::Unit;
use fleet_unit::UnitFile;
use serde::Serialize;

use super::list::{Columns, or_dash, print_data};
use crate::cli::ListUnitFiles;
use crate::client::is_global;
use crate::context::{Context, Failure, Outcome};
use crate::error::report;

const FIELDS: [&str; 8] = ["unit", "global", "dstate", "target", "tmachine", "state", "hash", "desc"];

/// A unit as `-o` prints it: as the API has it, and what follows from its options.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    unit: &'a Unit,
    global: bool,
    hash: String,
}

pub(super) async fn run(context: &Context, command: &ListUnitFiles) -> Outcome {
    let columns = Columns::parse(&command.fields, &FIELDS)?;
    if columns.names().any(|name| name == "tmachine") {
        context.console.note("WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead");
    }
    let units = context.cluster.units().await.map_err(|error| {
        Failure::new(format!("Error retrieving list of units from repository: {}", report(&error)))
    })?;
    if let Some(format) = command.options.output {
        let entries: Vec<Entry<'_>> = units
            .iter()
            .map(|unit| Entry { unit, global: is_global(unit), hash: file(unit).hash().to_string() })
            .collect();
        print_data(context, format, &entries)?;
        return Ok(0);
    }
    let mut rows = Vec::with_capacity(units.len());
    for unit in &units {
        let mut row = Vec::new();
        for column in columns.names() {
            row.push(cell(context, unit, column, command.options.full).await);
        }
        rows.push(row);
    }
    columns.print(context, &command.options, rows);
    Ok(0)
}

async fn cell(context: &Context, unit: &Unit, column: &str, full: bool) -> String {
    match column {
        "unit" => unit.name.clone(),
        "global" => is_global(unit).to_string(),
        "dstate" => or_dash(&unit.desired_state),
        "target" | "tmachine" if is_global(unit) => "global".to_owned(),
        "target" | "tmachine" if unit.machine_id.is_empty() => "-".to_owned(),
        "target" | "tmachine" => context.machine_legend(&unit.machine_id, full).await,
        "state" if is_global(unit) => "-".to_owned(),
        "state" => or_dash(&unit.current_state),
        "desc" => or_dash(file(unit).description()),
        _ if full => file(unit).hash().to_string(),
        _ => file(unit).hash().short(),
    }
}

fn file(unit: &Unit) -> UnitFile {
    UnitFile::from_options(unit.options.clone())
}
