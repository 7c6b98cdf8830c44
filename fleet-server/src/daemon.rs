//! The parts put together, from start to drain.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::Config;

/// Runs the server until it is told to stop.
pub(crate) fn run(config: Config) -> ExitCode {
    let Config { version, .. } = config;
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "fleet-server {version}: this build serves nothing");
    ExitCode::FAILURE
}
