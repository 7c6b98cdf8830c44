//! One run of the client.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::{self, Cli, Command, Environment, Parsed, definition, nouns, unknown_command};
use crate::client::{missing_socket, open};
use crate::commands;
use crate::context::{Context, Failure, Outcome};
use crate::error::{io_words, report};
use crate::output::{Console, Streams};
use crate::settings::Settings;

/// What a run takes from the machine it is on.
#[derive(Debug)]
pub struct Host {
    /// The variables.
    pub environment: Environment,
    /// The file that says which machine this is.
    pub machine_id_file: PathBuf,
}

impl Host {
    /// The machine that the process runs on. Variables that are no text are as if they were not set.
    pub fn of_process() -> Host {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Host { environment, machine_id_file: PathBuf::from("/etc/machine-id") }
    }
}

/// A command line that makes no sense.
const USAGE: u8 = 2;

/// Runs the client with these arguments (the program's name first) and returns its exit code.
pub async fn run(arguments: &[OsString], host: &Host, streams: Streams) -> u8 {
    let colour = host.environment.get("NO_COLOR").is_none_or(String::is_empty);
    let console = Arc::new(Console::new(streams, colour));
    let code = match cli::parse(arguments, &host.environment) {
        Ok(parsed) => {
            if parsed.cli.global.debug {
                start_debugging();
            }
            conclude(&console, dispatch(&console, host, parsed).await)
        }
        Err(error) => {
            console.note(format_args!("Error: {error}\nRun 'fleetctl --help' for usage."));
            USAGE
        }
    };
    match console.finish() {
        Ok(()) => code,
        Err(error) => {
            console.note(format_args!("Error writing to standard output: {}", io_words(&error)));
            if code == 0 { 1 } else { code }
        }
    }
}

fn conclude(console: &Console, outcome: Outcome) -> u8 {
    outcome.unwrap_or_else(|failure| {
        console.note(failure.message);
        failure.code
    })
}

async fn dispatch(console: &Arc<Console>, host: &Host, parsed: Parsed) -> Outcome {
    let Parsed { cli: Cli { global, command }, given, command_path } = parsed;
    if global.version {
        return version(console);
    }
    let Some(command) = command.filter(|_| !global.help) else { return help(console, &command_path) };
    match &command {
        Command::Help { command } => help(console, command),
        Command::Version => version(console),
        Command::Completion(command) => match command.shell {
            Some(shell) => commands::completion(console, shell),
            None => Err(Failure {
                message: "Error: name the shell: fleetctl completion bash|zsh|fish".to_owned(),
                code: USAGE,
            }),
        },
        Command::Man { directory } => commands::manual(directory),
        Command::FdForward(command) => commands::fd_forward(command).await,
        Command::Remote(command) => {
            let settings = Settings::read(&global, given, &host.environment, console)
                .map_err(|error| Failure { message: format!("Error: {}", report(&error)), code: USAGE })?;
            match crate::nouns::run(console, &settings, &host.environment, command).await? {
                Some(code) => Ok(code),
                None => help(console, &command_path),
            }
        }
        Command::Verify { .. } => Err(Failure {
            message: "WARNING: The signed/verified units feature is DEPRECATED and cannot be used."
                .to_owned(),
            code: 2,
        }),
        _ => {
            let failed = |why| Failure::new(format!("Unable to initialize client: {why}"));
            let settings = Settings::read(&global, given, &host.environment, console)
                .map_err(|error| failed(report(&error)))?;
            let cluster = open(&settings, console).await.map_err(|error| failed(report(&error)))?;
            let machine_id_file = host.machine_id_file.clone();
            let context = Context::new(Arc::clone(console), settings, cluster, machine_id_file);
            let outcome = commands::run(&context, &command).await;
            outcome.map_err(|failure| with_hint(failure, &context.settings))
        }
    }
}

/// A failure with what to do about it, where fleetctl was called on a machine without fleetd: the most
/// common mistake.
fn with_hint(mut failure: Failure, settings: &Settings) -> Failure {
    if let Some(socket) = missing_socket(settings) {
        failure.message.push_str(&format!(
            "\nThere is no socket {}: is fleetd running on this machine? From another one, use --tunnel HOST or \
             --endpoint URL",
            socket.display()
        ));
    }
    failure
}

fn version(console: &Console) -> Outcome {
    console.line(format_args!("fleetctl version {}", env!("CARGO_PKG_VERSION")));
    Ok(0)
}

/// The help of the program, or of one of its commands.
fn help(console: &Console, path: &[String]) -> Outcome {
    let mut page = definition();
    let mut is_remote = false;
    for (depth, word) in path.iter().enumerate() {
        let Some(command) = find_command(&page, word) else {
            return Err(Failure { message: format!("Error: {}", unknown_command(&page, word)), code: USAGE });
        };
        is_remote |= depth == 0 && nouns::is_remote(command.get_name());
        page = command.clone();
    }
    if is_remote {
        page = page.mut_args(|arg| {
            let is_of_units = nouns::OPTIONS_OF_UNITS.contains(&arg.get_id().as_str());
            if is_of_units { arg.hide(true) } else { arg }
        });
    }
    console.data(page.render_help().to_string().as_bytes());
    Ok(0)
}

/// The command of this name, or the only one whose name starts with it.
fn find_command<'a>(page: &'a clap::Command, word: &str) -> Option<&'a clap::Command> {
    page.find_subcommand(word).or_else(|| {
        let mut fitting = page.get_subcommands().filter(|command| command.get_name().starts_with(word));
        fitting.next().filter(|_| fitting.next().is_none())
    })
}

/// Lets the libraries tell what they do. A second run in the same process finds it set up.
fn start_debugging() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(std::io::stderr)
        .without_time()
        .finish();
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("debugging was on already");
    }
}
