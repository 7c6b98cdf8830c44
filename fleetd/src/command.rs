//! The command line, from arguments to exit code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fleet_service::config::{Mistake, Warning};
use fleet_service::listen;
use fleet_service::logging::{self, Style};
use tracing::{error, warn};

use crate::VERSION;

use crate::config::{self, Options};
use crate::daemon::Daemon;

/// Exit codes beside success: a run that failed, and a command line or a configuration that is wrong.
const FAILED: u8 = 1;
const USAGE: u8 = 2;

const HELP: &str = "\
Usage: fleetd [--config PATH] [--check-config]

The daemon of a Fleet machine: runs systemd units across a cluster.

  --config PATH    read this configuration file (default /etc/fleet/fleet.conf)
  --check-config   read the configuration, tell every mistake in it, and exit
  --version        print the version and exit
  --help           print this and exit

Each option can also be set by an environment variable FLEET_<OPTION>, which wins.
";

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run { config: Option<PathBuf> },
    Check { config: Option<PathBuf> },
    Version,
    Help,
}

/// Why the arguments cannot be followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ArgumentError {
    #[error("fleetd takes no arguments. Did you mean to invoke fleetctl instead?")]
    Positional,
    #[error("flag provided but not defined: {0}")]
    Unknown(String),
    #[error("flag needs an argument: -config")]
    NoPath,
}

impl Command {
    /// Flags may begin with one dash or two, as in the original.
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ArgumentError> {
        let mut arguments = arguments.into_iter();
        let mut config = None;
        let mut check = false;
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy();
            if text == "version" {
                return Ok(Command::Version);
            }
            let Some(flag) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
                return Err(ArgumentError::Positional);
            };
            match flag {
                "version" => return Ok(Command::Version),
                "help" | "h" => return Ok(Command::Help),
                "check-config" => check = true,
                "config" => config = Some(arguments.next().ok_or(ArgumentError::NoPath)?.into()),
                flag => match flag.strip_prefix("config=") {
                    Some(path) => config = Some(path.into()),
                    None => return Err(ArgumentError::Unknown(text.into_owned())),
                },
            }
        }
        Ok(if check { Command::Check { config } } else { Command::Run { config } })
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let command = match Command::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            say_error(&error.to_string());
            let usage = if error == ArgumentError::Positional { FAILED } else { USAGE };
            return ExitCode::from(usage);
        }
    };
    match command {
        Command::Version => say(&format!("fleetd version {VERSION}\n")),
        Command::Help => say(HELP),
        Command::Check { config } => check(config.as_deref()),
        Command::Run { config } => run(config),
    }
}

fn check(config: Option<&Path>) -> ExitCode {
    match read(config) {
        Ok((_, warnings)) => {
            for warning in &warnings {
                say_error(&format!("warning: {warning}"));
            }
            say("the configuration is fine\n")
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                say_error(mistake);
            }
            ExitCode::from(FAILED)
        }
    }
}

fn run(config: Option<PathBuf>) -> ExitCode {
    let loaded = read(config.as_deref());
    let verbosity = loaded.as_ref().map_or(0, |(options, _)| options.verbosity);
    let style = Style::detect(std::env::var("JOURNAL_STREAM").ok().as_deref());
    let verbosity = match logging::start(style, verbosity) {
        Ok(verbosity) => verbosity,
        Err(error) => {
            say_error(&format!("logging cannot be started: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let Some(options) = log_outcome(loaded) else { return ExitCode::from(FAILED) };
    match start(options, config, verbosity) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = &*error, "fleetd ends");
            ExitCode::from(FAILED)
        }
    }
}

fn start(
    options: Options,
    config: Option<PathBuf>,
    verbosity: logging::Verbosity,
) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let listeners = listen::from_systemd()?;
        let reload = Box::new(move || log_outcome(read(config.as_deref())));
        Daemon { options, reload, listeners, verbosity }.run().await?;
        Ok(())
    });
    // What still blocks (a look-up, a file) must not keep the process.
    runtime.shutdown_background();
    ended
}

type Loaded = Result<(Options, Vec<Warning>), Vec<String>>;

/// Reads the file and the environment. Without `--config` the file may be missing.
fn read(config: Option<&Path>) -> Loaded {
    let path = config.unwrap_or(Path::new(config::DEFAULT_FILE));
    let text = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && config.is_none() => None,
        Err(error) => {
            return Err(vec![format!(
                "Unable to use config file {path}: {error}; check the path given by --config",
                path = path.display()
            )]);
        }
    };
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    config::load(text.as_deref().map(|text| (path, text)), &environment)
        .map_err(|mistakes| mistakes.iter().map(Mistake::to_string).collect())
}

fn log_outcome(loaded: Loaded) -> Option<Options> {
    match loaded {
        Ok((options, warnings)) => {
            for warning in &warnings {
                warn!("{warning}");
            }
            Some(options)
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                error!("{mistake}");
            }
            None
        }
    }
}

fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}

fn say_error(text: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, ArgumentError> {
        Command::parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_read_as_the_original_reads_them() {
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(parse(&[]), Ok(Command::Run { config: None }));
        assert_eq!(parse(&["-config", "/a"]), Ok(Command::Run { config: path("/a") }));
        assert_eq!(parse(&["--config=/a"]), Ok(Command::Run { config: path("/a") }));
        assert_eq!(parse(&["--check-config", "-config=/a"]), Ok(Command::Check { config: path("/a") }));
        assert_eq!(parse(&["version"]), Ok(Command::Version));
        assert_eq!(parse(&["-version"]), Ok(Command::Version));
        assert_eq!(parse(&["list-units"]), Err(ArgumentError::Positional));
        assert_eq!(parse(&["--nope"]), Err(ArgumentError::Unknown("--nope".to_owned())));
        assert_eq!(parse(&["-config"]), Err(ArgumentError::NoPath));
    }
}
