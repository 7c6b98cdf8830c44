//! `write`: conditions, conflicts, races, sizes.

use std::sync::Arc;

use fleet_store::contract::MAX_BODY;
use fleet_store::{ErrorKind, Expect, Revision, Store, Write, WriteError};
use tokio::task::JoinSet;

use super::{THINGS, body, body_of_size, conflict, delete, put, text};
use crate::harness::Harness;

async fn write(store: &Arc<dyn Store>, write: Write) -> Result<Revision, WriteError> {
    store.write(&THINGS, write, None).await
}

pub(crate) async fn revisions_grow(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut last = Revision::ZERO;
    for n in 0..10 {
        let revision = put(&store, if n % 2 == 0 { "a" } else { "b" }, body(n)).await;
        assert!(revision > last);
        last = revision;
    }
    assert!(delete(&store, "a").await > last);
}

pub(crate) async fn absent_creates_once(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let revision = write(&store, Write::put("a", Expect::Absent, body(1))).await.unwrap();
    assert_eq!(conflict(write(&store, Write::put("a", Expect::Absent, body(2))).await), Some(revision));
    assert_eq!(text(&store, "a").await, Some(body(1)));
}

pub(crate) async fn absent_again_after_a_delete(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let first = write(&store, Write::put("a", Expect::Absent, body(1))).await.unwrap();
    delete(&store, "a").await;
    assert_eq!(text(&store, "a").await, None);
    let second = write(&store, Write::put("a", Expect::Absent, body(2))).await.unwrap();
    assert!(second > first);
    assert_eq!(
        conflict(write(&store, Write::put("a", Expect::Revision(first), body(3))).await),
        Some(second)
    );
}

pub(crate) async fn revision_must_match(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let first = put(&store, "a", body(1)).await;
    let second = write(&store, Write::put("a", Expect::Revision(first), body(2))).await.unwrap();
    assert_eq!(
        conflict(write(&store, Write::put("a", Expect::Revision(first), body(3))).await),
        Some(second)
    );
    let third = write(&store, Write::put("a", Expect::Revision(second), body(3))).await.unwrap();
    // Writes to other documents do not touch it.
    put(&store, "b", body(1)).await;
    write(&store, Write::delete("a", Expect::Revision(third))).await.unwrap();
    assert_eq!(text(&store, "a").await, None);
}

pub(crate) async fn revision_of_nothing(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let expect = Expect::Revision(Revision(12));
    assert_eq!(conflict(write(&store, Write::put("a", expect, body(1))).await), None);
    assert_eq!(conflict(write(&store, Write::delete("a", expect)).await), None);
    assert_eq!(text(&store, "a").await, None);
}

pub(crate) async fn revision_zero_is_never_there(harness: Arc<dyn Harness>) {
    let store = harness.store();
    for expect in [Expect::Revision(Revision::ZERO), Expect::Revision(Revision(u64::MAX))] {
        assert_eq!(conflict(write(&store, Write::put("a", expect, body(1))).await), None);
    }
    let revision = put(&store, "a", body(1)).await;
    let expect = Expect::Revision(Revision::ZERO);
    assert_eq!(conflict(write(&store, Write::put("a", expect, body(2))).await), Some(revision));
}

pub(crate) async fn delete_of_nothing(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let before = put(&store, "a", body(1)).await;
    let revision = delete(&store, "b").await;
    assert!(revision >= before);
    write(&store, Write::delete("b", Expect::Absent)).await.unwrap();
    assert_eq!(text(&store, "a").await, Some(body(1)));
}

pub(crate) async fn delete_with_conditions(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let first = put(&store, "a", body(1)).await;
    let second = put(&store, "a", body(2)).await;
    assert_eq!(conflict(write(&store, Write::delete("a", Expect::Revision(first))).await), Some(second));
    assert_eq!(conflict(write(&store, Write::delete("a", Expect::Absent)).await), Some(second));
    let gone = write(&store, Write::delete("a", Expect::Revision(second))).await.unwrap();
    assert!(gone > second);
    assert_eq!(conflict(write(&store, Write::delete("a", Expect::Revision(second))).await), None);
}

