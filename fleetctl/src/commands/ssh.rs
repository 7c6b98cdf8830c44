//! `ssh`

use super::remote::{NO_CONNECTION, connect};
use crate::cli::Ssh;
use crate::client::is_global;
use crate::context::{Context, Failure, Outcome};
use crate::error::report;
use crate::names::unit_name;
use crate::ssh::{Input, execute, shell};

pub(super) async fn run(context: &Context, command: &Ssh) -> Outcome {
    let mut words: Vec<&str> = Vec::new();
    let found = match (command.machine.as_str(), command.unit.as_str()) {
        ("", "") => find_either(context, command.target.as_deref()).await,
        (machine, "") => {
            words.extend(command.target.as_deref());
            find_machine(context, machine).await
        }
        ("", unit) => {
            words.extend(command.target.as_deref());
            find_unit(context, unit).await
        }
        _ => return Err(Failure::new("Both machine and unit flags provided, please specify only one.")),
    };
    words.extend(command.command.iter().map(String::as_str));
    let address = found.map_err(|why| Failure::new(format!("Unable to proceed: {why}")))?;
    if address.is_empty() {
        return Err(Failure::new("Could not determine address of machine."));
    }
    let mut connection = connect(context, &address, command.ssh_port, command.forward_agent)
        .await
        .map_err(|error| Failure::new(format!("Failed building SSH client: {}", report(&error))))?;
    let ended = if words.is_empty() {
        shell(&mut connection, &context.console).await
    } else {
        execute(&mut connection, &words.join(" "), Input::Pass, &context.console).await
    };
    let code = ended.map_err(|error| {
        let what = if words.is_empty() { "opening shell" } else { "running command" };
        Failure { message: format!("Failed {what} over SSH: {}", report(&error)), code: NO_CONNECTION }
    })?;
    connection.close().await;
    Ok(code)
}

/// The address of what the user means: a machine or a unit.
async fn find_either(context: &Context, target: Option<&str>) -> Result<String, String> {
    let Some(target) = target else { return Err("one machine or unit must be provided".to_owned()) };
    match (find_machine(context, target).await, find_unit(context, target).await) {
        (Ok(_), Ok(_)) => Err(format!(
            "ambiguous argument, both machine and unit found for `{target}`.\nPlease use flag `--machine` or \
             `--unit` to refine the search"
        )),
        (Ok(address), Err(_)) | (Err(_), Ok(address)) => Ok(address),
        (Err(machine), Err(unit)) => {
            tracing::debug!(machine, unit, "nothing found");
            let hidden = [NOT_A_MACHINE, NOT_A_UNIT];
            let telling = [machine, unit].into_iter().find(|why| !hidden.contains(&why.as_str()));
            Err(match telling {
                Some(why) => format!("could not find matching unit or machine: {why}"),
                None => "could not find matching unit or machine".to_owned(),
            })
        }
    }
}

const NOT_A_MACHINE: &str = "machine does not exist";
const NOT_A_UNIT: &str = "unit does not exist";

/// The address of the machine whose ID starts with `start`.
async fn find_machine(context: &Context, start: &str) -> Result<String, String> {
    let machines = context.cluster.machines().await.map_err(|error| report(&error))?;
    let mut fitting = machines.into_iter().filter(|machine| machine.id.starts_with(start));
    match (fitting.next(), fitting.next()) {
        (None, _) => Err(NOT_A_MACHINE.to_owned()),
        (Some(machine), None) => Ok(machine.primary_ip),
        (Some(_), Some(_)) => Err("found more than one machine".to_owned()),
    }
}

/// The address of the machine that a unit is on.
async fn find_unit(context: &Context, unit: &str) -> Result<String, String> {
    let found = context.cluster.unit(&unit_name(unit)).await.map_err(|error| report(&error))?;
    let Some(unit) = found else { return Err(NOT_A_UNIT.to_owned()) };
    if is_global(&unit) {
        return Err("global units unsupported".to_owned());
    }
    if unit.machine_id.is_empty() {
        return Err(format!("unit {} is not on a machine", unit.name));
    }
    Ok(context.machine(&unit.machine_id).await.map(|machine| machine.primary_ip.clone()).unwrap_or_default())
}
