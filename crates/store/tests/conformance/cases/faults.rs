//! What happens when the engine is killed, silent, or has compacted. Each case has an engine of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{
    Change, ErrorKind, Expect, ListRequest, Revision, Scope, Store, Watch, WatchError, Write, WriteError,
};
use tokio::time::{Instant, timeout};

use super::{THINGS, again, body, body_of_size, collect, next, put, text, told};
use crate::harness::Harness;

pub(crate) async fn writes_survive_a_kill(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut revisions = Vec::new();
    for n in 0..50 {
        revisions.push(put(&store, &format!("id-{n}"), body(n)).await);
    }
    harness.restart().await;
    for (n, revision) in revisions.iter().enumerate() {
        let id = format!("id-{n}");
        let document = again(|| store.get(&THINGS, &id)).await;
        let document = document.unwrap_or_else(|| panic!("id-{n} is lost"));
        assert_eq!((document.revision, &document.body[..]), (*revision, body(n).as_bytes()));
    }
    let last = revisions.last().unwrap();
    assert!(put(&store, "more", body(1)).await > *last);
}

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

/// Writes much, and compacts all of it away but the end.
async fn compact(store: &Arc<dyn Store>) {
    for round in 0..3 {
        for n in 0..20 {
            put(store, "a", body(round * 20 + n)).await;
        }
        store.compact(Duration::ZERO).await.unwrap();
    }
}

async fn end_of(watch: &mut Watch) -> WatchError {
    loop {
        let next = timeout(Duration::from_secs(20), watch.next()).await.expect("the watch brings something");
        match next {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error,
            None => panic!("the watch ended without a word"),
        }
    }
}

pub(crate) async fn compaction_ends_an_old_watch(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let old = put(&store, "a", body(0)).await;
    compact(&store).await;
    let mut watch = store.watch(&THINGS, Scope::All, old).await.unwrap();
    assert!(matches!(end_of(&mut watch).await, WatchError::Compacted));
    assert!(watch.next().await.is_none());
    // Listing again mends it.
    let page = store.list(&THINGS, ListRequest::all()).await.unwrap();
    let mut watch = store.watch(&THINGS, Scope::All, page.revision).await.unwrap();
    put(&store, "b", body(1)).await;
    assert_eq!(collect(&mut watch, 1).await, [format!("b={}", body(1))]);
}

pub(crate) async fn compaction_ends_an_old_page(harness: Arc<dyn Harness>) {
    let store = harness.store();
    for n in 0..5 {
        put(&store, &format!("b{n}"), body(0)).await;
    }
    let request = ListRequest { limit: Some(2), ..ListRequest::all() };
    let page = store.list(&THINGS, request.clone()).await.unwrap();
    compact(&store).await;
    let error = store.list(&THINGS, ListRequest { page: page.next, ..request }).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Compacted);
}

pub(crate) async fn a_current_watch_survives_compaction(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = put(&store, "x", body(0)).await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    compact(&store).await;
    let seen = collect(&mut watch, 60).await;
    let wanted: Vec<String> = (0..60).map(|n| format!("a={}", body(n))).collect();
    assert_eq!(seen, wanted);
    // All documents are still there, at their revisions.
    assert_eq!(text(&store, "x").await, Some(body(0)));
    let revision = put(&store, "a", body(99)).await;
    assert!(revision > Revision::ZERO);
    assert_eq!(told(&next(&mut watch).await), [format!("a={}", body(99))]);
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
    super::eventually("the writers write", || async {
        store.list(&THINGS, ListRequest::all()).await.is_ok_and(|page| page.documents.len() > 40)
    })
    .await;
}

pub(crate) async fn leases_survive_a_restart(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let kept = store.grant(Duration::from_secs(3)).await.unwrap();
    let left = store.grant(Duration::from_secs(3)).await.unwrap();
    for (id, lease) in [("kept", kept.id), ("left", left.id)] {
        store.write(&THINGS, Write::put_on_lease(id, Expect::Any, body(1), lease), None).await.unwrap();
    }
    harness.restart().await;
    let restarted = Instant::now();
    let renew = || async { again(|| store.renew(kept.id)).await };
    renew().await;
    assert!(again(|| store.get(&THINGS, "left")).await.is_some());
    // The one that nobody renews goes within a ttl and what engines need; the other one stays.
    while again(|| store.get(&THINGS, "left")).await.is_some() {
        assert!(restarted.elapsed() < Duration::from_secs(20), "a lease never ends");
        renew().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(again(|| store.get(&THINGS, "kept")).await.is_some());
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

pub(crate) async fn a_cancelled_write_is_whole_or_absent(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let big = body_of_size(500_000);
    for n in 0..30 {
        let write = Write::put(format!("id-{n}"), Expect::Absent, big.clone());
        let bound = Duration::from_micros(200 * n);
        let _ = timeout(bound, store.write(&THINGS, write, None)).await;
    }
    let page = store.list(&THINGS, ListRequest::all()).await.unwrap();
    assert!(page.documents.iter().all(|document| document.body == big));
    put(&store, "after", body(1)).await;
    assert_eq!(text(&store, "after").await, Some(body(1)));
}
