//! etcd with three members: what happens when one of them is killed, silent, or away from the start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_store::etcd::{Etcd, Options};
use fleet_store::{Expect, Revision, Scope, Store, Write, WriteError};
use tokio::time::timeout;

use crate::cases::{THINGS, body, next, put, told};
use crate::engine::{Member, Setup, available, free_port};

fn three() -> Option<Vec<Member>> {
    match available() {
        Ok(()) => Some(Member::three(&Setup::default())),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
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
