//! What is there after the engine was killed, or has compacted. Each case has an engine of its own.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::{ErrorKind, Expect, ListRequest, Revision, Scope, Store, Watch, WatchError, Write};
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
