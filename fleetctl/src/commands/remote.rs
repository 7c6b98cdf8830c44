//! Running programs on the machines of the cluster: here, if it is this one, else over SSH.

use std::process::Stdio;

use crate::context::{Context, Failure};
use crate::error::{io_words, report};
use crate::ssh::{self, Address, Connection, Input, SshError, quote};

/// The exit code when no connection could be made, as that of ssh(1).
pub(super) const NO_CONNECTION: u8 = 255;

/// Runs a program on a machine, and returns its exit code.
pub(super) async fn run_on(
    context: &Context,
    machine: &str,
    port: u16,
    program: &[&str],
) -> Result<u8, Failure> {
    if is_local(context, machine) {
        return run_here(program).await;
    }
    let address = context
        .machine(machine)
        .await
        .map(|machine| machine.primary_ip.clone())
        .filter(|address| !address.is_empty())
        .ok_or_else(|| {
            failure(format!("Error getting machine IP: the address of machine {machine} is not known"))
        })?;
    let command: Vec<String> = program.iter().map(|word| quote(word)).collect();
    let unreachable = |error: SshError| failure(format!("Unable to SSH to remote host: {}", report(&error)));
    let mut connection = connect(context, &address, port, false).await.map_err(unreachable)?;
    let code = ssh::execute(&mut connection, &command.join(" "), Input::Typed, &context.console)
        .await
        .map_err(unreachable)?;
    connection.close().await;
    Ok(code)
}

/// Opens a connection to a machine of the cluster, through the tunnel if there is one.
pub(super) async fn connect(
    context: &Context,
    address: &str,
    port: u16,
    forward_agent: bool,
) -> Result<Connection, SshError> {
    let target = Address::parse(address, port)?;
    let connector = &context.settings.connector;
    match &context.settings.tunnel {
        None => connector.connect(&target, forward_agent).await,
        Some(bastion) => {
            let bastion = connector.connect(bastion, false).await?;
            connector.connect_through(bastion, &target, forward_agent).await
        }
    }
}

/// Whether a machine is the one that we run on.
fn is_local(context: &Context, machine: &str) -> bool {
    !machine.is_empty()
        && std::fs::read_to_string(&context.machine_id_file).is_ok_and(|id| id.trim() == machine)
}

async fn run_here(program: &[&str]) -> Result<u8, Failure> {
    let Some((name, arguments)) = program.split_first() else { return Ok(0) };
    let status = tokio::process::Command::new(name)
        .args(arguments)
        .stdin(Stdio::inherit())
        .status()
        .await
        .map_err(|error| failure(format!("Error running local command: {name}: {}", io_words(&error))))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NO_CONNECTION))
}

fn failure(message: String) -> Failure {
    Failure { message, code: NO_CONNECTION }
}
