//! The metricset `process_summary`: how many processes there are, by state.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::super::Machine;
use super::super::document::Document;
use super::super::metricset::{Metricset, Pace};
use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// All states that a document names.
const STATES: [&str; 10] =
    ["running", "idle", "sleeping", "stopped", "zombie", "dead", "wakekill", "wake", "parked", "unknown"];

/// `process_summary`.
#[derive(Debug)]
pub(in super::super) struct Summary {
    machine: Arc<Machine>,
    buffer: Vec<u8>,
}

impl Summary {
    pub(in super::super) fn new(machine: Arc<Machine>) -> Summary {
        Summary { machine, buffer: Vec::new() }
    }
}

impl Metricset for Summary {
    fn name(&self) -> &'static str {
        "process_summary"
    }

    fn pace(&self) -> Pace {
        Pace::Slow
    }

    fn measure(&mut self, root: &Root, now: Duration) -> Result<Vec<Document>, ReadError> {
        let mut counts = [0_u64; STATES.len()];
        let mut total = 0_u64;
        let mut table = self.machine.processes.lock().unwrap_or_else(PoisonError::into_inner);
        table.refresh(root, now)?;
        for (stat, _) in table.iter() {
            let name = stat.state_name();
            let slot = STATES.iter().position(|state| *state == name).and_then(|index| counts.get_mut(index));
            if let Some(count) = slot {
                *count += 1;
            }
            total += 1;
        }
        drop(table);

        let mut document = Document::default();
        document.set("system.process.summary.total", total);
        for (state, count) in STATES.iter().zip(counts) {
            document.set(&format!("system.process.summary.{state}"), count);
        }
        if root.read("proc/stat", &mut self.buffer).is_ok() {
            for (line, field) in [(&b"procs_running"[..], "running"), (b"procs_blocked", "blocked")] {
                let field = format!("system.process.summary.threads.{field}");
                document.maybe(&field, threads(&self.buffer, line));
            }
        }
        Ok(vec![document])
    }
}

fn threads(stat: &[u8], name: &[u8]) -> Option<u64> {
    let mut words = text::lines(stat).filter_map(|line| line.strip_prefix(name)).map(text::words).next()?;
    text::next(&mut words)
}
