//! The command line, from arguments to exit code.
//!
//! Flags are those of the original. Every failure is exit code 1, as there.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use fleet_service::config::document::Problems;

use crate::config::{DEFAULT_VERSION, Source};

mod check;

/// Agents enrol here, check in, and get their policy and actions.
#[derive(Debug, Parser)]
#[command(name = "fleet-server", disable_version_flag = true)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,

    /// Run under an agent, which says on the standard input how it is reached and then what to do
    #[arg(long)]
    agent_mode: bool,

    /// Print the version
    #[arg(short, long)]
    version: bool,

    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Where the configuration comes from. These may stand before the verb and behind it.
#[derive(Debug, clap::Args)]
struct Flags {
    /// Read this file; the default is fleet-server.yml in the working directory, if it is there
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set a key, over the file: -E inputs.0.server.port=8443. May be repeated; the last one wins
    #[arg(
        short = 'E',
        long = "E",
        value_name = "KEY=VALUE",
        action = ArgAction::Append,
        allow_hyphen_values = true
    )]
    overrides: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read the configuration, tell every mistake and warning in it, and exit
    CheckConfig(Flags),
}

impl Flags {
    fn into_source(self) -> Source {
        Source { file: self.config, overrides: self.overrides }
    }

    /// Together with those that stand further behind, which win.
    fn then(mut self, later: Flags) -> Flags {
        self.overrides.extend(later.overrides);
        Flags { config: later.config.or(self.config), overrides: self.overrides }
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os(), &mut io::stdout(), &mut io::stderr())
}

/// The program with these arguments. Its log is not among `out` and `err`.
fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            return say(err, &error.to_string(), ExitCode::FAILURE);
        }
        // `--help`
        Err(error) => return say(out, &error.to_string(), ExitCode::SUCCESS),
    };
    if arguments.version {
        return say(out, &version_line(), ExitCode::SUCCESS);
    }
    if arguments.agent_mode {
        return crate::component::run(arguments.flags.overrides);
    }
    match arguments.verb {
        Some(Verb::CheckConfig(flags)) => {
            let (report, is_good) = check::report(&arguments.flags.then(flags).into_source().load());
            say(out, &report, if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        None => start(&arguments.flags.into_source(), err),
    }
}

fn start(source: &Source, err: &mut dyn Write) -> ExitCode {
    match source.load() {
        Ok((config, warnings)) => {
            let told = Problems { mistakes: Vec::new(), warnings };
            say(err, &check::findings(&told), ExitCode::SUCCESS);
            crate::daemon::run(&config)
        }
        Err(problems) => say(err, &check::findings(&problems), ExitCode::FAILURE),
    }
}

/// The version first that scripts know to compare, then our own.
fn version_line() -> String {
    format!("fleet-server version {DEFAULT_VERSION} [fleet {}] (FIPS-distribution: false)\n", crate::VERSION)
}

fn say(stream: &mut dyn Write, text: &str, outcome: ExitCode) -> ExitCode {
    match stream.write_all(text.as_bytes()) {
        Ok(()) => outcome,
        Err(_) => ExitCode::FAILURE,
    }
}
