//! `write_many`.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::contract::MAX_BODY;
use fleet_store::{ErrorKind, Expect, ListRequest, Revision, Scope, Write, WriteError};
use tokio::task::JoinSet;

use super::{THINGS, body, body_of_size, collect, conflict, put, text};
use crate::harness::Harness;

pub(crate) async fn each_has_its_own_answer(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let there = put(&store, "there", body(0)).await;
    let writes = vec![
        Write::put("new", Expect::Absent, body(1)),
        Write::put("there", Expect::Absent, body(1)),
        Write::put("missing", Expect::Revision(Revision(7)), body(1)),
        Write::delete("nothing", Expect::Any),
        Write::put("free", Expect::Any, body(1)),
    ];
    let mut results = store.write_many(&THINGS, writes, None).await.into_iter();
    let created = results.next().unwrap().unwrap();
    assert!(created > there);
    assert_eq!(conflict(results.next().unwrap()), Some(there));
    assert_eq!(conflict(results.next().unwrap()), None);
    assert!(results.next().unwrap().unwrap() >= there);
    assert!(results.next().unwrap().unwrap() > there);
    assert!(results.next().is_none());
    assert_eq!(store.get(&THINGS, "new").await.unwrap().unwrap().revision, created);
    assert_eq!(text(&store, "there").await, Some(body(0)));
    assert_eq!(text(&store, "missing").await, None);
}

pub(crate) async fn more_than_a_transaction_holds(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(Duration::from_secs(30)).await.unwrap().id;
    let make = |n: usize| match n % 3 {
        0 => Write::put(format!("id-{n:04}"), Expect::Any, body(n)),
        1 => Write::put(format!("id-{n:04}"), Expect::Absent, body(n)),
        _ => Write::put_on_lease(format!("id-{n:04}"), Expect::Absent, body(n), lease),
    };
    let results = store.write_many(&THINGS, (0..1000).map(make).collect(), Some(lease)).await;
    assert_eq!(results.len(), 1000);
    for (n, result) in results.into_iter().enumerate() {
        let revision = result.unwrap();
        let document = store.get(&THINGS, &format!("id-{n:04}")).await.unwrap().unwrap();
        assert_eq!((document.revision, &document.body[..]), (revision, body(n).as_bytes()));
    }
}

pub(crate) async fn more_bytes_than_a_request(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut writes: Vec<Write> =
        (0..8).map(|n| Write::put(format!("big-{n}"), Expect::Any, body_of_size(700_000))).collect();
    writes.push(Write::put("full", Expect::Any, body_of_size(MAX_BODY)));
    for result in store.write_many(&THINGS, writes, None).await {
        result.unwrap();
    }
    let page = store.list(&THINGS, ListRequest::all()).await.unwrap();
    assert_eq!(page.documents.len(), 9);
}

pub(crate) async fn writes_to_one_document_keep_their_order(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let mut watch =
        store.watch(&THINGS, Scope::Id("a".to_owned()), put(&store, "x", body(0)).await).await.unwrap();
    let mut writes = Vec::new();
    for n in 0..5 {
        writes.push(Write::put("a", Expect::Any, body(n)));
        writes.push(Write::put(format!("b-{n}"), Expect::Absent, body(n)));
    }
    writes.push(Write::put("a", Expect::Absent, body(99)));
    writes.push(Write::delete("a", Expect::Any));
    writes.push(Write::put("a", Expect::Absent, body(7)));
    let results = store.write_many(&THINGS, writes, None).await;
    let of_a: Vec<_> =
        [0, 2, 4, 6, 8, 11, 12].iter().map(|place| *results[*place].as_ref().unwrap()).collect();
    assert!(of_a.is_sorted_by(|one, two| one < two), "{of_a:?}");
    assert!(matches!(results[10], Err(WriteError::Conflict { current: Some(at) }) if at == of_a[4]));
    assert_eq!(text(&store, "a").await, Some(body(7)));
    let seen = collect(&mut watch, 7).await;
    let mut wanted: Vec<String> = (0..5).map(|n| format!("a={}", body(n))).collect();
    wanted.extend(["-a".to_owned(), format!("a={}", body(7))]);
    assert_eq!(seen, wanted);
}

pub(crate) async fn bad_writes_do_not_stop_good_ones(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let writes = vec![
        Write::put("", Expect::Any, body(1)),
        Write::put("a", Expect::Any, body(1)),
        Write::put("b", Expect::Any, "[]"),
        Write::put("c", Expect::Any, body_of_size(MAX_BODY + 1)),
        Write::put("d", Expect::Any, body(1)),
    ];
    let results = store.write_many(&THINGS, writes, None).await;
    for (place, result) in results.iter().enumerate() {
        match place {
            1 | 4 => assert!(result.is_ok()),
            _ => {
                assert!(
                    matches!(result, Err(WriteError::NotDone(error)) if error.kind == ErrorKind::Invalid)
                );
            }
        }
    }
    assert_eq!(text(&store, "d").await, Some(body(1)));
}

pub(crate) async fn a_batch_while_held(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let lease = store.grant(Duration::from_secs(30)).await.unwrap().id;
    let writes = |n| vec![Write::put("a", Expect::Any, body(n)), Write::put("b", Expect::Absent, body(n))];
    for result in store.write_many(&THINGS, writes(1), Some(lease)).await {
        result.unwrap();
    }
    store.revoke(lease).await.unwrap();
    for result in store.write_many(&THINGS, writes(2), Some(lease)).await {
        assert!(matches!(result, Err(WriteError::LeaseLost)));
    }
    assert_eq!(text(&store, "a").await, Some(body(1)));
}

pub(crate) async fn a_batch_with_a_dead_lease(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let dead = store.grant(Duration::from_secs(30)).await.unwrap().id;
    store.revoke(dead).await.unwrap();
    let writes = vec![
        Write::put("a", Expect::Any, body(1)),
        Write::put_on_lease("b", Expect::Any, body(1), dead),
        Write::put("c", Expect::Any, body(1)),
    ];
    let results = store.write_many(&THINGS, writes, None).await;
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert!(matches!(results[1], Err(WriteError::LeaseLost)), "{results:?}");
    assert_eq!(text(&store, "b").await, None);
}

pub(crate) async fn an_empty_batch(harness: Arc<dyn Harness>) {
    assert!(harness.store().write_many(&THINGS, Vec::new(), None).await.is_empty());
}

pub(crate) async fn batches_race(harness: Arc<dyn Harness>) {
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let store = harness.store();
        writers.spawn(async move {
            let writes =
                (0..200).map(|n| Write::put(format!("id-{n}"), Expect::Absent, body(writer))).collect();
            store.write_many(&THINGS, writes, None).await
        });
    }
    let mut won = 0;
    while let Some(results) = writers.join_next().await {
        for result in results.unwrap() {
            match result {
                Ok(_) => won += 1,
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    assert_eq!(won, 200);
}
