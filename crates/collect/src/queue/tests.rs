use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::batch::DocumentId;
use crate::outlet::Limits;
use crate::registry::Registry;
use crate::stream::{DataStream, Stream};

const LIMITS: Limits = Limits { events: 1, bytes: 1, linger: Duration::ZERO };

/// A queue over a directory, with an outlet whose other end is in the test's hands.
struct World {
    registry: Arc<Registry>,
    outlet: Arc<Outlet>,
    board: Board,
    counters: Counters,
    stop: CancellationToken,
    tasks: TaskTracker,
    spool: Spool,
}

impl World {
    async fn open(directory: &Path, bound: u64) -> World {
        let registry = Arc::new(Registry::open(directory).unwrap().0);
        let (board, counters) = (Board::new(), Counters::default());
        let outlet = Arc::new(Outlet::new(1 << 16, counters.clone()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let spec = Spec {
            name: "queue".into(),
            directory: directory.join("queue"),
            bound,
            positions: registry.positions("queue"),
            board: board.clone(),
            counters: counters.clone(),
        };
        let spool = Spool::open(spec, Arc::clone(&outlet), stop.clone(), &tasks).await.unwrap();
        World { registry, outlet, board, counters, stop, tasks, spool }
    }

    async fn take(&self) -> (String, Arc<Batch>) {
        let take = self.outlet.take(&LIMITS);
        let batch = tokio::time::timeout(Duration::from_secs(10), take).await.unwrap().remove(0);
        (String::from_utf8(batch.document(0).to_vec()).unwrap(), batch)
    }

    /// Ends as a killed process does.
    async fn die(self) {
        self.outlet.close();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn batch(text: &str) -> Batch {
    let data_stream = DataStream { kind: "logs".into(), dataset: "udp".into(), namespace: "default".into() };
    let stream = Stream::of_queue("input".into(), "stream".into(), data_stream, Some("pipe".into()));
    let mut batch = Batch::new(Arc::new(stream));
    batch.push(DocumentId::Text("id".into()), Some("logs-other-x".into()), |out| {
        out.extend_from_slice(text.as_bytes());
        true
    });
    batch
}

#[tokio::test]
async fn what_was_stored_survives_and_what_was_acknowledged_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path(), 1 << 20).await;
    for text in ["1", "2", "3"] {
        world.spool.store(&batch(text)).await.unwrap();
    }
    let (text, first) = world.take().await;
    assert_eq!(text, "1");
    assert_eq!((first.destination(0), first.stream().pipeline()), ("logs-other-x", Some("pipe")));
    assert_eq!(first.id(0), &DocumentId::Text("id".into()));
    first.settle();
    world.registry.flush().unwrap();
    world.die().await;

    let world = World::open(directory.path(), 1 << 20).await;
    assert_eq!(world.take().await.0, "2");
    assert_eq!(world.take().await.0, "3");
    world.die().await;
}

#[tokio::test]
async fn a_torn_end_is_cut_off_wherever_it_tears() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path(), 1 << 20).await;
    world.spool.store(&batch("first")).await.unwrap();
    let file = fs::read_dir(directory.path().join("queue")).unwrap().next().unwrap().unwrap().path();
    let first = fs::read(&file).unwrap().len();
    world.spool.store(&batch("second")).await.unwrap();
    world.die().await;
    let whole = fs::read(&file).unwrap();
    for end in (first..whole.len()).step_by(7) {
        fs::write(&file, &whole[..end]).unwrap();
        let world = World::open(directory.path(), 1 << 20).await;
        world.spool.store(&batch("third")).await.unwrap();
        assert_eq!(world.take().await.0, "first", "{end}");
        assert_eq!(world.take().await.0, "third", "{end}");
        world.die().await;
    }
}

#[tokio::test]
async fn damage_costs_what_lies_behind_it_in_its_file_alone() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path(), 1 << 20).await;
    let long = "x".repeat(80 << 10);
    for number in 0..4 {
        world.spool.store(&batch(&format!("{number}{long}"))).await.unwrap();
    }
    world.die().await;
    let mut files: Vec<_> =
        fs::read_dir(directory.path().join("queue")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[100] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    let world = World::open(directory.path(), 1 << 20).await;
    let (text, _) = world.take().await;
    assert!(text.starts_with('2'), "{}", &text[..5]);
    assert!(files[0].with_extension("damaged").exists());
    world.die().await;
}

#[tokio::test]
async fn a_full_queue_makes_senders_wait_until_something_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path(), 512 << 10).await;
    let long = "x".repeat(100 << 10);
    for _ in 0..5 {
        world.spool.store(&batch(&long)).await.unwrap();
    }
    let spool = world.spool.clone();
    let mut sixth = tokio::spawn(async move { spool.store(&batch(&"y".repeat(100 << 10))).await });
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut sixth).await.is_err(), "it must wait");
    for _ in 0..5 {
        world.take().await.1.settle();
    }
    tokio::time::timeout(Duration::from_secs(10), sixth).await.unwrap().unwrap().unwrap();
    let (text, last) = world.take().await;
    assert!(text.starts_with("yyy"));
    last.settle();
    assert!(world.counters.disk_queue_bytes.get() < 400 << 10);
    world.die().await;
}

#[tokio::test]
async fn a_disk_in_trouble_makes_senders_wait_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path(), 1 << 20).await;
    // Where the first file would be is something that cannot be written, as on a disk that is full.
    let file = directory.path().join("queue").join(format!("{:020}.queue", 1));
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let mut states = world.board.subscribe();
    let spool = world.spool.clone();
    let storing = tokio::spawn(async move { spool.store(&batch("x")).await });
    let told = async {
        loop {
            world.board.publish_now();
            if states.borrow_and_update().storage.contains_key("queue") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
    assert!(!storing.is_finished());
    fs::remove_file(&file).unwrap();
    tokio::time::timeout(Duration::from_secs(10), storing).await.unwrap().unwrap().unwrap();
    assert_eq!(world.take().await.0, "x");
    world.die().await;
}
