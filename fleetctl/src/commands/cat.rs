//! `cat`

use fleet_unit::UnitFile;

use crate::cli::Cat;
use crate::context::{Context, Failure, Outcome};
use crate::error::report;
use crate::names::unit_name;

pub(super) async fn run(context: &Context, command: &Cat) -> Outcome {
    let [argument] = command.units.as_slice() else {
        return Err(Failure::new("One unit file must be provided"));
    };
    let name = unit_name(argument);
    match context.cluster.unit(&name).await {
        Ok(Some(unit)) => {
            context.console.data(UnitFile::from_options(unit.options).to_string().as_bytes());
            Ok(0)
        }
        Ok(None) => Err(Failure::new(format!("Unit {name} not found"))),
        Err(error) => Err(Failure::new(format!("Error retrieving Unit {name}: {}", report(&error)))),
    }
}
