//! `fleet-agent`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_agent::cli::main()
}
