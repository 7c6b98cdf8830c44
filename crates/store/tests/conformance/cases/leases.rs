//! Leases: what lives on them, who holds them.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Expect, LeaseId, ListRequest, RenewError, Scope, Store, Write, WriteError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{THINGS, body, collect, conflict, eventually, put, text};
use crate::harness::Harness;

/// The shortest time to live that every engine can count.
const SHORT: Duration = Duration::from_secs(2);

/// Long enough to never end during a case.
const LONG: Duration = Duration::from_secs(120);

async fn put_on(store: &Arc<dyn Store>, id: &str, lease: LeaseId) {
    let write = Write::put_on_lease(id, Expect::Any, body(1), lease);
    store.write(&THINGS, write, None).await.unwrap();
}

pub(crate) async fn a_document_goes_with_its_lease(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = put(&store, "stays", body(0)).await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    let granted = Instant::now();
    let lease = store.grant(SHORT).await.unwrap();
    put_on(&store, "goes", lease.id).await;
    assert_eq!(collect(&mut watch, 2).await, [format!("goes={}", body(1)), "-goes".to_owned()]);
    assert!(granted.elapsed() >= lease.ttl, "gone after {:?}", granted.elapsed());
    assert_eq!(text(&store, "goes").await, None);
    assert_eq!(text(&store, "stays").await, Some(body(0)));
    assert!(matches!(store.renew(lease.id).await, Err(RenewError::Lost)));
}

pub(crate) async fn renewing_keeps_it(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(SHORT).await.unwrap();
    put_on(&store, "a", lease.id).await;
    let granted = Instant::now();
    while granted.elapsed() < lease.ttl * 2 {
        sleep(lease.ttl / 5).await;
        store.renew(lease.id).await.unwrap();
        assert_eq!(text(&store, "a").await, Some(body(1)));
    }
    eventually("the document goes", || async { text(&store, "a").await.is_none() }).await;
}

pub(crate) async fn revoking_ends_it(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(LONG).await.unwrap().id;
    put_on(&store, "a", lease).await;
    put_on(&store, "b", lease).await;
    store.revoke(lease).await.unwrap();
    assert!(store.list(&THINGS, ListRequest::all()).await.unwrap().documents.is_empty());
    assert!(matches!(store.renew(lease).await, Err(RenewError::Lost)));
}

