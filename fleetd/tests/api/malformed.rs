//! Documents in the store that cannot be read.

use fleet_cluster::documents::{MACHINE_METADATA, MACHINES, STATES, TargetState, UNITS, state_id};
use http::StatusCode;
use serde_json::json;

use crate::world::{World, body, machine, sleep};

/// Shapes that are no unit.
const MALFORMED: &[&str] = &[
    "{}",
    r#"{"options":5,"desired_state":"launched"}"#,
    r#"{"options":[],"desired_state":"bogus"}"#,
    r#"{"options":[{"section":1}],"desired_state":"inactive"}"#,
    r#"{"options":[],"desired_state":"inactive","restarts":-1}"#,
    r#"{"options":[],"desired_state":"inactive","machine":{}}"#,
];

/// A world with a unit on each side of a malformed one.
async fn world(malformed: &str) -> World {
    let world = World::with_machines().await;
    for unit in ["a.service", "c.service"] {
        world.put(unit, body("launched", 1)).await;
    }
    world.smuggle(&UNITS, "b.service", malformed).await;
    world
}

#[tokio::test]
async fn a_malformed_unit_is_left_out_of_lists_and_told_of() {
    for malformed in MALFORMED {
        let world = world(malformed).await;
        let (names, _) = world.pages("units").await;
        assert_eq!(names, ["a.service", "c.service"], "{malformed}");
        for reply in [
            world.get("/units/b.service").await,
            world.get("/units/b.service/explain").await,
            world.restart("b.service").await,
        ] {
            let (status, message) = reply.failure();
            assert_eq!(status, 500, "{malformed}: {message}");
            assert!(message.contains("\"b.service\""), "{message}");
            assert!(message.ends_with("submit it again with its options, or destroy it"), "{message}");
        }
        let explained = world.get("/units/a.service/explain").await.json();
        assert_eq!(explained["name"], "a.service", "others can be explained");
    }
}

#[tokio::test]
async fn a_malformed_unit_can_be_destroyed() {
    for malformed in MALFORMED {
        let world = world(malformed).await;
        assert_eq!(world.delete("b.service").await.status, StatusCode::NO_CONTENT, "{malformed}");
        assert_eq!(world.get("/units/b.service").await.status, StatusCode::NOT_FOUND);
        assert_eq!(world.delete("b.service").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_malformed_unit_can_be_submitted_again() {
    for malformed in MALFORMED {
        let world = world(malformed).await;
        for incomplete in [json!({}), json!({"desiredState": "launched"})] {
            let (status, message) = world.put("b.service", incomplete).await.failure();
            assert_eq!(status, 409, "{message}");
            assert!(message.contains("cannot be read"), "{message}");
        }
        let bad =
            world.put("b.service", json!({"options": [{"section": "S", "name": "=", "value": ""}]})).await;
        assert_eq!(bad.status, StatusCode::BAD_REQUEST);
        assert_eq!(world.put("b.service", json!({"options": sleep(1)})).await.status, StatusCode::CREATED);
        assert_eq!(world.get("/units/b.service").await.json()["desiredState"], "inactive");
        assert_eq!(world.pages("units").await.0.len(), 3);
    }
}

#[tokio::test]
async fn a_malformed_neighbour_hides_nothing_else() {
    let world = World::with_machines().await;
    world.put("a.service", body("launched", 1)).await;
    world.place("a.service", Some(1)).await;
    world.report("a.service", 1, TargetState::Launched).await;
    world.report("a.service", 2, TargetState::Launched).await;
    for (collection, id) in [
        (&STATES, state_id("a.service", &machine(1))),
        (&MACHINES, machine(2).0),
        (&MACHINE_METADATA, machine(3).0),
    ] {
        world.smuggle(collection, &id, r#"{"nothing":"known"}"#).await;
    }
    let unit = world.get("/units/a.service").await.json();
    assert_eq!((&unit["currentState"], &unit["machineID"]), (&json!("inactive"), &json!(machine(1).0)));
    assert_eq!(world.get("/units").await.json()["units"], json!([unit]));
    assert_eq!(world.get("/state/a.service").await.json()["machineID"], machine(2).0);
    assert_eq!(world.pages("machines").await.0, [machine(1).0, machine(3).0]);
    // The malformed machine carries the unit: it is as good as away.
    world.place("a.service", Some(2)).await;
    assert_eq!(world.get("/units/a.service").await.json().get("machineID"), None);
    // Metadata that cannot be read can be set again.
    let set = format!(r#"[{{"op":"add","path":"/{}/metadata/k","value":"v"}}]"#, machine(3));
    assert_eq!(world.patch(set).await.status, StatusCode::NO_CONTENT);
    let machines = world.get("/machines").await.json();
    assert_eq!(machines["machines"][1]["metadata"], json!({"az": "z1", "hostname": "m3", "k": "v"}));
}

#[tokio::test]
async fn a_document_under_an_odd_name_can_be_removed() {
    let world = World::new();
    let document = json!({"options": sleep(1), "desired_state": "inactive"});
    for id in ["no unit", "a/b.service", "x"] {
        world.smuggle(&UNITS, id, &document).await;
    }
    assert_eq!(world.pages("units").await.0, ["a/b.service", "no unit", "x"]);
    assert_eq!(world.delete("no%20unit").await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.delete("x").await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        world.delete("a%2Fb.service").await.status,
        StatusCode::NOT_FOUND,
        "a slash makes another path"
    );
}

#[tokio::test]
async fn a_document_of_a_newer_version_is_read_as_far_as_it_is_known() {
    let world = World::new();
    let newer = json!({"options": sleep(1), "desired_state": "loaded", "colour": "blue"});
    world.smuggle(&UNITS, "a.service", newer).await;
    assert_eq!(world.get("/units/a.service").await.json()["desiredState"], "loaded");
}
