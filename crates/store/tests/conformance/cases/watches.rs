//! `watch` while the engine is well: order, completeness, scopes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{Change, Expect, ListRequest, Revision, Scope, Store, Write};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{OTHERS, THINGS, body, body_of_size, collect, delete, next, put, text_of, told};
use crate::harness::Harness;

/// The current revision: of a document of its own.
async fn now(store: &Arc<dyn Store>) -> Revision {
    put(store, "zz-now", body(0)).await
}

pub(crate) async fn sees_changes_in_order(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut watch = store.watch(&THINGS, Scope::All, now(&store).await).await.unwrap();
    let first = put(&store, "a", body(1)).await;
    let changes = next(&mut watch).await;
    assert_eq!((changes.revision, told(&changes)), (first, vec![format!("a={}", body(1))]));
    let Change::Put(document) = &changes.changes[0] else { panic!("{changes:?}") };
    assert_eq!(document.revision, first);
    for n in 2..30 {
        put(&store, if n % 2 == 0 { "a" } else { "b" }, body(n)).await;
    }
    let wanted: Vec<String> =
        (2..30).map(|n| format!("{}={}", if n % 2 == 0 { "a" } else { "b" }, body(n))).collect();
    assert_eq!(collect(&mut watch, 28).await, wanted);
}

pub(crate) async fn from_the_past(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = now(&store).await;
    let mut revisions = Vec::new();
    for n in 0..10 {
        revisions.push(put(&store, "a", body(n)).await);
    }
    delete(&store, "a").await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    let mut wanted: Vec<String> = (0..10).map(|n| format!("a={}", body(n))).collect();
    wanted.push("-a".to_owned());
    assert_eq!(collect(&mut watch, 11).await, wanted);
    let mut watch = store.watch(&THINGS, Scope::All, revisions[6]).await.unwrap();
    assert_eq!(collect(&mut watch, 4).await, wanted[7..]);
}

pub(crate) async fn of_a_prefix(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut watch = store.watch(&THINGS, Scope::Prefix("a/".to_owned()), now(&store).await).await.unwrap();
    for id in ["a/1", "a", "a0", "b/1", "a/2"] {
        put(&store, id, body(1)).await;
    }
    let seen = collect(&mut watch, 2).await;
    assert_eq!(seen, [format!("a/1={}", body(1)), format!("a/2={}", body(1))]);
}

pub(crate) async fn of_one_id(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut watch = store.watch(&THINGS, Scope::Id("a".to_owned()), now(&store).await).await.unwrap();
    for id in ["a/1", "aa", "a"] {
        put(&store, id, body(1)).await;
    }
    assert_eq!(collect(&mut watch, 1).await, [format!("a={}", body(1))]);
}

pub(crate) async fn other_scopes_are_silent(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = now(&store).await;
    let mut watch = store.watch(&THINGS, Scope::Prefix("a".to_owned()), start).await.unwrap();
    store.write(&OTHERS, Write::put("a", Expect::Any, body(1)), None).await.unwrap();
    put(&store, "b", body(2)).await;
    put(&store, "a", body(3)).await;
    let changes = next(&mut watch).await;
    assert_eq!(told(&changes), [format!("a={}", body(3))]);
    assert!(watch.try_next().is_none());
}

pub(crate) async fn a_batch_comes_together(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = now(&store).await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    let writes = (0..300).map(|n| Write::put(format!("id-{n:03}"), Expect::Any, body(n))).collect();
    let results = store.write_many(&THINGS, writes, None).await;
    let mut by_revision: BTreeMap<Revision, Vec<String>> = BTreeMap::new();
    for (n, result) in results.into_iter().enumerate() {
        by_revision.entry(result.unwrap()).or_default().push(format!("id-{n:03}={}", body(n)));
    }
    // However the writes were grouped, a revision comes as one.
    for (revision, mut wanted) in by_revision {
        let changes = next(&mut watch).await;
        let mut seen = told(&changes);
        seen.sort();
        wanted.sort();
        assert_eq!((changes.revision, seen), (revision, wanted));
    }
}

pub(crate) async fn deletes_are_seen(harness: Arc<dyn Harness>) {
    let store = harness.store();
    put(&store, "a", body(1)).await;
    let mut watch = store.watch(&THINGS, Scope::All, now(&store).await).await.unwrap();
    let gone = delete(&store, "a").await;
    delete(&store, "a").await;
    delete(&store, "never").await;
    put(&store, "b", body(2)).await;
    let changes = next(&mut watch).await;
    assert_eq!((changes.revision, told(&changes)), (gone, vec!["-a".to_owned()]));
    assert_eq!(told(&next(&mut watch).await), [format!("b={}", body(2))]);
}

