//! Every row of the API, with what the transcript of the original does not show.

use fleet_cluster::documents::TargetState;
use http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::world::{World, body, machine, sleep};

#[tokio::test]
async fn both_prefixes_are_the_same() {
    let world = World::with_machines().await;
    world.put("a.service", body("inactive", 1)).await;
    for path in ["", "/", "/machines", "/units", "/units/a.service", "/state", "/discovery", "/nope"] {
        let new = world.call(Method::GET, &format!("/fleet/v1{path}")).await;
        let old = world.call(Method::GET, &format!("/v1-alpha{path}")).await;
        assert_eq!((new.status, new.body), (old.status, old.body), "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let world = World::new();
    for path in [
        "/fleet",
        "/fleet/",
        "/fleet/v1/",
        "/fleet/v2/units",
        "/fleet/v1x",
        "/fleet/v1/unit",
        "/v1-alpha/",
        "/fleet/v1/units/",
        "/fleet/v1/units/a.service/",
        "/fleet/v1/units/a/b/c",
        "/fleet/v1/state/",
        "/fleet/v1/machines/",
        "/fleet/v1/machines/x",
        "/fleet/v1/discovery/",
        "/metrics",
    ] {
        let (status, message) = world.call(Method::GET, path).await.failure();
        assert_eq!((status, message.as_str()), (404, ""), "{path}");
    }
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    let world = World::new();
    let rows = [
        ("/", "", ""),
        ("/fleet/v1", "", ""),
        ("/fleet/v1/machines", "GET, PATCH", "only GET and PATCH supported against this resource"),
        ("/fleet/v1/units", "GET", "only GET supported against this resource"),
        (
            "/fleet/v1/units/a.service",
            "GET, PUT, DELETE",
            "only GET, PUT and DELETE supported against this resource",
        ),
        ("/fleet/v1/units/a.service/explain", "GET", "only GET supported against this resource"),
        ("/fleet/v1/units/a.service/restart", "POST", "only POST supported against this resource"),
        ("/fleet/v1/state", "GET", "only GET supported against this resource"),
        ("/fleet/v1/state/a.service", "GET", "only GET supported against this resource"),
    ];
    for (path, allowed, text) in rows {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"]
        {
            if allowed.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let reply = world.call(method.parse().unwrap(), path).await;
            assert_eq!(reply.failure(), (405, text.to_owned()), "{method} {path}");
            assert_eq!(reply.headers.get(header::ALLOW).unwrap(), allowed, "{method} {path}");
        }
    }
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = world.call(method.parse().unwrap(), "/fleet/v1/discovery").await;
        assert_eq!(reply.failure(), (400, "only HTTP GET supported against this resource".to_owned()));
    }
}

#[tokio::test]
async fn the_discovery_document_is_one() {
    let reply = World::new().get("/discovery").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header(header::CONTENT_TYPE), "application/json");
    let document = reply.json();
    assert_eq!(document["kind"], "discovery#restDescription");
    assert_eq!(document["rootUrl"], "$ENDPOINT/");
    assert_eq!(document["servicePath"], "fleet/v1/");
}

