//! The way to one output, in memory and over the disk. It lives as long as the output's name is in the plan.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch::Batch;
use crate::config::Config;
use crate::metrics::Counters;
use crate::outlet::{Closed, Outlet};
use crate::plan::OutputUnit;
use crate::queue::{Spec, Spool};
use crate::registry::Registry;
use crate::state::{Board, State, Status};

/// Bytes of events that one output holds in memory, those on their way included. Two requests of the largest size: one on
/// its way, one being gathered; what waits beyond that waits in its source.
const MEMORY: u32 = 8 << 20;

/// Bytes of events that one output holds on the disk, unless the policy says otherwise (`queue.disk.max_size`).
const DISK: u64 = 1 << 30;

/// The way to one output.
#[derive(Debug)]
pub(crate) struct Link {
    outlet: Arc<Outlet>,
    /// Opened when the first event comes that nobody could read again.
    spool: OnceCell<Spool>,
    spec: Spec,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What all links share.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) registry: Arc<Registry>,
    pub(crate) board: Board,
    pub(crate) counters: Counters,
}

impl Link {
    pub(crate) fn new(data: &Path, unit: &OutputUnit, parts: &Parts) -> Link {
        let config = Config::new(&unit.config);
        // A mistake in it is reported by the output, which reads the same settings.
        let bound = config.size("queue.disk.max_size", DISK).unwrap_or(DISK).max(1 << 20);
        let spec = Spec {
            name: format!("queue of output {}", unit.name),
            directory: directory(data, &unit.name),
            bound,
            positions: parts.registry.positions(&format!("queue/{}", unit.name)),
            board: parts.board.clone(),
            counters: parts.counters.clone(),
        };
        Link {
            outlet: Arc::new(Outlet::new(MEMORY, parts.counters.clone())),
            spool: OnceCell::new(),
            spec,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// With so little memory that a test fills it.
    #[cfg(test)]
    pub(crate) fn small(data: &Path, unit: &OutputUnit, parts: &Parts, memory: u32) -> Link {
        Link { outlet: Arc::new(Outlet::new(memory, parts.counters.clone())), ..Link::new(data, unit, parts) }
    }

    pub(crate) fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    /// Sends what an earlier run has left on the disk.
    pub(crate) async fn resume(&self) {
        if tokio::fs::try_exists(&self.spec.directory).await.unwrap_or(false)
            && let Err(error) = self.spool().await
        {
            self.trouble(&error);
        }
    }

    /// Writes a batch to the disk; it goes to the output from there.
    pub(crate) async fn store(&self, batch: &Batch) -> Result<(), Closed> {
        loop {
            match self.spool().await {
                Ok(spool) => return spool.store(batch).await,
                Err(error) => {
                    self.trouble(&error);
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn spool(&self) -> std::io::Result<&Spool> {
        let open =
            || Spool::open(self.spec.clone(), Arc::clone(&self.outlet), self.stop.clone(), &self.tasks);
        self.spool.get_or_try_init(open).await
    }

    fn trouble(&self, error: &std::io::Error) {
        let message =
            format!("the queue in {} cannot be opened: {error}; senders wait", self.spec.directory.display());
        self.spec.board.storage(&self.spec.name, Some(Status::new(State::Degraded, message)));
    }

    /// Nobody takes events any more. What is on the disk stays there for the next time.
    pub(crate) async fn close(&self) {
        self.outlet.close();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A directory of its own for each output.
fn directory(data: &Path, name: &str) -> PathBuf {
    data.join(format!("queue-{}", file_name(name)))
}

/// The name of an output, which may have any character, as part of a file's name.
pub(crate) fn file_name(output: &str) -> String {
    let mut text = String::new();
    for byte in output.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}
