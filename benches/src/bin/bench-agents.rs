//! Measures fleet-server with simulated agents and prints the figures.

use std::process::ExitCode;

use clap::Parser as _;
use fleet_benches::{AgentsArguments, exit_code, run_agents};

fn main() -> ExitCode {
    exit_code("bench-agents", run_agents(&AgentsArguments::parse()))
}
