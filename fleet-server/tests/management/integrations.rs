//! Integrations: from a call to what the held agent gets.

use http::StatusCode;
use serde_json::{Value, json};

use crate::agent::{Agent, Way};
use crate::manager::Manager;
use crate::server::Server;

const INTEGRATIONS: &str = "/api/fleet/package_policies";

/// A server with a policy `web`, and its enrolment key.
async fn with_policy(server: &Server) -> (Manager, String) {
    let manager = Manager::of(server);
    let body = json!({"id": "web", "name": "Web", "namespace": "prod"});
    manager.post("/api/fleet/agent_policies", &body).await;
    let keys = manager.get("/api/fleet/enrollment_api_keys?kuery=policy_id:web").await;
    (manager, keys["items"][0]["api_key"].as_str().expect("a key").to_owned())
}

/// Lines of files, in the simplified shape.
fn lines(name: &str, paths: &[&str]) -> Value {
    json!({
        "name": name,
        "policy_ids": ["web"],
        "package": {"name": "filestream", "version": "1.0.0"},
        "inputs": {"filestream-filestream": {"enabled": true, "streams": {"filestream.filestream": {
            "enabled": true,
            "vars": {"paths": paths, "data_stream.dataset": "shop"},
        }}}},
    })
}

async fn full(manager: &Manager) -> Value {
    manager.get("/api/fleet/agent_policies/web/full").await["item"].take()
}

async fn revision(manager: &Manager) -> u64 {
    manager.get("/api/fleet/agent_policies/web").await["item"]["revision"].as_u64().expect("a revision")
}

#[tokio::test]
async fn the_held_agent_has_the_rendered_inputs() {
    let server = Server::start(&[]);
    let (manager, key) = with_policy(&server).await;
    let way = Way::to(&server);
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    agent.checkin(&way).await;
    agent.running = Some(("web".to_owned(), 1));
    let held = {
        let (mut agent, way) = (agent.clone(), way.clone());
        tokio::spawn(async move { agent.checkin(&way).await })
    };
    let made = manager.post(INTEGRATIONS, &lines("shop", &["/var/log/shop/*.log"])).await["item"].take();
    let answer = held.await.expect("an answer");
    let policy = &answer.body["actions"][0]["data"]["policy"];
    assert_eq!(policy["revision"], 2);
    let input = &policy["inputs"][0];
    assert_eq!(input["type"], "filestream");
    assert_eq!(input["package_policy_id"], made["id"]);
    assert_eq!(input["data_stream"]["namespace"], "prod");
    assert_eq!(input["streams"][0]["paths"], json!(["/var/log/shop/*.log"]));
    assert_eq!(input["streams"][0]["data_stream"]["dataset"], "shop");
    let id = made["id"].as_str().expect("an id");
    assert_eq!(
        policy["output_permissions"]["default"][id]["indices"],
        json!([{"names": ["logs-shop-prod"], "privileges": ["auto_configure", "create_doc"]}])
    );
}

#[tokio::test]
async fn both_shapes_are_taken_and_given() {
    let server = Server::start(&[]);
    let (manager, _) = with_policy(&server).await;
    let made =
        manager.post(&format!("{INTEGRATIONS}?format=simplified"), &lines("a", &["/a"])).await["item"].take();
    let id = made["id"].as_str().expect("an id");
    let stream = "/inputs/filestream-filestream/streams/filestream.filestream/vars/paths";
    assert_eq!(made.pointer(stream), Some(&json!(["/a"])), "{made}");
    let mut whole = manager.get(&format!("{INTEGRATIONS}/{id}")).await["item"].take();
    assert_eq!(whole["inputs"][0]["streams"][0]["vars"]["paths"]["value"], json!(["/a"]));
    assert_eq!(whole["inputs"][0]["streams"][0]["compiled_stream"]["paths"], json!(["/a"]));

    // What GET gives, PUT takes, and nothing is new.
    for format in ["legacy", "simplified"] {
        let path = format!("{INTEGRATIONS}/{id}?format={format}");
        let given = manager.get(&path).await["item"].take();
        let (status, answer) = manager.ask("PUT", &path, Some(&given)).await;
        assert_eq!((status, &answer["item"]), (StatusCode::OK, &given), "{format}");
    }
    assert_eq!(revision(&manager).await, 2);

    whole["inputs"][0]["streams"][0]["vars"]["paths"]["value"] = json!(["/b"]);
    let (status, changed) = manager.ask("PUT", &format!("{INTEGRATIONS}/{id}"), Some(&whole)).await;
    assert_eq!((status, &changed["item"]["revision"]), (StatusCode::OK, &json!(2)), "{changed}");
    assert_eq!(full(&manager).await["inputs"][0]["streams"][0]["paths"], json!(["/b"]));
    assert_eq!(revision(&manager).await, 3);
    let (status, late) = manager.ask("PUT", &format!("{INTEGRATIONS}/{id}"), Some(&whole)).await;
    assert_eq!(status, StatusCode::CONFLICT, "it was revision 1 that was edited: {late}");
}

