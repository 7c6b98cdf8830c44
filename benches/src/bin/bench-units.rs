//! Measures the units half on real machines and prints the figures.

use std::process::ExitCode;

use clap::Parser as _;
use fleet_benches::{Arguments, exit_code, run};

fn main() -> ExitCode {
    exit_code("bench-units", run(&Arguments::parse()))
}
