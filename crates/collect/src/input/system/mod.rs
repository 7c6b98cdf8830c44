//! `system/metrics`: measures the machine, and tells it in the documents that users of the `system` integration know.
//!
//! Each metricset is a small parser of files below `/proc` and `/sys` and a function from its samples to documents;
//! shares and rates are made of two samples. No text that these files could hold makes it fail: what cannot be
//! understood is left out.

mod cpu;
mod delta;
mod diskio;
mod document;
mod filesystem;
mod input;
mod load;
mod memory;
mod metricset;
mod mounts;
mod network;
mod process;
mod settings;
mod sockets;
#[cfg(test)]
mod tests;
mod uptime;

pub(crate) use input::DEFINITION;

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What all streams of a collector share: one clock, so that they wake up together; one table of processes; and turns,
/// so that what needs a thread uses the same one after the other.
#[derive(Debug)]
pub(crate) struct Machine {
    start: Instant,
    processes: Mutex<process::Table>,
    slow: Arc<Semaphore>,
    /// What hangs holds up nothing but what would hang too.
    hanging: Arc<Semaphore>,
}

impl Default for Machine {
    fn default() -> Machine {
        let one = || Arc::new(Semaphore::new(1));
        Machine { start: Instant::now(), processes: Mutex::default(), slow: one(), hanging: one() }
    }
}
