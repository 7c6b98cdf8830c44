//! The embedded store against SIGKILL: a process of its own writes, is killed, and every write that it was told
//! is done must be there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fleet_store::embedded::Embedded;
use fleet_store::{ErrorKind, Expect, LeaseId, ListRequest, Store, Write, WriteError};

use crate::cases::{THINGS, body, text_of};

/// Where the child writes; without it, the child's test has nothing to do.
const PATH: &str = "FLEET_STORE_TEST_CHILD";

/// How many writers the child has.
const WRITERS: usize = 4;

/// The child: writes until it is killed, and tells each write that was acknowledged.
#[tokio::test]
async fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let store: Arc<dyn Store> = Arc::new(Embedded::open(Path::new(&path)).unwrap());
    let lease = store.grant(Duration::from_secs(600)).await.unwrap();
    println!("lease {}", lease.id.0);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0.. {
                let id = format!("{writer}-{}", n % 50);
                // Batches, single writes and deletes in turn.
                let revision = match n % 7 {
                    0 => store.write(&THINGS, Write::delete(&id, Expect::Any), None).await.unwrap(),
                    1 => {
                        let writes = vec![
                            Write::put(format!("{id}-twin"), Expect::Any, body(n)),
                            Write::put(&id, Expect::Any, body(n)),
                        ];
                        store.write_many(&THINGS, writes, None).await.pop().unwrap().unwrap()
                    }
                    _ => store.write(&THINGS, Write::put(&id, Expect::Any, body(n)), None).await.unwrap(),
                };
                println!("done {writer} {id} {n} {}", revision.0);
            }
        });
    }
    writers.join_next().await;
}

/// What the child had been told when it was killed: per document the last acknowledged write.
struct Told {
    lease: LeaseId,
    last: BTreeMap<String, (usize, u64)>,
    /// Per writer the number of its last acknowledged write; the next one may have been done, unseen.
    latest: [usize; WRITERS],
}

fn write_and_kill(path: &Path, writes: usize) -> Told {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Told { lease: LeaseId(0), last: BTreeMap::new(), latest: [0; WRITERS] };
    let mut count = 0;
    // The pipe ends with the child: what it said before it died is read to the end.
    while let Some(Ok(line)) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["lease", id] => told.lease = LeaseId(id.parse().unwrap()),
            ["done", writer, id, n, revision] => {
                let (writer, n): (usize, usize) = (writer.parse().unwrap(), n.parse().unwrap());
                told.latest[writer] = n;
                told.last.insert(id.to_owned(), (n, revision.parse().unwrap()));
                count += 1;
                if count == writes {
                    child.kill().unwrap();
                }
            }
            _ => {}
        }
    }
    child.wait().unwrap();
    assert!(count >= writes, "the child wrote {count}");
    told
}

#[tokio::test]
async fn acknowledged_writes_survive_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    for round in 1..=3 {
        let told = tokio::task::spawn_blocking({
            let path = path.clone();
            move || write_and_kill(&path, 300 * round)
        });
        let told = told.await.unwrap();
        let store = Embedded::open(&path).unwrap();
        for (id, (n, revision)) in &told.last {
            let writer: usize = id.split('-').next().unwrap().parse().unwrap();
            let next = told.latest[writer] + 1;
            if next % 50 == n % 50 {
                // The write under way when the child died was to this document: it may have been done.
                continue;
            }
            let document = store.get(&THINGS, id).await.unwrap();
            match n % 7 {
                0 => assert_eq!(document, None, "{id} was deleted"),
                _ => {
                    let document = document.unwrap_or_else(|| panic!("{id} is lost"));
                    assert_eq!((document.revision.0, text_of(&document)), (*revision, body(*n)));
                }
            }
        }
        // The lease is still held, with its full time.
        store.renew(told.lease).await.unwrap();
        let write = Write::put("fenced", Expect::Any, body(round));
        store.write(&THINGS, write, Some(told.lease)).await.unwrap();
        let page = store.list(&THINGS, ListRequest::all()).await.unwrap();
        assert!(page.documents.iter().all(|document| document.revision <= page.revision));
    }
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = Embedded::open(&path).unwrap();
    let error = Embedded::open(&path).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("in use by another process"), "{error}");
    drop(store);
    Embedded::open(&path).unwrap();
}

#[tokio::test]
async fn foreign_and_newer_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let sql = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    sql("CREATE TABLE other (a)");
    let error = Embedded::open(&path).unwrap_err();
    assert!(error.message.contains("is no database of Fleet"), "{error}");
    sql("DROP TABLE other");
    drop(Embedded::open(&path).unwrap());
    sql("PRAGMA user_version = 2");
    let error = Embedded::open(&path).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsuitable);
    assert!(error.message.contains("has format 2"), "{error}");
    std::fs::write(&path, "this is a text, and long enough to be taken for a page".repeat(100)).unwrap();
    let error = Embedded::open(&path).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsuitable, "{error:?}");
    let error = Embedded::open(Path::new("/nowhere/store.db")).unwrap_err();
    assert!(error.message.contains("store_path"), "{error}");
}

#[tokio::test]
async fn watches_end_when_the_store_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.db")).unwrap();
    let start = store.write(&THINGS, Write::put("a", Expect::Any, body(1)), None).await.unwrap();
    let mut watch = store.watch(&THINGS, fleet_store::Scope::All, start).await.unwrap();
    drop(store);
    let end = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap();
    assert!(end.is_none(), "{end:?}");
}

#[tokio::test]
async fn a_dead_lease_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = Embedded::open(&path).unwrap();
    let lease = store.grant(Duration::from_millis(200)).await.unwrap().id;
    let write = Write::put_on_lease("a", Expect::Any, body(1), lease);
    store.write(&THINGS, write.clone(), None).await.unwrap();
    while store.get(&THINGS, "a").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(store);
    let store = Embedded::open(&path).unwrap();
    assert!(matches!(store.write(&THINGS, write, None).await, Err(WriteError::LeaseLost)));
}
