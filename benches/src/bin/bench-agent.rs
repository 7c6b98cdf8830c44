//! Measures the agent beside its peers and prints the figures.

use std::process::ExitCode;

use clap::Parser as _;
use fleet_benches::{AgentArguments, exit_code, run_agent};

fn main() -> ExitCode {
    exit_code("bench-agent", run_agent(&AgentArguments::parse()))
}