#[tokio::test]
async fn a_rollback_takes_integrations_back() {
    let server = Server::start(&[]);
    let (manager, _) = with_policy(&server).await;
    let id = manager.post(INTEGRATIONS, &lines("a", &["/a"])).await["item"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let body = lines("a", &["/b"]);
    manager.ask("PUT", &format!("{INTEGRATIONS}/{id}"), Some(&body)).await;
    let other = manager.post(INTEGRATIONS, &lines("other", &["/c"])).await["item"]["id"].clone();
    assert_eq!(full(&manager).await["inputs"].as_array().map(Vec::len), Some(2));

    manager.post("/api/fleet/agent_policies/web/revisions/2/rollback", &json!({})).await;
    let now = full(&manager).await;
    assert_eq!(now["inputs"].as_array().map(Vec::len), Some(1), "{now}");
    assert_eq!(now["inputs"][0]["streams"][0]["paths"], json!(["/a"]));
    let (status, _) =
        manager.ask("GET", &format!("{INTEGRATIONS}/{}", other.as_str().expect("an id")), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // Forward again: what was removed comes back.
    manager.post("/api/fleet/agent_policies/web/revisions/4/rollback", &json!({})).await;
    let now = full(&manager).await;
    let mut paths: Vec<String> = now["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| input["streams"][0]["paths"][0].to_string())
        .collect();
    paths.sort();
    assert_eq!(paths, ["\"/b\"", "\"/c\""]);
}

#[tokio::test]
async fn an_integration_of_two_policies_ships_both_and_leaves_one() {
    let server = Server::start(&[]);
    let (manager, _) = with_policy(&server).await;
    let db = json!({"id": "db", "name": "DB", "namespace": "default"});
    manager.post("/api/fleet/agent_policies", &db).await;
    let mut body = lines("shared", &["/a"]);
    body["policy_ids"] = json!(["web", "db"]);
    let made = manager.post(INTEGRATIONS, &body).await["item"].take();
    let path = format!("{INTEGRATIONS}/{}", made["id"].as_str().expect("an id"));
    let inputs_of_db = async || {
        let full = manager.get("/api/fleet/agent_policies/db/full").await;
        full["item"]["inputs"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((inputs_of_db().await, revision(&manager).await), (1, 2));
    let (status, _) = manager.ask("PUT", &path, Some(&json!({"policy_ids": ["web"]}))).await;
    assert_eq!((status, inputs_of_db().await), (StatusCode::OK, 0));
    assert_eq!(full(&manager).await["inputs"].as_array().map(Vec::len), Some(1));

    let removed = manager
        .post(&format!("{INTEGRATIONS}/delete"), &json!({"packagePolicyIds": [made["id"], "x"]}))
        .await;
    assert_eq!((&removed[0]["success"], &removed[1]["statusCode"]), (&json!(true), &json!(404)));
    assert_eq!(full(&manager).await["inputs"], json!([]));
}

#[tokio::test]
async fn what_is_wrong_is_told_field_by_field_and_nothing_is_kept() {
    let server = Server::start(&[]);
    let (manager, _) = with_policy(&server).await;
    manager.post(INTEGRATIONS, &lines("taken", &["/a"])).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = lines("new", &["/a"]);
        change(&mut body);
        body
    };
    let stream = "/inputs/filestream-filestream/streams/filestream.filestream";
    let vars = format!("{stream}/vars");
    let set = |pointer: &str, name: &str, value: Value| {
        let (pointer, name) = (pointer.to_owned(), name.to_owned());
        with(&move |body| body.pointer_mut(&pointer).unwrap()[&name] = value.clone())
    };
    for (body, status, names) in [
        (set(&vars, "paths", json!([])), 400, "paths"),
        (set(&vars, "paths", json!(7)), 400, "paths"),
        (set(&vars, "pahts", json!(["/a"])), 400, "pahts"),
        (set(&vars, "data_stream.dataset", json!("A B")), 400, "dataset"),
        (set("", "name", json!("")), 400, "name"),
        (set("", "name", json!("taken")), 409, "name"),
        (set("", "namespace", json!("A*")), 400, "namespace"),
        (set("", "policy_ids", json!(["nowhere"])), 400, "policy_ids"),
        (set("", "policy_ids", json!("web")), 400, "policy_ids"),
        (set("", "output_id", json!("nowhere")), 400, "output_id"),
        (set("/package", "name", json!("nothing")), 400, "package"),
        (set("/package", "version", json!(1)), 400, "package.version"),
        (set("", "colour", json!("red")), 400, "colour"),
        (set("/inputs", "nothing-else", json!({"enabled": true})), 400, "nothing-else"),
        (set("", "inputs", json!("all")), 400, "inputs"),
    ] {
        let (got, answer) = manager.ask("POST", INTEGRATIONS, Some(&body)).await;
        assert_eq!(got.as_u16(), status, "{names}: {answer}");
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains(names), "{names}: {message}");
    }
    assert_eq!(manager.get(INTEGRATIONS).await["total"], 1);
    assert_eq!(revision(&manager).await, 2);
}

#[tokio::test]
async fn a_policy_can_watch_its_machines_from_the_beginning() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = json!({"id": "web", "name": "Web", "namespace": "default"});
    let made = manager.post("/api/fleet/agent_policies?sys_monitoring=true", &body).await["item"].take();
    assert_eq!(made["package_policies"][0]["package"]["name"], "system");
    let inputs = full(&manager).await["inputs"].take();
    let inputs = inputs.as_array().expect("inputs");
    assert!(inputs.iter().any(|input| input["type"] == "system/metrics"), "{inputs:?}");
    let system = manager.get("/api/fleet/epm/packages/system").await["item"].take();
    assert_eq!(system["status"], "installed");
}

#[tokio::test]
async fn of_editors_at_the_same_time_one_wins_and_agents_get_what_that_one_said() {
    let server = Server::start(&[]);
    let (manager, _) = with_policy(&server).await;
    let db = json!({"id": "db", "name": "DB", "namespace": "default"});
    manager.post("/api/fleet/agent_policies", &db).await;
    let mut body = lines("moved", &["/a"]);
    body["id"] = "moved".into();
    manager.post(INTEGRATIONS, &body).await;
    let path = format!("{INTEGRATIONS}/moved");
    for round in 0..10 {
        let to = if round % 2 == 0 { "db" } else { "web" };
        let moves = json!({"policy_ids": [to]});
        let describes = json!({"description": format!("round {round}")});
        tokio::join!(manager.ask("PUT", &path, Some(&moves)), manager.ask("PUT", &path, Some(&describes)),);
        let says = manager.get(&path).await["item"]["policy_ids"].take();
        for policy in ["web", "db"] {
            let full = manager.get(&format!("/api/fleet/agent_policies/{policy}/full")).await;
            let inputs = full["item"]["inputs"].as_array().map_or(0, Vec::len);
            let expected = usize::from(says == json!([policy]));
            assert_eq!(inputs, expected, "round {round}: {says}, and {policy} has {inputs}");
        }
    }
}

#[tokio::test]
async fn secrets_of_others_are_not_to_be_had_by_naming_them() {
    let server = Server::start(&[]);
    let (manager, key) = with_policy(&server).await;
    let output = json!({
        "id": "vault", "name": "vault", "type": "logstash", "hosts": ["logs:5044"],
        "secrets": {"ssl": {"key": "TOP-SECRET-KEY"}},
    });
    let made = manager.post("/api/fleet/outputs", &output).await["item"].take();
    let id = made.pointer("/secrets/ssl/key/id").and_then(Value::as_str).expect("an id").to_owned();
    let inline = format!("$co.elastic.secret{{{id}}}");
    let overrides = json!({"agent": {"stolen": inline, "secrets": {"too": {"id": id}}},
        "secret_references": [{"id": id}]});
    let body = json!({"name": "Web", "namespace": "prod", "overrides": overrides});
    let (status, answer) = manager.ask("PUT", "/api/fleet/agent_policies/web", Some(&body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    manager.post(INTEGRATIONS, &lines("thief", &[&format!("/x/{inline}")])).await;

    let way = Way::to(&server);
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    let answer = agent.checkin(&way).await;
    let sent = answer.body["actions"][0]["data"]["policy"].to_string();
    assert!(sent.contains("stolen") && !sent.contains("TOP-SECRET-KEY"), "{sent}");
    // Where the output is used, its agents need it.
    manager.ask("PUT", "/api/fleet/agent_policies/web", Some(&json!({"data_output_id": "vault"}))).await;
    agent.running = Some(("web".to_owned(), 3));
    let answer = agent.checkin(&way).await;
    let sent = &answer.body["actions"][0]["data"]["policy"]["outputs"]["vault"];
    assert_eq!(sent["ssl"]["key"], "TOP-SECRET-KEY", "{sent}");
}
