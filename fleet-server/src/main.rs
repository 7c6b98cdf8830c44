//! `fleet-server`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_server::command::main()
}