/// Follows a watch on top of a list until it has all of `count` documents.
async fn mirror(store: Arc<dyn Store>, count: usize) -> BTreeMap<String, String> {
    let page = store.list(&THINGS, ListRequest::all()).await.unwrap();
    let mut watch = store.watch(&THINGS, Scope::All, page.revision).await.unwrap();
    let mut mirror: BTreeMap<String, String> =
        page.documents.iter().map(|document| (document.id.clone(), text_of(document))).collect();
    let mut last = page.revision;
    while mirror.len() < count || mirror.values().any(|text| *text != body(9)) {
        let changes = next(&mut watch).await;
        assert!(changes.revision > last);
        last = changes.revision;
        for change in changes.changes {
            match change {
                Change::Put(document) => mirror.insert(document.id.clone(), text_of(&document)),
                Change::Delete { id } => mirror.remove(&id),
            };
        }
    }
    mirror
}

pub(crate) async fn after_a_list_misses_nothing(harness: Arc<dyn Harness>) {
    let mut tasks = JoinSet::new();
    for writer in 0..3 {
        let store = harness.store();
        tasks.spawn(async move {
            for n in 0..10 {
                for place in 0..5 {
                    put(&store, &format!("{writer}-{place}"), body(n)).await;
                }
            }
        });
    }
    for _ in 0..4 {
        let mirror = mirror(harness.store(), 15);
        tasks.spawn(async move {
            assert_eq!(mirror.await.len(), 15);
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

pub(crate) async fn many_writers(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut watch = store.watch(&THINGS, Scope::Prefix("w".to_owned()), now(&store).await).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = harness.store();
        writers.spawn(async move {
            for n in 0..25 {
                put(&store, &format!("w{writer}"), body(n)).await;
            }
        });
    }
    let seen = collect(&mut watch, 200).await;
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    for writer in 0..8 {
        let of_one: Vec<&String> =
            seen.iter().filter(|change| change.starts_with(&format!("w{writer}="))).collect();
        let wanted: Vec<String> = (0..25).map(|n| format!("w{writer}={}", body(n))).collect();
        assert_eq!(of_one, wanted.iter().collect::<Vec<_>>());
    }
}

pub(crate) async fn a_slow_reader_loses_nothing(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut slow = store.watch(&THINGS, Scope::All, now(&store).await).await.unwrap();
    let mut quick = store.watch(&THINGS, Scope::All, now(&store).await).await.unwrap();
    // Far more than fits into any queue on the way; nobody waits for the slow one.
    for n in 0..600 {
        put(&store, "a", format!("{{\"n\":{n},\"filler\":\"{}\"}}", "x".repeat(5_000))).await;
        if n % 50 == 0 {
            next(&mut quick).await;
        }
    }
    let seen = collect(&mut slow, 601).await;
    let numbers: Vec<String> =
        seen[1..].iter().map(|change| change.split(',').next().unwrap().to_owned()).collect();
    let wanted: Vec<String> = (0..600).map(|n| format!("a={{\"n\":{n}")).collect();
    assert_eq!(numbers, wanted);
}

pub(crate) async fn dropping_ends_it(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = now(&store).await;
    for _ in 0..50 {
        let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
        let waits = timeout(Duration::from_millis(1), watch.next()).await;
        assert!(waits.is_err(), "{waits:?}");
        drop(watch);
    }
    put(&store, "a", body(1)).await;
}

pub(crate) async fn two_watchers_see_the_same(harness: Arc<dyn Harness>) {
    let (one, two) = (harness.store(), harness.store());
    let start = now(&one).await;
    let mut first = one.watch(&THINGS, Scope::All, start).await.unwrap();
    let mut second = two.watch(&THINGS, Scope::All, start).await.unwrap();
    for n in 0..20 {
        put(&one, &format!("a{n}"), body(n)).await;
        put(&two, &format!("b{n}"), body(n)).await;
    }
    assert_eq!(collect(&mut first, 40).await, collect(&mut second, 40).await);
}

pub(crate) async fn big_revisions_come_whole(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let start = now(&store).await;
    // Documents that live on one lease go at one revision; written, they are too much for one message.
    let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
    let writes = (0..12)
        .map(|n| Write::put_on_lease(format!("id-{n:02}"), Expect::Absent, body_of_size(900_000), lease))
        .collect();
    for result in store.write_many(&THINGS, writes, None).await {
        result.unwrap();
    }
    store.revoke(lease).await.unwrap();
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    let (mut puts, mut deletes, mut last) = (0, 0, Revision::ZERO);
    while deletes < 12 {
        let changes = next(&mut watch).await;
        assert!(changes.revision > last);
        last = changes.revision;
        for change in changes.changes {
            match change {
                Change::Put(document) => {
                    assert_eq!(document.body.len(), 900_000);
                    puts += 1;
                }
                Change::Delete { .. } => deletes += 1,
            }
        }
    }
    assert_eq!(puts, 12);
}
