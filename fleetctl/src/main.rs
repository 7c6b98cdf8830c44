//! The `fleetctl` program.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use fleetctl::{Host, Streams, run};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let mut streams = Streams::of_process();
            // There is nobody else to tell it to.
            let _ = writeln!(streams.err, "Unable to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(&arguments, &Host::of_process(), Streams::of_process()));
    // A thread may wait for standard input for ever.
    runtime.shutdown_background();
    ExitCode::from(code)
}
