//! The commands, one file each or for a few that are alike.

mod cat;
mod create;
mod destroy;
mod explain;
mod fd_forward;
mod generate;
mod journal;
mod list;
mod list_machines;
mod list_unit_files;
mod list_units;
mod remote;
mod restart;
mod ssh;
mod status;
mod stop;
mod submit;
mod target;

use crate::cli::Command;
use crate::context::{Context, Outcome};

pub(crate) use explain::reasons;
pub(crate) use generate::{completion, manual};

/// What is said when there is nothing to do.
const NO_UNITS: &str = "No units given";

/// Runs a command that needs the cluster.
pub(crate) async fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Cat(command) => cat::run(context, command).await,
        Command::Destroy(command) => destroy::run(context, command).await,
        Command::Explain(command) => explain::run(context, command).await,
        Command::Journal(command) => journal::run(context, command).await,
        Command::ListMachines(command) => list_machines::run(context, command).await,
        Command::ListUnitFiles(command) => list_unit_files::run(context, command).await,
        Command::ListUnits(command) => list_units::run(context, command).await,
        Command::Load(command) => submit::load(context, command).await,
        Command::Restart(command) => restart::run(context, command).await,
        Command::Ssh(command) => ssh::run(context, command).await,
        Command::Start(command) => submit::start(context, command).await,
        Command::Status(command) => status::run(context, command).await,
        Command::Stop(command) => stop::stop(context, command).await,
        Command::Submit(command) => submit::submit(context, command).await,
        Command::Unload(command) => stop::unload(context, command).await,
        // The others need no cluster, and were done before.
        Command::Completion(_)
        | Command::FdForward(_)
        | Command::Help { .. }
        | Command::Man { .. }
        | Command::Remote(_)
        | Command::Verify { .. }
        | Command::Version => Ok(0),
    }
}

pub(crate) use fd_forward::run as fd_forward;

fn warn_sign(context: &Context, sign: bool) {
    if sign {
        context.console.note("WARNING: The signed/verified units feature is DEPRECATED and cannot be used.");
    }
}
