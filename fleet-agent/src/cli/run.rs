//! `fleet-agent run`

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use fleet_component::supervisor::Platform;
use fleet_service::logging::{self, Files, Output, Style};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::flags::Globals;
use super::{Failure, Outcome};
use crate::config::Config;
use crate::daemon::{self, After, Options};
use crate::logs::{self, LogLevel};
use crate::paths::Paths;

/// A log file is followed by the next one at this size.
const LOG_BYTES: u64 = 10 * 1024 * 1024;
/// So many are kept beside the newest.
const LOG_FILES: u32 = 7;
/// The name of the newest.
pub(crate) const LOG_NAME: &str = "fleet-agent.ndjson";
/// Threads of the runtime beside the main one: what is done is waiting, mostly, and each thread has memory of its own.
const WORKERS: usize = 1;
/// Threads for what blocks: files, measurements, packing. Hundreds of inputs that look for files at the same moment
/// take turns; so many may wait for disks that hang before others do.
const BLOCKING: usize = 32;

/// Runs the agent.
#[derive(Clone, Debug, Args)]
pub(super) struct Run {
    /// Accepted for agents that were started so: this one has a container's environment read by `container`
    #[arg(long, hide = true)]
    pub(super) develop: bool,
}

/// Runs the agent, and components for this platform.
pub(super) fn run(globals: &Globals, platform: Platform) -> Outcome {
    let paths = globals.paths();
    super::install::take_back(&paths)?;
    let config = Config::read(&paths.config_file, &globals.overrides, globals.config.is_some())?;
    let log_level = start_log(globals, &config, &paths)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let own_log = (!globals.stderr && !config.to_stderr).then(|| paths.logs.join(LOG_NAME));
    let after = serve(Options {
        paths,
        config,
        overrides: globals.overrides.clone(),
        log_level,
        own_log,
        credentials,
        platform,
    })?;
    match after {
        After::Exit => Ok(ExitCode::SUCCESS),
        After::StartAgain => start_again(&globals.paths()),
    }
}

/// Runs the agent on a runtime of its own.
pub(super) fn serve(options: Options) -> Result<After, Failure> {
    raise_descriptors();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(WORKERS).max_blocking_threads(BLOCKING).thread_name("fleet-agent").enable_all();
    let runtime = builder.build()?;
    let after = runtime.block_on(daemon::run(options));
    // A thread may wait for a disk for ever.
    runtime.shutdown_background();
    Ok(after?)
}

/// Allows as many open files as the system lets the process have: the usual limit, 1024, is for programs of another age.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays (ulimit -n)");
    }
}

/// Starts the program that the link names now, in this process: the service stays the same.
pub(super) fn start_again(paths: &Paths) -> Outcome {
    let running = std::env::current_exe()?;
    let is_installed = running.canonicalize().is_ok_and(|program| program.starts_with(paths.versions()));
    let program: &Path = if is_installed { &paths.program() } else { &running };
    tracing::info!(program = %program.display(), "starting again");
    // It returns only when it fails.
    Err(Command::new(program).args(std::env::args_os().skip(1)).exec().into())
}

fn start_log(globals: &Globals, config: &Config, paths: &Paths) -> Result<LogLevel, Failure> {
    let level = if globals.debug.is_some() || globals.verbose { "debug" } else { config.log_level.as_str() };
    let level = logs::parse(level)?;
    let output = if globals.stderr || config.to_stderr {
        Output::Stderr(Style::detect(std::env::var("JOURNAL_STREAM").ok().as_deref()))
    } else {
        Output::Files(Files {
            path: paths.logs.clone(),
            name: LOG_NAME.to_owned(),
            rotate_every_bytes: LOG_BYTES,
            keep_files: LOG_FILES,
            permissions: 0o600,
            interval: None,
            rotate_on_startup: false,
            redirect_stderr: false,
        })
    };
    let (_, verbosity) = logging::start_steered(output, "fleet-agent", level)?;
    Ok(verbosity.map(LogLevel::of).unwrap_or_default())
}