pub(crate) async fn conflict_names_the_current_revision(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let first = put(&store, "a", body(1)).await;
    let current = conflict(write(&store, Write::put("a", Expect::Absent, body(2))).await).unwrap();
    assert_eq!(current, first);
    write(&store, Write::put("a", Expect::Revision(current), body(2))).await.unwrap();
}

pub(crate) async fn big_bodies(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let big = body_of_size(MAX_BODY);
    let first = write(&store, Write::put("a", Expect::Absent, big.clone())).await.unwrap();
    assert_eq!(text(&store, "a").await.unwrap(), big);
    write(&store, Write::put("a", Expect::Revision(first), big.clone())).await.unwrap();
    let found = store.get_many(&THINGS, &["a".to_owned(), "a".to_owned()]).await.unwrap();
    assert!(found.iter().all(|found| found.as_ref().unwrap().body == big));
}

pub(crate) async fn too_big_bodies_are_refused(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let error = write(&store, Write::put("a", Expect::Any, body_of_size(MAX_BODY + 1))).await.unwrap_err();
    assert!(matches!(&error, WriteError::NotDone(error) if error.kind == ErrorKind::Invalid), "{error:?}");
    assert_eq!(text(&store, "a").await, None);
}

pub(crate) async fn bodies_that_are_no_objects_are_refused(harness: Arc<dyn Harness>) {
    let store = harness.store();
    for bad in ["", "1", "[]", "\"a\"", "null", "{", "{}x", "{a:1}"] {
        let error = write(&store, Write::put("a", Expect::Any, bad)).await.unwrap_err();
        assert!(matches!(&error, WriteError::NotDone(error) if error.kind == ErrorKind::Invalid), "{bad}");
    }
    assert_eq!(text(&store, "a").await, None);
}

pub(crate) async fn one_of_many_racers_wins(harness: Arc<dyn Harness>) {
    let store = harness.store();
    for round in 0..5 {
        let id = format!("race-{round}");
        let mut racers = JoinSet::new();
        for n in 0..16 {
            let (store, id) = (harness.store(), id.clone());
            racers.spawn(async move { (n, write(&store, Write::put(id, Expect::Absent, body(n))).await) });
        }
        let mut winners = Vec::new();
        while let Some(racer) = racers.join_next().await {
            let (n, result) = racer.unwrap();
            match result {
                Ok(revision) => winners.push((n, revision)),
                Err(WriteError::Conflict { current }) => assert!(current.is_some()),
                Err(error) => panic!("{error:?}"),
            }
        }
        let [(winner, revision)] = winners[..] else { panic!("{winners:?}") };
        let document = store.get(&THINGS, &id).await.unwrap().unwrap();
        assert_eq!((document.revision, &document.body[..]), (revision, body(winner).as_bytes()));
    }
}

pub(crate) async fn counters_lose_no_increment(harness: Arc<dyn Harness>) {
    let store = harness.store();
    put(&store, "count", body(0)).await;
    let mut writers = JoinSet::new();
    for _ in 0..6 {
        let store = harness.store();
        writers.spawn(async move {
            for _ in 0..15 {
                loop {
                    let document = store.get(&THINGS, "count").await.unwrap().unwrap();
                    let value: serde_json::Value = serde_json::from_slice(&document.body).unwrap();
                    let n = usize::try_from(value["n"].as_u64().unwrap()).unwrap();
                    let next = Write::put("count", Expect::Revision(document.revision), body(n + 1));
                    match write(&store, next).await {
                        Ok(_) => break,
                        Err(WriteError::Conflict { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    assert_eq!(text(&store, "count").await, Some(body(90)));
}

pub(crate) async fn revisions_are_shared_by_clients(harness: Arc<dyn Harness>) {
    let (one, two) = (harness.store(), harness.store());
    let first = put(&one, "a", body(1)).await;
    let second = write(&two, Write::put("a", Expect::Revision(first), body(2))).await.unwrap();
    assert_eq!(one.get(&THINGS, "a").await.unwrap().unwrap().revision, second);
}
