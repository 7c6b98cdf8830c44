//! etcd with three members: what happens when one of them is killed, silent, or away from the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fleet_store::etcd::{Etcd, Options};
use fleet_store::{Expect, Revision, Scope, Store, Write, WriteError};
use tokio::time::timeout;

use crate::cases::{THINGS, again, body, next, put, told};
use crate::engine::{Member, Setup, free_port};
use crate::harness::skip_or;

fn three() -> Option<Vec<Member>> {
    skip_or(|| Member::three(&Setup::default()))
}

fn connect(endpoints: Vec<String>) -> Arc<dyn Store> {
    let request_timeout = Duration::from_secs(1);
    Arc::new(Etcd::connect(Options { endpoints, request_timeout, ..Options::default() }).unwrap())
}

/// The member that leads, as etcd's API tells it.
async fn leader(members: &[Member]) -> usize {
    loop {
        for (place, member) in members.iter().enumerate() {
            let client = etcd_client::Client::connect([member.url()], None).await;
            let Ok(mut client) = client else { continue };
            if let Ok(status) = client.status().await
                && status.header().is_some_and(|header| header.member_id() == status.leader())
            {
                return place;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes until it is done; returns the revision and how long it took.
async fn put_until_done(store: &Arc<dyn Store>, id: &str, n: usize) -> (Revision, Duration) {
    let started = Instant::now();
    loop {
        let write = Write::put(id, Expect::Any, body(n));
        match store.write(&THINGS, write, None).await {
            Ok(revision) => return (revision, started.elapsed()),
            Err(WriteError::NotDone(_) | WriteError::Unknown(_)) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(20), "not written within 20 s");
    }
}

#[tokio::test]
async fn survives_the_death_of_the_leader() {
    let Some(mut members) = three() else { return };
    let store = connect(members.iter().map(Member::url).collect());
    let start = put_until_done(&store, "x", 0).await.0;
    let mut watch = store.watch(&THINGS, Scope::Id("a".to_owned()), start).await.unwrap();
    for n in 0..2 {
        let leader = leader(&members).await;
        members[leader].kill();
        let (revision, took) = put_until_done(&store, "a", n).await;
        println!("written {took:?} after the leader died");
        assert!(took < Duration::from_secs(10));
        loop {
            let changes = next(&mut watch).await;
            assert_eq!(told(&changes), [format!("a={}", body(n))]);
            if changes.revision >= revision {
                break;
            }
        }
        members[leader].restart();
    }
}

#[tokio::test]
async fn a_silent_member_costs_one_attempt() {
    let Some(members) = three() else { return };
    let store = connect(members.iter().map(Member::url).collect());
    let start = put_until_done(&store, "x", 0).await.0;
    let mut watch = store.watch(&THINGS, Scope::Id("a".to_owned()), start).await.unwrap();
    let leader = leader(&members).await;
    // The followers one after the other: one of them is ours, or both are not.
    for (place, member) in members.iter().enumerate() {
        if place == leader {
            continue;
        }
        member.pause();
        let mut failures = 0;
        for n in 0..5 {
            let write = Write::put("a", Expect::Any, body(n));
            failures += usize::from(store.write(&THINGS, write, None).await.is_err());
        }
        assert!(failures <= 1, "{failures} of 5 calls failed");
        let mut last = Revision::ZERO;
        loop {
            let changes = next(&mut watch).await;
            assert!(changes.revision > last);
            last = changes.revision;
            if told(&changes) == [format!("a={}", body(4))] {
                break;
            }
        }
        member.resume();
    }
}

#[tokio::test]
async fn members_that_are_away_cost_little() {
    let Some(members) = three() else { return };
    members[1].pause();
    let away = format!("http://127.0.0.1:{}", free_port());
    for _ in 0..5 {
        // The order is random: some of these meet the dead ones first.
        let store = connect(vec![away.clone(), members[1].url(), members[0].url()]);
        let started = Instant::now();
        put_until_done(&store, "a", 1).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    members[1].resume();
}

#[tokio::test]
async fn connecting_needs_no_etcd() {
    let Some(mut members) = three() else { return };
    for member in &mut members {
        member.kill();
    }
    let store = connect(members.iter().map(Member::url).collect());
    let asked = Instant::now();
    let error = store.get(&THINGS, "a").await.unwrap_err();
    assert_eq!(error.kind, fleet_store::ErrorKind::Unavailable);
    assert!(asked.elapsed() < Duration::from_millis(1500));
    let refused = store.write(&THINGS, Write::put("a", Expect::Any, body(1)), None).await;
    assert!(matches!(refused, Err(WriteError::NotDone(_))), "{refused:?}");
    let restarted = tokio::task::spawn_blocking(move || {
        std::thread::scope(|scope| {
            for member in &mut members {
                scope.spawn(|| member.restart());
            }
        });
        members
    });
    let _members = restarted.await.unwrap();
    timeout(Duration::from_secs(20), put_until_done(&store, "a", 1)).await.unwrap();
    put(&store, "b", body(1)).await;
}

/// Counts up by compare-and-swap until told to stop; returns how many steps were acknowledged, and how many
/// may have been done.
async fn count(store: Arc<dyn Store>, id: &'static str, stop: Arc<AtomicBool>) -> (usize, usize) {
    let (mut done, mut maybe) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let Ok(document) = store.get(&THINGS, id).await else { continue };
        let (expect, n) = match &document {
            None => (Expect::Absent, 0),
            Some(document) => {
                let value: serde_json::Value = serde_json::from_slice(&document.body).unwrap();
                let n = usize::try_from(value["n"].as_u64().unwrap()).unwrap();
                (Expect::Revision(document.revision), n)
            }
        };
        match store.write(&THINGS, Write::put(id, expect, body(n + 1)), None).await {
            Ok(_) => done += 1,
            Err(WriteError::Unknown(_)) => maybe += 1,
            Err(WriteError::Conflict { .. } | WriteError::NotDone(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    (done, maybe)
}

#[tokio::test]
async fn counters_are_right_whatever_happens_to_members() {
    let Some(mut members) = three() else { return };
    let urls: Vec<String> = members.iter().map(Member::url).collect();
    let store = connect(urls.clone());
    let start = put_until_done(&store, "x", 0).await.0;
    let mut watch = store.watch(&THINGS, Scope::Id("count".to_owned()), start).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let counters: Vec<_> =
        (0..4).map(|_| tokio::spawn(count(connect(urls.clone()), "count", Arc::clone(&stop)))).collect();
    for round in 0..6 {
        let leader = leader(&members).await;
        let target = (leader + round) % 3;
        if round % 2 == 0 {
            members[target].kill();
            tokio::time::sleep(Duration::from_millis(700)).await;
            // Not here: the counters run on this thread.
            let mut killed = members.remove(target);
            let restarted = tokio::task::spawn_blocking(move || {
                killed.restart();
                killed
            });
            members.insert(target, restarted.await.unwrap());
        } else {
            members[target].pause();
            tokio::time::sleep(Duration::from_millis(1200)).await;
            members[target].resume();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut done, mut maybe) = (0, 0);
    for counter in counters {
        let (counted, unknown) = counter.await.unwrap();
        done += counted;
        maybe += unknown;
    }
    let document = again(|| store.get(&THINGS, "count")).await.unwrap();
    let value: serde_json::Value = serde_json::from_slice(&document.body).unwrap();
    let n = usize::try_from(value["n"].as_u64().unwrap()).unwrap();
    println!("{done} steps acknowledged, {maybe} unknown, the counter says {n}");
    assert!(done > 50 && (done..=done + maybe).contains(&n), "{n} of {done} to {}", done + maybe);
    // The watch, over all of that, has told every step once and in order.
    for step in 1..=n {
        assert_eq!(told(&next(&mut watch).await), [format!("count={}", body(step))]);
    }
}
