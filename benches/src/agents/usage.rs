//! Who used the processors meanwhile: the server, the simulated agents, or somebody else.
//!
//! Agents and server share one host. Figures are read together with what the agents took, and with what others took
//! who have nothing to do with the measurement.

use std::time::Instant;

use crate::error::BenchError;
use crate::process::Process;

/// Clock ticks per second in `/proc/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor times at a moment, in seconds.
pub(super) struct Usage {
    at: Instant,
    server: f64,
    agents: f64,
    store: f64,
    machine: f64,
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// By the server, in seconds.
    pub(super) server: f64,
    /// By the simulated agents, in seconds.
    pub(super) agents: f64,
    /// By others, in processors.
    pub(super) others: f64,
}

impl Usage {
    /// Now.
    pub(super) fn now(server: Process, store: Option<Process>) -> Result<Usage, BenchError> {
        let store = store.map(Process::processor_time).transpose()?.unwrap_or_default();
        Ok(Usage {
            at: Instant::now(),
            server: server.processor_time()?,
            agents: Process::new(std::process::id()).processor_time()?,
            store,
            machine: machine()?,
        })
    }

    /// What was used from then until `self`.
    pub(super) fn since(&self, then: &Usage) -> Used {
        let (server, agents) = (self.server - then.server, self.agents - then.agents);
        let others = self.machine - then.machine - server - agents - (self.store - then.store);
        let took = self.at.duration_since(then.at).as_secs_f64();
        Used { server, agents, others: (others / took).max(0.0) }
    }
}

/// Seconds for which all processors together were busy since the start of the system.
fn machine() -> Result<f64, BenchError> {
    let path = "/proc/stat";
    let text = std::fs::read_to_string(path).map_err(BenchError::file("read", path))?;
    let line = text.lines().next().unwrap_or_default();
    let fields = line.split_whitespace().skip(1).filter_map(|field| field.parse::<f64>().ok());
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is contained in these.
    let busy =
        fields.take(8).enumerate().filter(|(place, _)| !matches!(place, 3 | 4)).map(|(_, ticks)| ticks);
    Ok(busy.sum::<f64>() / TICKS_PER_SECOND)
}
