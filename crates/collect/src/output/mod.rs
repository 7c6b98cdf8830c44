//! Outputs: where events go.

mod console;
mod elasticsearch;
mod file;
mod rolling;

pub(crate) use elasticsearch::ClientTls;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Mistake, Mistakes};
use crate::metrics::Counters;
use crate::outlet::Outlet;
use crate::plan::OutputUnit;
use crate::state::{Board, State, Status, Unit};

/// The kinds of outputs that there are.
pub(crate) const KINDS: [&str; 4] = ["elasticsearch", "remote_elasticsearch", "file", "console"];

/// What a running output has to do with.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) counters: Counters,
    pub(crate) board: Board,
    pub(crate) unit: Unit,
    /// Where the output may keep files.
    pub(crate) data: PathBuf,
    /// What to add to the message while all is well.
    pub(crate) note: String,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Context {
    pub(crate) fn healthy(&self, message: &str) {
        let message =
            if self.note.is_empty() { message.to_owned() } else { format!("{message}; {}", self.note) };
        self.board.unit(&self.unit, Status::new(State::Healthy, message));
    }

    pub(crate) fn degraded(&self, message: impl Into<String>) {
        self.board.unit(&self.unit, Status::new(State::Degraded, message));
    }
}

/// An output that has been read from its settings, and is not running yet.
pub(crate) trait Output: Send {
    /// Starts the tasks that take batches from the outlet until they are told to stop. They put back what they
    /// have not settled by then.
    fn start(self: Box<Self>, context: Context);
}

/// Reads an output's settings. The second part tells settings that nobody knows.
///
/// # Errors
/// All settings that cannot be used.
pub(crate) fn build(unit: &OutputUnit) -> Result<(Box<dyn Output>, Vec<String>), Mistakes> {
    let config = Config::gathering(&unit.config);
    let output = read(unit, &config);
    Ok((config.judge(output)?, config.unknown()))
}

fn read(unit: &OutputUnit, config: &Config) -> Result<Box<dyn Output>, Mistake> {
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
    // The queue is the same for all kinds; it reads its size itself.
    config.size("queue.disk.max_size", 0)?;
    Ok(match unit.kind.as_str() {
        "elasticsearch" | "remote_elasticsearch" => Box::new(elasticsearch::Elasticsearch::read(config)?),
        "file" => Box::new(file::FileOutput::read(config)?),
        "console" => Box::new(console::Console::read(config)?),
        other => {
            return Err(Mistake::new(
                "type",
                format!("{other:?} is no output that this agent has: use {}", KINDS.join(", ")),
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A running output, until it is as wanted.
    async fn state(kind: &str, config: &serde_json::Value, wanted: State) -> Status {
        let unit = OutputUnit {
            name: "default".to_owned(),
            kind: kind.to_owned(),
            config: config.as_object().unwrap().clone(),
        };
        let context = Context {
            outlet: Arc::new(Outlet::new(1 << 20, Counters::default())),
            counters: Counters::default(),
            board: Board::new(),
            unit: Unit::Output(unit.name.clone()),
            data: PathBuf::new(),
            note: String::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (board, tasks, stop) = (context.board.clone(), context.tasks.clone(), context.stop.clone());
        build(&unit).unwrap().0.start(context);
        let mut states = board.subscribe();
        let found = async {
            tokio::select! {
                () = board.publish() => unreachable!("it goes on for ever"),
                states = states.wait_for(|states| {
                    states.outputs.get("default").is_some_and(|output| output.status.state == wanted)
                }) => states.unwrap().outputs["default"].status.clone(),
            }
        };
        let status = tokio::time::timeout(std::time::Duration::from_secs(20), found).await.unwrap();
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        status
    }

    #[tokio::test]
    async fn an_output_is_healthy_before_the_first_event() {
        let directory = tempfile::tempdir().unwrap();
        state("file", &json!({"path": directory.path().join("new")}), State::Healthy).await;
        assert!(directory.path().join("new/fleet-agent.ndjson").exists());
        state("console", &json!({}), State::Healthy).await;
    }

    #[test]
    fn the_size_of_the_queue_is_known_to_all_kinds() {
        for (kind, config) in [
            ("file", json!({"path": "/x", "queue": {"disk": {"max_size": "10MiB"}}})),
            ("console", json!({"queue.disk.max_size": "10MiB"})),
            ("elasticsearch", json!({"hosts": ["x"], "queue.disk.max_size": "10MiB"})),
        ] {
            let mut config = config.as_object().unwrap().clone();
            let unit = |config| OutputUnit { name: "x".to_owned(), kind: kind.to_owned(), config };
            assert!(build(&unit(config.clone())).unwrap().1.is_empty(), "{kind}");
            config.insert("queue.disk.max_size".to_owned(), json!("much"));
            config.remove("queue");
            let mistakes = build(&unit(config)).err().unwrap().to_string();
            assert!(mistakes.starts_with("queue.disk.max_size: must be a size"), "{mistakes}");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_told_before_the_first_event() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken");
        std::fs::write(&taken, "a file").unwrap();
        let status = state("file", &json!({"path": taken}), State::Degraded).await;
        assert!(status.message.starts_with("cannot open "), "{}", status.message);
    }
}
