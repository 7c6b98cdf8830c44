//! Measures the units half on real machines and prints the figures.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use fleet_benches::{Arguments, run};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut out = std::io::stderr();
            writeln!(out, "bench-units: {error}").ok();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                writeln!(out, "  because: {error}").ok();
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
