//! For tests of inputs: runs one by itself, with a queue that the test empties.

mod certificates;

pub(crate) use certificates::Certificates;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Builder, Context, Definition};
use crate::batch::Batch;
use crate::config::{Config, Mistake};
use crate::link::{self, Link};
use crate::metrics::Counters;
use crate::outlet::Limits;
use crate::plan::{AgentFacts, OutputUnit, Settings};
use crate::registry::Registry;
use crate::state::{Board, State, Status, Unit};

/// Whatever a test waits for comes within this.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What an input runs in.
pub(crate) struct Rig {
    pub(crate) directory: TempDir,
    pub(crate) registry: Arc<Registry>,
    link: Arc<Link>,
    pub(crate) board: Board,
    hub: Arc<super::Hub>,
    pub(crate) notifier: Arc<super::Notifier>,
}

/// A running input.
pub(crate) struct Running {
    task: JoinHandle<Result<(), String>>,
    pub(crate) stop: CancellationToken,
    pub(crate) counters: Counters,
}

impl Rig {
    /// With room for so many bytes of events in memory, and 1 MiB on the disk.
    pub(crate) fn new(memory: u32) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let registry = Arc::new(Registry::open(&directory.path().join("registry")).unwrap().0);
        let board = Board::new();
        board.unit(&Unit::Input("input".to_owned()), Status::new(State::Starting, ""));
        let config = Map::from_iter([("queue.disk.max_size".to_owned(), json!("1MiB"))]);
        let output = OutputUnit { name: "output".to_owned(), kind: "test".to_owned(), config };
        let counters = Counters::default();
        let parts = link::Parts { registry: Arc::clone(&registry), board: board.clone(), counters };
        let link = Arc::new(Link::small(directory.path(), &output, &parts, memory));
        Rig { directory, registry, link, board, hub: Arc::default(), notifier: Arc::default() }
    }

    /// Builds an input and runs it.
    pub(crate) fn start(
        &self,
        definition: &Definition,
        kind: &str,
        settings: &Value,
    ) -> Result<Running, Mistake> {
        let config = Config::new(settings.as_object().unwrap());
        let facts =
            AgentFacts { id: "a".into(), version: "1".into(), name: "n".into(), ephemeral_id: "e".into() };
        let collector = Settings {
            data: self.directory.path().to_owned(),
            agent: facts,
            host_name: Some("here".to_owned()),
        };
        let counters = Counters::default();
        let mut builder = Builder {
            config: &config,
            kind,
            input: "input",
            id: "stream",
            signal: definition.signal,
            settings: &collector,
            host_name: "here",
            machine: &Arc::default(),
            hub: &self.hub,
            notifier: &self.notifier,
            chain: None,
            counters: counters.clone(),
            stream: None,
        };
        let mut input = (definition.build)(&mut builder)?;
        let stop = CancellationToken::new();
        let context = Context {
            stream: builder.stream.clone().unwrap(),
            link: Arc::clone(&self.link),
            positions: self.registry.positions("stream"),
            board: self.board.clone(),
            note: String::new(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(async move { input.run(&context).await });
        Ok(Running { task, stop, counters })
    }

    /// The next batches, not yet acknowledged.
    pub(crate) async fn batches(&self) -> Vec<Arc<Batch>> {
        let limits = Limits { events: 1_000_000, bytes: 1 << 30, linger: Duration::ZERO };
        tokio::time::timeout(SOON, self.link.outlet().take(&limits)).await.expect("events within the time")
    }

    /// So many events, in the order in which they came, acknowledged.
    pub(crate) async fn events(&self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            for batch in self.batches().await {
                events.extend(documents(&batch));
                batch.settle();
            }
        }
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    /// The state of the stream, once it is as wanted.
    pub(crate) async fn state(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut receiver = self.board.subscribe();
        let board = self.board.clone();
        let waited = async {
            tokio::select! {
                () = board.publish() => unreachable!("it goes on for ever"),
                status = async {
                    board.publish_now();
                    loop {
                        let found = receiver.borrow_and_update().inputs["input"].streams.get("stream").cloned();
                        if let Some(status) = found.filter(|status| wanted(status)) {
                            return status;
                        }
                        receiver.changed().await.unwrap();
                    }
                } => status,
            }
        };
        match tokio::time::timeout(SOON, waited).await {
            Ok(status) => status,
            Err(_) => panic!("the state is {:#?}", self.board.subscribe().borrow()),
        }
    }

    /// The address that the input listens on.
    pub(crate) async fn address(&self) -> String {
        let status = self.state(|status| status.state == State::Healthy).await;
        status.payload["address"].as_str().unwrap().to_owned()
    }
}

impl Running {
    /// Stops it, and says how it ended.
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.stop.cancel();
        self.ended().await
    }

    /// How it ends by itself.
    pub(crate) async fn ended(self) -> Result<(), String> {
        tokio::time::timeout(SOON, self.task).await.expect("it ends in time").unwrap()
    }
}

/// The documents of a batch.
pub(crate) fn documents(batch: &Batch) -> Vec<Value> {
    (0..batch.len()).map(|index| serde_json::from_slice(batch.document(index)).unwrap()).collect()
}
