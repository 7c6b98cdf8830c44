//! What happens to calls and watches under way when the engine is killed or silent. Each case has an engine of
//! its own, a process beside this one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Change, ErrorKind, Expect, ListRequest, Scope, Store, Write, WriteError};
use tokio::time::Instant;

use super::{THINGS, again, body, eventually, next, put, told};
use crate::harness::Harness;

/// A write that is repeated until it is certain: the body tells whether an unknown one was done.
async fn settle(store: &Arc<dyn Store>, id: &str, n: usize) {
    let wanted = body(n);
    loop {
        match store.write(&THINGS, Write::put(id, Expect::Any, wanted.clone()), None).await {
            Ok(_) => return,
            Err(WriteError::NotDone(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(WriteError::Unknown(_)) => {
                let found = again(|| store.get(&THINGS, id)).await;
                if found.is_some_and(|document| document.body == wanted) {
                    return;
                }
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub(crate) async fn a_watch_resumes_over_a_restart(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = put(&store, "x", body(0)).await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    put(&store, "a", body(1)).await;
    assert_eq!(told(&next(&mut watch).await), [format!("a={}", body(1))]);
    harness.restart().await;
    settle(&store, "b", 2).await;
    let seen = next(&mut watch).await;
    assert_eq!(told(&seen), [format!("b={}", body(2))]);
}

pub(crate) async fn a_watch_repeats_nothing_over_many_restarts(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = put(&store, "x", body(0)).await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    let writer = tokio::spawn({
        let store = harness.store();
        async move {
            for n in 0..400 {
                settle(&store, &format!("id-{n:03}"), n).await;
            }
        }
    });
    let mut seen = BTreeSet::new();
    let mut last = start;
    let mut restarts = 0;
    while seen.len() < 400 {
        let changes = next(&mut watch).await;
        assert!(changes.revision > last, "{} after {last}", changes.revision);
        last = changes.revision;
        for change in changes.changes {
            // A settled write may have been done twice, but each with a revision of its own.
            let Change::Put(document) = change else { panic!("nothing was deleted") };
            assert_eq!(document.revision, last);
            seen.insert(document.id);
        }
        if seen.len() / 120 > restarts {
            restarts += 1;
            harness.restart().await;
        }
    }
    writer.await.unwrap();
    assert_eq!(restarts, 3);
    let page = store.list(&THINGS, ListRequest::prefix("id-")).await.unwrap();
    assert_eq!(page.documents.len(), 400);
}

pub(crate) async fn nothing_is_lost_when_killed_while_writing(harness: Arc<dyn Harness>) {
    let store = harness.store();
    put(&store, "x", body(0)).await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let store = harness.store();
        writers.push(tokio::spawn(async move {
            let mut answers = Vec::new();
            let mut failures = 0;
            for n in 0.. {
                let id = format!("{writer}-{n}");
                let result = store.write(&THINGS, Write::put(&id, Expect::Absent, body(n)), None).await;
                failures += usize::from(result.is_err());
                answers.push((id, result));
                // Some before the kill, some while it is down, some after it is back.
                if failures > 0 && answers.iter().rev().take(5).all(|(_, result)| result.is_ok()) {
                    break;
                }
                assert!(n < 5_000, "the engine was never away");
            }
            answers
        }));
    }
    eventually_written(&store).await;
    harness.restart().await;
    for writer in writers {
        for (id, result) in writer.await.unwrap() {
            let document = again(|| store.get(&THINGS, &id)).await;
            match result {
                Ok(revision) => {
                    assert_eq!(document.map(|document| document.revision), Some(revision), "{id}");
                }
                // It may be there or not: that is what the answer says.
                Err(WriteError::Unknown(_)) => {}
                Err(WriteError::NotDone(error)) => {
                    assert_eq!((document, error.kind), (None, ErrorKind::Unavailable), "{id}: {error:?}");
                }
                Err(error) => panic!("{id}: {error:?}"),
            }
        }
    }
}

async fn eventually_written(store: &Arc<dyn Store>) {
    eventually("the writers write", || async {
        store.list(&THINGS, ListRequest::all()).await.is_ok_and(|page| page.documents.len() > 40)
    })
    .await;
}

pub(crate) async fn a_silent_engine_is_unavailable(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = put(&store, "a", body(0)).await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    if !harness.pause().await {
        return;
    }
    let asked = Instant::now();
    assert_eq!(store.get(&THINGS, "a").await.unwrap_err().kind, ErrorKind::Unavailable);
    assert!(asked.elapsed() < Duration::from_secs(8));
    let result = store.write(&THINGS, Write::put("a", Expect::Any, body(1)), None).await;
    assert!(matches!(result, Err(WriteError::Unknown(_) | WriteError::NotDone(_))), "{result:?}");
    harness.resume().await;
    settle(&store, "b", 2).await;
    loop {
        if told(&next(&mut watch).await).contains(&format!("b={}", body(2))) {
            break;
        }
    }
}
