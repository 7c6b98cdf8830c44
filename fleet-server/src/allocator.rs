//! The allocator reads its settings from the environment, before `main`.

use std::env::{args_os, current_exe, var_os};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Large blocks come from the system one by one and go back to it at once, instead of being kept in arenas: a server
/// that has done something large once (read 100 000 agents, hashed a password) is smaller by some 50 MB, and not
/// slower.
const SETTING: (&str, &str) = ("MIMALLOC_DISALLOW_ARENA_ALLOC", "1");

/// Starts this program once more in its own place with the allocator's setting, unless the environment has one
/// already. The process stays the same. If that cannot be, it goes on without.
pub(crate) fn configure() {
    let (name, value) = SETTING;
    if var_os(name).is_some() {
        return;
    }
    // By its own path: what is executed gives the process its name.
    let Ok(program) = current_exe() else { return };
    let mut arguments = args_os();
    let mut again = Command::new(program);
    if let Some(called) = arguments.next() {
        again.arg0(called);
    }
    // Returns only if it could not be done.
    let _ = again.args(arguments).env(name, value).exec();
}
