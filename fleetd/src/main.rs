//! `fleetd`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleetd::command::main()
}
