//! Measures the management API of fleet-server and prints the figures.

use std::process::ExitCode;

use clap::Parser as _;
use fleet_benches::{ManagementArguments, exit_code, run_management};

fn main() -> ExitCode {
    exit_code("bench-management", run_management(&ManagementArguments::parse()))
}
