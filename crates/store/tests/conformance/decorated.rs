//! The decorators, around the embedded store.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_store::decorate::{Deadline, Faults, Faulty, Gathered, Metered, Observer, Operation};
use fleet_store::embedded::Embedded;
use fleet_store::{
    ErrorKind, Expect, ListRequest, RenewError, Revision, Scope, Store, WatchError, Write, WriteError,
};
use tempfile::TempDir;

use crate::cases::{THINGS, body, next, put, text, told};
use crate::harness::Harness;

fn open() -> (TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.db")).unwrap();
    (directory, Arc::new(store))
}

/// All decorators with nothing to add, for the suite: they must forward every call as it is.
pub(crate) struct DecoratedHarness {
    _directory: TempDir,
    store: Arc<dyn Store>,
}

impl DecoratedHarness {
    pub(crate) fn new() -> Option<DecoratedHarness> {
        let (directory, store) = open();
        let store = Arc::new(Faulty::new(store, 1, Faults::NONE));
        let store = Arc::new(Deadline::new(store, Duration::from_secs(30)));
        let store = Arc::new(Gathered::new(store));
        let store = Arc::new(Metered::new(store, Arc::new(|_, _, _| ())));
        Some(DecoratedHarness { _directory: directory, store })
    }
}

#[async_trait::async_trait]
impl Harness for DecoratedHarness {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn restart(&self) {
        unreachable!("no case that restarts runs here");
    }

    async fn pause(&self) -> bool {
        false
    }

    async fn resume(&self) {}
}

