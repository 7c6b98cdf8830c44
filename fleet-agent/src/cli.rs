//! The command line, from arguments to exit code. Verbs and flags are those of the agents that people know.

mod bootstrap;
mod container;
mod enroll;
mod flags;
mod install;
mod look;
mod memory;
mod run;
mod status;
mod upgrade;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet_component::supervisor::Platform;
use fleet_service::error::chain;

pub use flags::{EnrollFlags, Globals};

/// A command that did not succeed: what to say.
type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What became of a command.
type Outcome = Result<ExitCode, Failure>;

/// Enrols this machine with a fleet, obeys its policy, collects and ships data, and says how it is.
#[derive(Debug, Parser)]
#[command(name = "fleet-agent", version = crate::version::current(), arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    globals: Globals,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Enrol this machine with a fleet
    Enroll(Box<enroll::Enroll>),
    /// Run the agent; the service does this
    Run(run::Run),
    /// Install the agent as a service of this machine, and enrol it
    Install(Box<install::Install>),
    /// Remove the agent from this machine
    Uninstall(install::Uninstall),
    /// Make the installed agent run as root
    Privileged(install::Privileged),
    /// Make the installed agent run as a user without privileges
    Unprivileged(install::Unprivileged),
    /// Enrol as the environment says, and run: for containers
    Container(container::Container),
    /// Say how the agent and all its parts are
    Status(status::Arguments),
    /// Show the policy that runs, without its secrets
    Inspect(look::Inspect),
    /// Write a zip of what helps to find out what is wrong
    Diagnostics(look::Diagnostics),
    /// Show the agent's log
    Logs(look::Logs),
    /// Start the running agent again
    Restart,
    /// Become another version
    Upgrade(upgrade::Upgrade),
    /// Look after a new version that starts; the service does this
    #[command(hide = true)]
    Watch,
    /// Say which version this is
    Version(look::Version),
}

/// Runs the program: what `main` is.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // There is nobody else to tell it to.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 1 } else { 0 });
        }
    };
    match dispatch(arguments) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments) -> Outcome {
    let Arguments { globals, verb } = arguments;
    if matches!(verb, Verb::Run(_) | Verb::Container(_)) {
        memory::settle();
    }
    match verb {
        Verb::Run(_) => run::run(&globals, Platform::here()),
        Verb::Container(container) => container::container(&globals, &container),
        other => runtime()?.block_on(short(&globals, other)),
    }
}

/// What is done soon needs no threads.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn short(globals: &Globals, verb: Verb) -> Outcome {
    match verb {
        Verb::Enroll(enroll) => enroll::enroll(globals, &enroll).await,
        Verb::Status(status) => status::status(globals, &status).await,
        Verb::Inspect(inspect) => look::inspect(globals, &inspect).await,
        Verb::Diagnostics(diagnostics) => look::diagnostics(globals, &diagnostics).await,
        Verb::Logs(logs) => look::logs(globals, &logs).await,
        Verb::Restart => look::restart(globals).await,
        Verb::Version(version) => look::version(globals, &version).await,
        Verb::Install(asked) => install::install(globals, &asked).await,
        Verb::Uninstall(asked) => install::uninstall(globals, &asked).await,
        Verb::Privileged(asked) => install::privileged(globals, &asked).await,
        Verb::Unprivileged(asked) => install::unprivileged(globals, &asked).await,
        Verb::Upgrade(asked) => upgrade::upgrade(globals, &asked).await,
        Verb::Watch => upgrade::watch(globals),
        Verb::Run(_) | Verb::Container(_) => Ok(ExitCode::SUCCESS),
    }
}

/// Writes what a command has to say. Who reads may have gone.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
}

/// A failure in a few words.
fn failure(text: impl Into<String>) -> Failure {
    text.into().into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_of_all_verbs_stand_behind_those_of_a_verb() {
        let mut command = Arguments::command();
        // Global flags are handed down to verbs when the whole is built.
        command.build();
        for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            let help = verb.render_help().to_string();
            let (own, all) = help.split_once("Options of all verbs:").unwrap();
            assert!(!own.contains("--path.home") && all.contains("--path.home"), "{help}");
            assert!(!all.contains("--url") && !all.contains("--output"), "{help}");
        }
    }
}