#[tokio::test]
async fn a_unit_lives_its_life() {
    let world = World::with_machines().await;
    let made = world.put("a.service", json!({"options": sleep(1)})).await;
    assert_eq!((made.status, made.text(), made.header(header::CONTENT_TYPE)), (StatusCode::CREATED, "", ""));
    let there = world.get("/units/a.service").await.json();
    assert_eq!((&there["desiredState"], &there["currentState"]), (&json!("inactive"), &json!("inactive")));
    assert_eq!(there.get("machineID"), None);

    let launched = world.put("a.service", json!({"desiredState": "launched"})).await;
    assert_eq!((launched.status, launched.text()), (StatusCode::NO_CONTENT, ""));
    world.place("a.service", Some(2)).await;
    let placed = world.get("/units/a.service").await.json();
    assert_eq!((&placed["machineID"], &placed["currentState"]), (&json!(machine(2).0), &json!("inactive")));
    world.report("a.service", 2, TargetState::Launched).await;
    let running = world.get("/units/a.service").await.json();
    assert_eq!(running["currentState"], "launched");
    assert_eq!(world.get("/units").await.json()["units"], json!([running]));

    world.remove_machine(2).await;
    let away = world.get("/units/a.service").await.json();
    assert_eq!(away.get("machineID"), None, "its machine is away");
    assert_eq!(world.get("/units").await.json()["units"][0].get("machineID"), None);

    let gone = world.delete("a.service").await;
    assert_eq!((gone.status, gone.text()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(world.delete("a.service").await.failure(), (404, "unit does not exist".to_owned()));
    assert_eq!(world.get("/units").await.text(), "{}");
}

#[tokio::test]
async fn put_changes_what_is_asked_and_nothing_else() {
    let world = World::new();
    let status = |reply: crate::answer::Reply| reply.status.as_u16();
    assert_eq!(status(world.put("a.service", body("launched", 1)).await), 201);
    let first = world.unit("a.service").await.unwrap();
    // The same again, in each form that says so, writes nothing.
    for same in [body("launched", 1), json!({"desiredState": "launched"})] {
        assert_eq!(status(world.put("a.service", same).await), 204);
        assert_eq!(world.unit("a.service").await.unwrap(), first);
    }
    // The same file in another state.
    assert_eq!(status(world.put("a.service", body("loaded", 1)).await), 204);
    let loaded = world.unit("a.service").await.unwrap();
    assert_eq!((loaded.desired_state, &loaded.options), (TargetState::Loaded, &first.options));
    // The same file, no state.
    let reply = world.put("a.service", json!({"options": sleep(1)})).await;
    assert_eq!(reply.failure(), (409, "must provide DesiredState to update existing unit".to_owned()));
    // Another file: placement and restarts stay, the state is the one of a new unit.
    world.put("a.service", json!({"desiredState": "launched"})).await;
    world.place("a.service", Some(1)).await;
    assert_eq!(status(world.restart("a.service").await), 204);
    let restarts = world.unit("a.service").await.unwrap().restarts;
    assert!(restarts > 0);
    assert_eq!(status(world.put("a.service", json!({"options": sleep(2)})).await), 201);
    let replaced = world.unit("a.service").await.unwrap();
    assert_eq!(replaced.desired_state, TargetState::Inactive);
    assert_eq!((replaced.machine, replaced.restarts), (Some(machine(1)), restarts));
}

#[tokio::test]
async fn what_put_refuses_changes_nothing() {
    let world = World::new();
    let option = |name: &str, value: &str| json!([{"section": "X-Fleet", "name": name, "value": value}]);
    world.put("a.service", body("loaded", 1)).await;
    let before = world.unit("a.service").await;
    for (sent, status) in [
        (json!({"desiredState": "bogus"}), 400),
        (json!({"desiredState": "Launched"}), 400),
        (json!({"desiredState": "launched", "name": "b.service"}), 400),
        (json!({"desiredState": "launched", "options": option("MachineMetadata", "no-pair")}), 400),
        (json!({"desiredState": "launched", "options": option("Conflicts", "[")}), 400),
        (
            json!({"desiredState": "launched", "options": [{"section": "S", "name": "a\nb", "value": "c"}]}),
            400,
        ),
        (
            json!({"desiredState": "launched", "options": [{"section": "S]\n[X-Fleet", "name": "Global", "value": "1"}]}),
            400,
        ),
        (
            json!({"desiredState": "launched", "options": [{"section": "S", "name": "a", "value": "b\n[X-Fleet]\nGlobal=1"}]}),
            400,
        ),
        (json!({}), 409),
    ] {
        let (found, message) = world.put("a.service", &sent).await.failure();
        assert_eq!(found, status, "{sent}: {message}");
        assert!(!message.is_empty(), "{sent}");
        assert_eq!(world.unit("a.service").await, before, "{sent}");
    }
}

#[tokio::test]
async fn options_come_back_in_the_order_of_the_file_that_they_make() {
    let world = World::new();
    let option =
        |section: &str, name: &str, value: &str| json!({"name": name, "section": section, "value": value});
    let sent = [
        option("Unit", "Description", "  a < b  "),
        option("Service", "ExecStart", "/bin/true"),
        option("Unit", "After", "x.service"),
        option("Service", "Environment", "A=1 \\\n B=2"),
    ];
    let expected =
        [option("Unit", "Description", "a < b"), sent[2].clone(), sent[1].clone(), sent[3].clone()];
    assert_eq!(world.put("a.service", json!({"options": sent})).await.status, StatusCode::CREATED);
    let reply = world.get("/units/a.service").await;
    assert_eq!(reply.json()["options"], json!(expected));
    assert!(reply.text().contains(r"a \u003c b"), "escaped as Go escapes it: {}", reply.text());
    // What came back is the same unit.
    let again = world.put("a.service", json!({"desiredState": "inactive", "options": expected})).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn content_types_are_checked_as_the_original_checks_them() {
    let world = World::new();
    let only = "only acceptable Content-Type is application/json";
    for (types, expected) in [
        (vec!["application/json"], None),
        (vec!["application/json; charset=utf-8"], None),
        (vec![" application/json ;x"], None),
        (vec![], Some("expected 1 Content-Type, got 0")),
        (vec!["application/json", "application/json"], Some("expected 1 Content-Type, got 2")),
        (vec!["text/plain"], Some(only)),
        (vec!["Application/JSON"], Some(only)),
        (vec!["application/json5"], Some(only)),
        (vec![""], Some(only)),
    ] {
        let mut request = Request::put("/fleet/v1/units/a.service");
        for value in &types {
            request = request.header(header::CONTENT_TYPE, *value);
        }
        let reply = world.ask(request.body(body("inactive", 1).to_string()).unwrap()).await;
        match expected {
            None => assert!(reply.status.is_success(), "{types:?}"),
            Some(text) => assert_eq!(reply.failure(), (415, text.to_owned()), "{types:?}"),
        }
    }
    // Nobody else is asked for one.
    assert_eq!(world.patch("[]").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn templates_are_kept_and_not_activated() {
    let world = World::new();
    for state in ["loaded", "launched"] {
        let refused = (400, "cannot activate template \"t@.service\"".to_owned());
        assert_eq!(world.put("t@.service", body(state, 1)).await.failure(), refused);
    }
    assert_eq!(world.put("t@.service", body("inactive", 1)).await.status, StatusCode::CREATED);
    assert_eq!(world.put("t%401.service", body("launched", 1)).await.status, StatusCode::CREATED);
    assert_eq!(world.get("/units/t@1.service").await.json()["desiredState"], "launched");
    assert_eq!(world.get("/units/t%40.service").await.json()["name"], "t@.service");
}

#[tokio::test]
async fn a_global_unit_has_no_machine_and_a_state_only_in_the_list() {
    let world = World::with_machines().await;
    let options = json!([
        {"section": "Service", "name": "ExecStart", "value": "/bin/true"},
        {"section": "X-Fleet", "name": "Global", "value": "true"},
    ]);
    world.put("g.service", json!({"desiredState": "launched", "options": options})).await;
    world.report("g.service", 1, TargetState::Launched).await;
    let single = world.get("/units/g.service").await.json();
    assert_eq!((single.get("machineID"), single.get("currentState")), (None, None));
    let listed = world.get("/units").await.json();
    assert_eq!(listed["units"][0].get("machineID"), None);
    assert_eq!(listed["units"][0]["currentState"], "inactive");
}

#[tokio::test]
async fn names_that_can_be_no_unit_are_not_there() {
    let world = World::new();
    for name in [
        "nope.service",
        "nope",
        "a%20b.service",
        "%25zz.service",
        "%C3%A4.service",
        "a%00b",
        &"x".repeat(600),
    ] {
        let missing = (404, "unit does not exist".to_owned());
        assert_eq!(world.get(&format!("/units/{name}")).await.failure(), missing, "{name}");
        assert_eq!(world.delete(name).await.failure(), missing, "{name}");
        assert_eq!(world.restart(name).await.failure(), missing, "{name}");
        let stateless = (404, "unit state does not exist".to_owned());
        assert_eq!(world.get(&format!("/state/{name}")).await.failure(), stateless, "{name}");
        assert_eq!(world.get(&format!("/state?unitName={name}")).await.text(), "{}", "{name}");
        assert_eq!(world.get(&format!("/state?machineID={name}")).await.text(), "{}", "{name}");
    }
}

#[tokio::test]
async fn states_are_filtered_by_unit_and_machine() {
    let world = World::with_machines().await;
    for unit in ["a.service", "ab.service"] {
        world.put(unit, body("launched", 1)).await;
        for number in [2, 1] {
            world.report(unit, number, TargetState::Launched).await;
        }
    }
    world.report("ab.service", 3, TargetState::Inactive).await;
    let one = machine(1).0;
    for (query, expected) in [
        ("".to_owned(), vec![("a.service", 1), ("a.service", 2), ("ab.service", 1), ("ab.service", 2)]),
        ("?unitName=a.service".to_owned(), vec![("a.service", 1), ("a.service", 2)]),
        (format!("?machineID={one}"), vec![("a.service", 1), ("ab.service", 1)]),
        (format!("?machineID={one}&unitName=ab.service"), vec![("ab.service", 1)]),
        (format!("?unitName=ab.service&unitName=a.service&machineID={one}"), vec![("ab.service", 1)]),
        ("?unitName=a".to_owned(), vec![]),
        ("?unitName=*".to_owned(), vec![]),
        (
            "?unitName=&machineID=&alt=json&prettyPrint=false".to_owned(),
            vec![("a.service", 1), ("a.service", 2), ("ab.service", 1), ("ab.service", 2)],
        ),
    ] {
        let page = world.get(&format!("/state{query}")).await.json();
        let expected: Vec<_> =
            expected.into_iter().map(|(unit, number)| (unit.to_owned(), machine(number).0)).collect();
        let found: Vec<_> = page["states"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|state| {
                let text = |key: &str| state[key].as_str().unwrap().to_owned();
                (text("name"), text("machineID"))
            })
            .collect();
        assert_eq!(found, expected, "{query}");
    }
    let single = world.get("/state/ab.service").await.json();
    assert_eq!(single["machineID"], one, "the first one");
    assert_eq!(single["hash"], world.unit("ab.service").await.unwrap().file().hash().to_string());
}
