//! Outputs: where events go.

mod console;
mod elasticsearch;
mod file;

pub(crate) use elasticsearch::ClientTls;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Mistake};
use crate::metrics::Counters;
use crate::outlet::Outlet;
use crate::plan::OutputUnit;
use crate::state::{Board, Status, Unit, UnitState};

/// The kinds of outputs that there are.
pub(crate) const KINDS: [&str; 4] = ["elasticsearch", "remote_elasticsearch", "file", "console"];

/// What a running output has to do with.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) counters: Counters,
    pub(crate) board: Board,
    pub(crate) unit: Unit,
    /// What to add to the message while all is well.
    pub(crate) note: String,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Context {
    pub(crate) fn healthy(&self, message: &str) {
        let message =
            if self.note.is_empty() { message.to_owned() } else { format!("{message}; {}", self.note) };
        self.board.unit(&self.unit, Status::new(UnitState::Healthy, message));
    }

    pub(crate) fn degraded(&self, message: impl Into<String>) {
        self.board.unit(&self.unit, Status::new(UnitState::Degraded, message));
    }
}

/// An output that has been read from its settings, and is not running yet.
pub(crate) trait Output: Send {
    /// Starts the tasks that take batches from the outlet until they are told to stop. They put back what they
    /// have not settled by then.
    fn start(self: Box<Self>, context: Context);
}

/// Reads an output's settings. The second part tells settings that nobody knows.
pub(crate) fn build(unit: &OutputUnit) -> Result<(Box<dyn Output>, Vec<String>), Mistake> {
    let config = Config::new(&unit.config);
    config.allow(&[
        "type",
        "name",
        "id",
        "enabled",
        "processors",
        "shipper",
        "is_default",
        "is_default_monitoring",
    ]);
    let output: Box<dyn Output> = match unit.kind.as_str() {
        "elasticsearch" | "remote_elasticsearch" => Box::new(elasticsearch::Elasticsearch::read(&config)?),
        "file" => Box::new(file::FileOutput::read(&config)?),
        "console" => Box::new(console::Console::read(&config)?),
        other => {
            return Err(Mistake::new(
                "type",
                format!("{other:?} is no output that this agent has: use {}", KINDS.join(", ")),
            ));
        }
    };
    let unknown = config.unknown();
    Ok((output, unknown))
}
