//! Why a unit is where it is: a row for each reason.

use fleet_cluster::documents::{STATES, TargetState, state_id};
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, machine};

impl World {
    /// Makes a unit that is wanted running, with these `[X-Fleet]` options, and places it.
    async fn run(&self, unit: &str, fleet: &[(&str, &str)], number: Option<u8>) {
        let mut options = vec![json!({"section": "Service", "name": "ExecStart", "value": "/bin/true"})];
        options.extend(
            fleet.iter().map(|(name, value)| json!({"section": "X-Fleet", "name": name, "value": value})),
        );
        let reply = self.put(unit, json!({"desiredState": "launched", "options": options})).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        if number.is_some() {
            self.place(unit, number).await;
        }
    }

    /// The reasons for a unit's whereabouts: text, and numbers of machines.
    async fn reasons(&self, unit: &str) -> Vec<(String, Vec<u8>)> {
        let explained = self.get(&format!("/units/{unit}/explain")).await.json();
        let reasons = explained.get("reasons").and_then(Value::as_array).into_iter().flatten();
        let number = |id: &Value| (1..=9).find(|number| *id == machine(*number).0).unwrap();
        reasons
            .map(|reason| {
                let machines = reason.get("machines").and_then(Value::as_array).into_iter().flatten();
                (reason["reason"].as_str().unwrap().to_owned(), machines.map(number).collect())
            })
            .collect()
    }
}

fn reason(text: &str, machines: &[u8]) -> (String, Vec<u8>) {
    (text.to_owned(), machines.to_vec())
}

#[tokio::test]
async fn each_reason_is_told() {
    let world = World::with_machines().await;
    world.run("here.service", &[], Some(1)).await;
    world.run("free.service", &[], None).await;
    world.run("id.service", &[("MachineID", "00000009")], None).await;
    world.run("zone.service", &[("MachineMetadata", "az=z7"), ("MachineMetadata", "az=z0")], None).await;
    world.run("peer.service", &[("MachineOf", "here.service")], None).await;
    world.run("hermit.service", &[("Conflicts", "here.*")], None).await;
    world.run("wanted.service", &[], Some(2)).await;
    world.run("thief.service", &[("Replaces", "victim.service")], Some(3)).await;
    world.run("victim.service", &[], None).await;
    world.run("lost.service", &[("MachineID", &machine(9).0)], Some(9)).await;
    world.put("idle.service", json!({"options": crate::world::sleep(1)})).await;
    world.put("t@.service", json!({"options": crate::world::sleep(1)})).await;
    let soon = "the engine has not got to it yet";
    for (unit, expected) in [
        ("here.service", vec![]),
        ("idle.service", vec![reason("its desired state is inactive", &[])]),
        ("t@.service", vec![reason("its desired state is inactive", &[])]),
        ("free.service", vec![reason(soon, &[1, 2, 3])]),
        ("id.service", vec![reason("MachineID=00000009 names another machine", &[1, 2, 3])]),
        ("zone.service", vec![reason("machine metadata lacks az=z0|z7", &[1, 3]), reason(soon, &[2])]),
        (
            "peer.service",
            vec![
                reason("MachineOf=here.service: that unit is not scheduled here", &[2, 3]),
                reason(soon, &[1]),
            ],
        ),
        (
            "hermit.service",
            vec![reason("conflict with here.service, which is scheduled here", &[1]), reason(soon, &[2, 3])],
        ),
        (
            "victim.service",
            vec![reason("replaced by thief.service, which is scheduled here", &[3]), reason(soon, &[1, 2])],
        ),
        (
            "lost.service",
            vec![
                reason("its machine is away, and no other machine can take it", &[9]),
                reason(&format!("MachineID={} names another machine", machine(9)), &[1, 2, 3]),
            ],
        ),
    ] {
        let mut found = world.reasons(unit).await;
        found.sort();
        let mut expected = expected;
        expected.sort();
        assert_eq!(found, expected, "{unit}");
    }
}

#[tokio::test]
async fn a_unit_that_does_not_fit_any_more_is_told_so() {
    let world = World::with_machines().await;
    world.run("a.service", &[("MachineMetadata", "az=z1")], Some(2)).await;
    let expected = "machine metadata lacks az=z1, and no other machine can take it";
    assert_eq!(world.reasons("a.service").await, [reason(expected, &[2])]);
}

