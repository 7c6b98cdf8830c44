//! `fleet-server`: see the library.

mod allocator;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// After the burst of a roll-out, what it took goes back to the system: with the system's own allocator most of
/// it would stay in pieces between what is held for connections.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    allocator::configure();
    fleet_server::command::main()
}
