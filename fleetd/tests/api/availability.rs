//! When this machine is no member, or the store does not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_cluster::presence::Membership;
use fleet_store::decorate::{Faults, Faulty};
use fleet_store::embedded::Embedded;
use http::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::answer::Reply;
use crate::world::{MEMBER, World, body};

const UNAVAILABLE: &str = "fleet server unable to communicate with etcd";

/// Every request that the store is needed for.
async fn every_request(world: &World) -> Vec<(&'static str, Reply)> {
    vec![
        ("list machines", world.get("/machines").await),
        ("list units", world.get("/units").await),
        ("list states", world.get("/state").await),
        ("list states of a unit", world.get("/state?unitName=a.service").await),
        ("get a unit", world.get("/units/a.service").await),
        ("get a state", world.get("/state/a.service").await),
        ("explain", world.get("/units/a.service/explain").await),
        ("put", world.put("a.service", body("loaded", 1)).await),
        ("patch", world.patch(r#"[{"op":"add","path":"/m/metadata/k","value":"v"}]"#).await),
        ("restart", world.restart("a.service").await),
        ("delete", world.delete("a.service").await),
    ]
}

#[tokio::test]
async fn only_a_member_answers() {
    let world = World::with_machines().await;
    world.put("a.service", body("launched", 1)).await;
    let refused = format!("{UNAVAILABLE}: another machine is registered under this machine's id");
    for (membership, text) in [
        (Membership::Joining, UNAVAILABLE.to_owned()),
        (Membership::Late, UNAVAILABLE.to_owned()),
        (Membership::Refused, refused),
    ] {
        world.membership.send_replace(membership.clone());
        let mut replies = every_request(&world).await;
        for path in ["/", "/nope", "/fleet/v1/discovery", "/fleet//v1", "/fleet/v1/units?nextPageToken=bad"] {
            replies.push((path, world.call(Method::GET, path).await));
        }
        for (request, reply) in replies {
            assert_eq!(reply.failure(), (503, text.clone()), "{membership:?} {request}");
        }
    }
    world.membership.send_replace(MEMBER);
    assert_eq!(world.get("/units/a.service").await.json()["desiredState"], "launched", "nothing was done");
}

/// A world whose store can be made to fail.
fn faulty() -> (World, Faulty, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(&directory.path().join("fleet.db")).unwrap();
    let faulty = Faulty::new(Arc::new(embedded), 1, Faults::NONE);
    (World::over(Arc::new(faulty.clone())), faulty, directory)
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_as_such() {
    let (world, faulty, _directory) = faulty();
    world.put("a.service", body("launched", 1)).await;
    faulty.set(Faults::DOWN);
    for (request, reply) in every_request(&world).await {
        assert_eq!(reply.failure(), (503, UNAVAILABLE.to_owned()), "{request}");
    }
    assert_eq!(world.get("/discovery").await.status, StatusCode::OK, "this needs no store");
    assert_eq!(world.call(Method::POST, "/fleet/v1/units").await.status, StatusCode::METHOD_NOT_ALLOWED);
    faulty.set(Faults::NONE);
    assert_eq!(world.get("/units/a.service").await.json()["desiredState"], "launched", "nothing was done");
    assert_eq!(world.get("/units").await.json()["units"].as_array().unwrap().len(), 1, "no failure is kept");
}

#[tokio::test]
async fn a_slow_store_does_not_make_clients_wait_one_after_the_other() {
    let (world, faulty, _directory) = faulty();
    world.put("a.service", body("launched", 1)).await;
    let longest_delay = Duration::from_millis(200);
    faulty.set(Faults { delayed: 1.0, longest_delay, ..Faults::DOWN });
    let began = Instant::now();
    let asked = (0..100).map(|_| world.get("/units"));
    for reply in futures_util::future::join_all(asked).await {
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    // At most two readings of three lists each.
    assert!(began.elapsed() < 20 * longest_delay, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_lost_on_the_way_changes_nothing_for_the_client() {
    let (world, faulty, _directory) = faulty();
    // Every other write is done, but who wrote it cannot know. Reads fail too, so a request may fail: then
    // the client asks again, as clients do.
    faulty.set(Faults { answer_lost: 0.3, ..Faults::NONE });
    let mut restarts = 0;
    for number in 0..100 {
        let unit = format!("a{number}.service");
        let made = world.put(&unit, body("launched", 1)).await.status;
        assert!([StatusCode::CREATED, StatusCode::SERVICE_UNAVAILABLE].contains(&made), "{made}");
        faulty.set(Faults::NONE);
        // Whatever number the first one has, the next one has the next.
        world.restart(&unit).await;
        let there = world.unit(&unit).await.map_or(0, |unit| unit.restarts);
        faulty.set(Faults { answer_lost: 0.3, ..Faults::NONE });
        if made == StatusCode::CREATED && world.restart(&unit).await.status == StatusCode::NO_CONTENT {
            faulty.set(Faults::NONE);
            assert_eq!(world.unit(&unit).await.unwrap().restarts, there + 1, "restarted once, not twice");
            faulty.set(Faults { answer_lost: 0.3, ..Faults::NONE });
            restarts += 1;
        }
        let gone = world.delete(&unit).await.status;
        if gone == StatusCode::NO_CONTENT {
            faulty.set(Faults::NONE);
            assert!(world.unit(&unit).await.is_none());
            faulty.set(Faults { answer_lost: 0.3, ..Faults::NONE });
        } else {
            assert!([StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE].contains(&gone), "{gone}");
        }
    }
    assert!(restarts > 10, "{restarts}");
}

#[tokio::test]
async fn a_new_file_of_unknown_fate_is_told_as_made() {
    let (world, faulty, _directory) = faulty();
    let mut lost = 0;
    for number in 0..100 {
        let unit = format!("a{number}.service");
        // Without a state, a second look must not take the unit for one that was there before.
        faulty.set(Faults { answer_lost: 0.4, ..Faults::NONE });
        let reply = world.put(&unit, json!({"options": crate::world::sleep(1)})).await;
        faulty.set(Faults::NONE);
        match reply.status {
            StatusCode::CREATED => assert!(world.unit(&unit).await.is_some()),
            StatusCode::SERVICE_UNAVAILABLE => lost += 1,
            status => panic!("{status}: {}", reply.text()),
        }
    }
    assert!((10..90).contains(&lost), "{lost}");
}