#[tokio::test]
async fn a_circle_is_told_as_one() {
    let world = World::with_machines().await;
    world.run("a.service", &[("Replaces", "b.service")], None).await;
    world.run("b.service", &[("Replaces", "a.service")], Some(1)).await;
    let expected = "it and b.service replace each other: only one of them can run";
    assert_eq!(world.reasons("a.service").await, [reason(expected, &[])]);
    assert_eq!(world.reasons("b.service").await, []);
}

#[tokio::test]
async fn global_units_are_explained_where_they_do_not_run() {
    let world = World::with_machines().await;
    world.run("g.service", &[("Global", "true"), ("MachineMetadata", "az=z1")], None).await;
    assert_eq!(world.reasons("g.service").await, [reason("machine metadata lacks az=z1", &[2])]);
    let explained = world.get("/units/g.service/explain").await.json();
    assert_eq!((&explained["global"], explained.get("machineID")), (&json!(true), None));
    assert_eq!(explained.get("currentState"), None);
}

#[tokio::test]
async fn without_machines_there_is_one_reason() {
    let world = World::new();
    world.run("a.service", &[], None).await;
    world.run("g.service", &[("Global", "true")], None).await;
    for unit in ["a.service", "g.service"] {
        assert_eq!(world.reasons(unit).await, [reason("there is no machine", &[])], "{unit}");
    }
}

#[tokio::test]
async fn states_restarts_and_failures_are_told() {
    let world = World::with_machines().await;
    world.run("a.service", &[], Some(1)).await;
    world.restart("a.service").await;
    world.report("a.service", 1, TargetState::Launched).await;
    let hash = world.unit("a.service").await.unwrap().file().hash();
    let failing = json!({
        "machine": machine(2), "hash": hash, "current": "loaded", "load": "error", "active": "failed",
        "sub": "failed", "restarts": 1, "error": "Unit a.service has a bad setting",
    });
    world.smuggle(&STATES, &state_id("a.service", &machine(2)), failing).await;
    let explained = world.get("/units/a.service/explain").await.json();
    let restarts = world.unit("a.service").await.unwrap().restarts;
    assert_eq!(
        explained,
        json!({
            "currentState": "launched", "desiredState": "launched", "machineID": machine(1),
            "name": "a.service", "restarts": restarts,
            "states": [
                {"currentState": "launched", "machineID": machine(1), "systemdActiveState": "active", "systemdSubState": "running"},
                {"currentState": "loaded", "error": "Unit a.service has a bad setting", "machineID": machine(2), "restarts": 1, "systemdActiveState": "failed", "systemdSubState": "failed"},
            ],
        })
    );
}

#[tokio::test]
async fn what_is_not_there_cannot_be_explained_or_restarted() {
    let world = World::new();
    assert_eq!(
        world.get("/units/a.service/explain").await.failure(),
        (404, "unit does not exist".to_owned())
    );
    assert_eq!(
        world.get("/units/a/explain").await.failure(),
        (400, "unit name must contain \".\"".to_owned())
    );
    assert_eq!(world.restart("a.service").await.failure(), (404, "unit does not exist".to_owned()));
}

#[tokio::test]
async fn a_restart_counts_what_is_launched_only() {
    let world = World::new();
    world.run("a.service", &[], None).await;
    let mut last = 0;
    for _ in 0..3 {
        assert_eq!(world.restart("a.service").await.status, StatusCode::NO_CONTENT);
        let number = world.get("/units/a.service/explain").await.json()["restarts"].as_u64().unwrap();
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    world.put("a.service", json!({"desiredState": "loaded"})).await;
    let refused = "cannot restart unit \"a.service\": its desired state is loaded, not launched";
    assert_eq!(world.restart("a.service").await.failure(), (409, refused.to_owned()));
    assert_eq!(world.unit("a.service").await.unwrap().restarts, last);
    // The numbers of the next unit of that name are higher.
    world.delete("a.service").await;
    world.run("a.service", &[], None).await;
    assert_eq!(world.unit("a.service").await.unwrap().restarts, 0);
    assert_eq!(world.restart("a.service").await.status, StatusCode::NO_CONTENT);
    assert!(world.unit("a.service").await.unwrap().restarts > last);
}
