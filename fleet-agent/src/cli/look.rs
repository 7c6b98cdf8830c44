//! Verbs that look at an agent: `inspect`, `diagnostics`, `logs`, `version`; and `restart`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::flags::Globals;
use super::{Failure, Outcome, failure, say};
use crate::agent::write_diagnostics;
use crate::config::Config;
use crate::control::{Ask, ControlError, Told, ask};
use crate::diagnostics::{self, yaml};
use crate::rest::AtRest;

mod logs;

pub(super) use logs::{Logs, logs};

/// Shows the policy.
#[derive(Clone, Debug, Args)]
pub(super) struct Inspect {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Show what the policy became on this machine: inputs and outputs with their variables replaced
    Components {
        /// Accepted for scripts: all is shown
        #[arg(long)]
        show_config: bool,
        /// The id of one input, or the name of one output
        id: Option<String>,
    },
}

pub(super) async fn inspect(globals: &Globals, inspect: &Inspect) -> Outcome {
    let what = if inspect.what.is_some() { Ask::Components } else { Ask::Inspect };
    let value = match ask(&globals.paths().socket(), &what).await {
        Err(error @ ControlError::NotRunning { .. }) => {
            let rest = at_rest(globals, error)?;
            match what {
                Ask::Components => rest.components(),
                _ => rest.policy().unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            }
        }
        answered => answered?,
    };
    let value = match &inspect.what {
        None | Some(What::Components { id: None, .. }) => value,
        Some(What::Components { id: Some(id), .. }) => {
            let all = value;
            let lists = ["inputs", "outputs", "failed"].into_iter().filter_map(|name| all[name].as_array());
            let found = lists.flatten().find(|one| one["id"] == **id || one["name"] == **id);
            found.cloned().ok_or_else(|| failure(format!("there is no input or output {id:?}")))?
        }
    };
    say(String::from_utf8_lossy(&yaml(&value)).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// What an agent keeps that does not run, which is said.
fn at_rest(globals: &Globals, not_running: ControlError) -> Result<AtRest, Failure> {
    let paths = globals.paths();
    // A mistake in the file may be why it does not run: that is to be looked at.
    let config = Config::read(&paths.config_file, &globals.overrides, globals.config.is_some());
    let config = config.map_err(|error| fleet_service::error::chain(&error));
    match AtRest::read(&paths, config.as_ref().map_err(String::as_str))? {
        Some(rest) => {
            // Who reads may have gone.
            let mut out = std::io::stderr();
            let _ = writeln!(out, "The agent does not run: this is what it keeps.");
            if let Err(problem) = &config {
                let _ = writeln!(out, "It cannot start: {problem}");
            }
            Ok(rest)
        }
        None if paths.state().is_dir() => Err(failure(
            "the agent does not run, and what it keeps cannot be opened: the key is a credential of its service (start it), or it is lost (enroll it again)",
        )),
        None => Err(not_running.into()),
    }
}

/// Writes diagnostics.
#[derive(Clone, Debug, Args)]
pub(super) struct Diagnostics {
    /// Where it goes [default: fleet-agent-diagnostics-TIME.zip in this directory]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Accepted for scripts: no profile is taken
    #[arg(short = 'p', long = "cpu-profile")]
    cpu_profile: bool,
    /// Accepted for scripts: no connection is tried
    #[arg(long)]
    skip_conn: bool,
    /// Accepted for scripts: there is no log of events
    #[arg(long)]
    exclude_events: bool,
}

pub(super) async fn diagnostics(globals: &Globals, arguments: &Diagnostics) -> Outcome {
    let path = arguments.file.clone().unwrap_or_else(|| diagnostics::file_name().into());
    let path = std::path::absolute(path)?;
    let paths = globals.paths();
    let made = match ask(&paths.socket(), &Ask::Diagnostics { path: path.clone() }).await {
        Err(error @ ControlError::NotRunning { .. }) => {
            let material = at_rest(globals, error)?.material(&paths);
            match write_diagnostics(material, path).await {
                Told::Done(made) => made,
                Told::Refused(why) => return Err(failure(why)),
            }
        }
        answered => answered?,
    };
    say(&format!("Created diagnostics archive {}", made["path"].as_str().unwrap_or_default()));
    say(
        "It holds no secrets of the policy, but names of hosts, files and users: look through it before you share it.",
    );
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restart(globals: &Globals) -> Outcome {
    ask(&globals.paths().socket(), &Ask::Restart).await?;
    say("The agent starts again.");
    Ok(ExitCode::SUCCESS)
}

/// Says which version this is.
#[derive(Clone, Debug, Args)]
pub(super) struct Version {
    /// Only this program, not the one that runs
    #[arg(long)]
    binary_only: bool,
    /// As YAML
    #[arg(long)]
    yaml: bool,
}

pub(super) async fn version(globals: &Globals, arguments: &Version) -> Outcome {
    let own = crate::version::current();
    let running = match ask(&globals.paths().socket(), &Ask::Status).await {
        _ if arguments.binary_only => None,
        Ok(status) => status["version"].as_str().map(str::to_owned),
        Err(ControlError::NotRunning { .. }) => None,
        Err(error) => Some(format!("unknown: {error}")),
    };
    if arguments.yaml {
        let value = serde_json::json!({"binary": {"version": own}, "daemon": running.map(|version| serde_json::json!({"version": version}))});
        say(String::from_utf8_lossy(&yaml(&strip_null(value))).trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("Binary: {own} (fleet {})", env!("CARGO_PKG_VERSION")));
    if let Some(running) = running {
        say(&format!("Daemon: {running}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn strip_null(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, member| !member.is_null());
    }
    value
}