#[derive(Default)]
struct Calls(Mutex<Vec<(&'static str, bool)>>);

impl Observer for Calls {
    fn observe(&self, operation: Operation, _: Duration, failed: bool) {
        self.0.lock().unwrap().push((operation.as_str(), failed));
    }
}

#[tokio::test]
async fn metered_counts_calls_and_failures() {
    let (_directory, store) = open();
    let faulty = Faulty::new(store, 1, Faults::NONE);
    let calls = Arc::new(Calls::default());
    let store: Arc<dyn Store> = Arc::new(Metered::new(Arc::new(faulty.clone()), calls.clone()));
    put(&store, "a", body(1)).await;
    store.write(&THINGS, Write::put("a", Expect::Absent, body(2)), None).await.unwrap_err();
    text(&store, "a").await;
    store.list(&THINGS, ListRequest::all()).await.unwrap();
    let lease = store.grant(Duration::from_secs(9)).await.unwrap().id;
    store.renew(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
    store.renew(lease).await.unwrap_err();
    store.watch(&THINGS, Scope::All, Revision::ZERO).await.unwrap();
    store.compact(Duration::from_secs(9)).await.unwrap();
    store.check().await.unwrap();
    faulty.set(Faults::DOWN);
    store.get_many(&THINGS, &["a".to_owned()]).await.unwrap_err();
    store.write_many(&THINGS, vec![Write::delete("a", Expect::Any)], None).await;
    let seen = std::mem::take(&mut *calls.0.lock().unwrap());
    let works =
        ["set", "set", "get", "get_all", "grant", "renew", "revoke", "renew", "watch", "compact", "check"];
    let mut wanted: Vec<(&str, bool)> = works.iter().map(|name| (*name, false)).collect();
    wanted.extend([("get", true), ("set", true)]);
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn a_deadline_tells_reads_from_writes() {
    let (_directory, store) = open();
    put(&store, "a", body(1)).await;
    let slow = Faults { delayed: 1.0, longest_delay: Duration::from_secs(3600), ..Faults::NONE };
    let slow = Arc::new(Faulty::new(Arc::clone(&store), 3, slow));
    let store = Deadline::new(slow, Duration::from_millis(50));
    assert_eq!(store.get(&THINGS, "a").await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(store.list(&THINGS, ListRequest::all()).await.unwrap_err().kind, ErrorKind::Unavailable);
    let delete = || Write::delete("a", Expect::Any);
    assert!(matches!(store.write(&THINGS, delete(), None).await, Err(WriteError::Unknown(_))));
    let results = store.write_many(&THINGS, vec![delete(), delete()], None).await;
    assert!(matches!(&results[..], [Err(WriteError::Unknown(_)), Err(WriteError::Unknown(_))]));
    let lease = store.renew(fleet_store::LeaseId(1)).await;
    assert!(matches!(lease, Err(RenewError::Failed(_))));
}

/// What 200 writes come to, with a fault of every kind.
async fn history(seed: u64) -> (Vec<&'static str>, Vec<bool>) {
    let (_directory, store) = open();
    let faults = Faults { refused: 0.1, request_lost: 0.1, answer_lost: 0.1, ..Faults::NONE };
    let faulty = Faulty::new(Arc::clone(&store), seed, faults);
    let mut answers = Vec::new();
    let mut done = Vec::new();
    for n in 0..200 {
        let id = format!("id-{n}");
        let result = faulty.write(&THINGS, Write::put(&id, Expect::Absent, body(n)), None).await;
        let there = text(&store, &id).await.is_some();
        answers.push(match result {
            Ok(_) => {
                assert!(there, "{id} was acknowledged");
                "done"
            }
            Err(WriteError::NotDone(_)) => {
                assert!(!there, "{id} was refused");
                "not done"
            }
            Err(WriteError::Unknown(_)) => "unknown",
            Err(error) => panic!("{error:?}"),
        });
        done.push(there);
    }
    (answers, done)
}

#[tokio::test]
async fn faults_come_from_the_seed() {
    let (answers, done) = history(7).await;
    assert_eq!(history(7).await, (answers.clone(), done.clone()));
    assert_ne!(history(8).await.0, answers);
    let kinds: BTreeSet<_> = answers.iter().zip(&done).collect();
    let all = [("done", true), ("not done", false), ("unknown", false), ("unknown", true)];
    assert_eq!(kinds.into_iter().map(|(answer, done)| (*answer, *done)).collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn a_batch_with_a_lost_answer_is_done_in_part() {
    let (_directory, store) = open();
    let faulty = Faulty::new(Arc::clone(&store), 11, Faults { answer_lost: 1.0, ..Faults::NONE });
    let mut parts = BTreeSet::new();
    for round in 0..20 {
        let prefix = format!("{round}-");
        let writes = (0..4).map(|n| Write::put(format!("{prefix}{n}"), Expect::Any, body(n))).collect();
        let results = faulty.write_many(&THINGS, writes, None).await;
        assert!(results.iter().all(|result| matches!(result, Err(WriteError::Unknown(_)))));
        parts.insert(store.list(&THINGS, ListRequest::prefix(prefix)).await.unwrap().documents.len());
    }
    assert_eq!(parts.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_forgotten_watch_says_so() {
    let (_directory, store) = open();
    let start = put(&store, "x", body(0)).await;
    let faulty = Faulty::new(Arc::clone(&store), 5, Faults::NONE);
    let mut watch = faulty.watch(&THINGS, Scope::All, start).await.unwrap();
    put(&store, "a", body(1)).await;
    assert_eq!(told(&next(&mut watch).await), [format!("a={}", body(1))]);
    faulty.set(Faults { forgotten: 1.0, ..Faults::NONE });
    put(&store, "a", body(2)).await;
    assert!(matches!(watch.next().await, Some(Err(WatchError::Compacted))));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn writes_that_come_together_are_written_together() {
    let (_directory, store) = open();
    let calls = Arc::new(Calls::default());
    let counted: Arc<dyn Store> = Arc::new(Metered::new(store, calls.clone()));
    let gathered = Gathered::new(counted);
    let writes = (0..200).map(|n| {
        let gathered = gathered.clone();
        async move {
            // Every other one expects what is not so: each has an answer of its own.
            let expect = if n % 2 == 0 { Expect::Absent } else { Expect::Revision(Revision(1)) };
            let write = Write::put(format!("d{n}"), expect, r#"{"n":1}"#);
            (n, gathered.write(&THINGS, write, None).await)
        }
    });
    for (n, answer) in futures_util::future::join_all(writes).await {
        match answer {
            Ok(_) => assert_eq!(n % 2, 0),
            Err(WriteError::Conflict { current: None }) => assert_eq!(n % 2, 1),
            other => panic!("{n}: {other:?}"),
        }
    }
    let count = calls.0.lock().unwrap().len();
    assert!(count < 20, "200 writes took {count} calls");
}