pub(crate) async fn revoking_twice_is_done(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(LONG).await.unwrap().id;
    store.revoke(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
    store.revoke(LeaseId(123)).await.unwrap();
}

pub(crate) async fn renewing_what_is_over(harness: Arc<dyn Harness>) {
    assert!(matches!(harness.store().renew(LeaseId(4711)).await, Err(RenewError::Lost)));
}

pub(crate) async fn putting_on_what_is_over(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(LONG).await.unwrap().id;
    store.revoke(lease).await.unwrap();
    for expect in [Expect::Any, Expect::Absent] {
        let write = Write::put_on_lease("a", expect, body(1), lease);
        let result = store.write(&THINGS, write, None).await;
        assert!(matches!(result, Err(WriteError::LeaseLost)), "{result:?}");
    }
    assert_eq!(text(&store, "a").await, None);
}

pub(crate) async fn while_held_is_checked(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(LONG).await.unwrap().id;
    let write = |n| Write::put("a", Expect::Any, body(n));
    store.write(&THINGS, write(1), Some(lease)).await.unwrap();
    store.write(&THINGS, Write::delete("b", Expect::Absent), Some(lease)).await.unwrap();
    store.revoke(lease).await.unwrap();
    let result = store.write(&THINGS, write(2), Some(lease)).await;
    assert!(matches!(result, Err(WriteError::LeaseLost)), "{result:?}");
    let result = store.write(&THINGS, Write::delete("a", Expect::Any), Some(lease)).await;
    assert!(matches!(result, Err(WriteError::LeaseLost)), "{result:?}");
    assert_eq!(text(&store, "a").await, Some(body(1)));
}

pub(crate) async fn a_document_moves_between_leases(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let one = store.grant(LONG).await.unwrap().id;
    let two = store.grant(LONG).await.unwrap().id;
    put_on(&store, "a", one).await;
    put_on(&store, "a", two).await;
    store.revoke(one).await.unwrap();
    assert_eq!(text(&store, "a").await, Some(body(1)));
    store.revoke(two).await.unwrap();
    assert_eq!(text(&store, "a").await, None);
}

pub(crate) async fn a_put_without_lease_frees_it(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(LONG).await.unwrap().id;
    put_on(&store, "a", lease).await;
    put(&store, "a", body(2)).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(text(&store, "a").await, Some(body(2)));
}

pub(crate) async fn ttl_is_rounded_up(harness: Arc<dyn Harness>) {
    let store = harness.store();
    for asked in [Duration::from_millis(1), Duration::from_millis(2500), LONG] {
        let lease = store.grant(asked).await.unwrap();
        assert!(lease.ttl >= asked && lease.ttl <= asked + SHORT, "{asked:?}: {:?}", lease.ttl);
        store.revoke(lease.id).await.unwrap();
    }
}

pub(crate) async fn many_documents_on_a_lease(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(LONG).await.unwrap().id;
    let start = put(&store, "x", body(0)).await;
    let writes =
        (0..300).map(|n| Write::put_on_lease(format!("id-{n}"), Expect::Absent, body(n), lease)).collect();
    for result in store.write_many(&THINGS, writes, Some(lease)).await {
        result.unwrap();
    }
    let mut watch = store.watch(&THINGS, Scope::Prefix("id-".to_owned()), start).await.unwrap();
    store.revoke(lease).await.unwrap();
    let seen = collect(&mut watch, 600).await;
    assert!(seen[300..].iter().all(|change| change.starts_with("-id-")), "{seen:?}");
    assert_eq!(store.list(&THINGS, ListRequest::all()).await.unwrap().documents.len(), 1);
}

pub(crate) async fn an_election_has_one_winner(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut candidates = JoinSet::new();
    for n in 0..8 {
        let store = harness.store();
        candidates.spawn(async move {
            let lease = store.grant(LONG).await.unwrap().id;
            let write = Write::put_on_lease("leader", Expect::Absent, body(n), lease);
            (lease, store.write(&THINGS, write, None).await.is_ok())
        });
    }
    let (mut leader, mut others) = (None, Vec::new());
    while let Some(candidate) = candidates.join_next().await {
        match candidate.unwrap() {
            (lease, true) => assert_eq!(leader.replace(lease), None),
            (lease, false) => others.push(lease),
        }
    }
    let leader = leader.unwrap();
    store.write(&THINGS, Write::put("work", Expect::Any, body(1)), Some(leader)).await.unwrap();
    store.revoke(leader).await.unwrap();
    let successor = Write::put_on_lease("leader", Expect::Absent, body(9), others[0]);
    store.write(&THINGS, successor, None).await.unwrap();
    // The deposed one is fenced.
    let late = store.write(&THINGS, Write::put("work", Expect::Any, body(2)), Some(leader)).await;
    assert!(matches!(late, Err(WriteError::LeaseLost)));
    assert_eq!(text(&store, "work").await, Some(body(1)));
}

pub(crate) async fn conflict_and_lease_are_told_apart(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let held = store.grant(LONG).await.unwrap().id;
    let over = store.grant(LONG).await.unwrap().id;
    store.revoke(over).await.unwrap();
    let revision = put(&store, "a", body(1)).await;
    let write = |lease| Write::put_on_lease("a", Expect::Absent, body(2), lease);
    assert_eq!(conflict(store.write(&THINGS, write(held), Some(held)).await), Some(revision));
    // Both are wrong: the lease says more.
    for (on, while_held) in [(over, held), (held, over)] {
        let result = store.write(&THINGS, write(on), Some(while_held)).await;
        assert!(matches!(result, Err(WriteError::LeaseLost)), "{result:?}");
    }
}
