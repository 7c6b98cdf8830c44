//! Uninstall tokens, and the settings of everything.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::manager::Manager;
use crate::server::Server;

const TOKENS: &str = "/api/fleet/uninstall_tokens";
const SETTINGS: &str = "/api/fleet/settings";

async fn make_policy(manager: &Manager, id: &str, name: &str) {
    let body = json!({"id": id, "name": name, "namespace": "default", "is_protected": true});
    manager.post("/api/fleet/agent_policies", &body).await;
}

#[tokio::test]
async fn a_policy_has_a_token_that_its_agents_can_check() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    make_policy(&manager, "web", "Web servers").await;
    make_policy(&manager, "db", "Databases").await;
    let listed = manager.get(&format!("{TOKENS}?policyId=we")).await;
    assert_eq!(listed["total"], 1, "{listed}");
    let item = &listed["items"][0];
    assert_eq!((&item["policy_id"], &item["policy_name"]), (&json!("web"), &json!("Web servers")));
    assert_eq!(item.get("token"), None, "a list shows no token");
    let shown = manager.get(&format!("{TOKENS}/{}", item["id"].as_str().unwrap())).await["item"].take();
    let token = shown["token"].as_str().unwrap();
    assert_eq!(token.len(), 32);
    let policy = manager.get("/api/fleet/agent_policies/web/full").await;
    let protection = &policy["item"]["agent"]["protection"];
    assert_eq!(protection["uninstall_token_hash"], STANDARD.encode(digest(&SHA256, token.as_bytes())));
    assert_eq!(protection["enabled"], true);

    let ids = async |query: &str| {
        let listed = manager.get(&format!("{TOKENS}?{query}")).await;
        let items = listed["items"].as_array().unwrap().iter();
        items.map(|item| item["policy_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("search=datab").await, ["db"]);
    assert_eq!(ids(&format!("search={}", &token[8..24])).await, ["web"]);
    assert_eq!(ids("perPage=1&page=2").await.len(), 1);
    assert_eq!(ids("search=nothing+like+it").await, [""; 0]);

    // Another revision has the same token; a policy that is gone has none.
    manager.save_policy("web", "x").await;
    let again = manager.get("/api/fleet/agent_policies/web/full").await;
    assert_eq!(again["item"]["agent"]["protection"], *protection);
    manager.post("/api/fleet/agent_policies/delete", &json!({"agentPolicyId": "web"})).await;
    assert_eq!(ids("policyId=web").await, [""; 0]);
    let gone = manager.ask("GET", &format!("{TOKENS}/{}", item["id"].as_str().unwrap()), None).await;
    assert_eq!(gone.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tokens_are_read_again_after_a_restart() {
    let server = Server::start(&[]);
    let before = Manager::of(&server).get(TOKENS).await;
    let id = before["items"][0]["id"].as_str().unwrap().to_owned();
    let token = Manager::of(&server).get(&format!("{TOKENS}/{id}")).await;
    let server = server.restart();
    assert_eq!(Manager::of(&server).get(&format!("{TOKENS}/{id}")).await, token);
}

#[tokio::test]
async fn settings_are_shown_and_changed() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let before = manager.get(SETTINGS).await["item"].take();
    assert_eq!(before["id"], "fleet-default-settings");
    assert_eq!(before["prerelease_integrations_enabled"], false);
    assert_eq!(before["secret_storage_requirements_met"], true);
    let change = json!({"prerelease_integrations_enabled": true,
        "delete_unenrolled_agents": {"enabled": true, "is_preconfigured": false}});
    let (status, changed) = manager.ask("PUT", SETTINGS, Some(&change)).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let mut expected = before.clone();
    for (key, value) in change.as_object().unwrap() {
        expected[key] = value.clone();
    }
    assert_eq!(changed["item"], expected);
    // What is read can be sent.
    let (status, same) = manager.ask("PUT", SETTINGS, Some(&changed["item"])).await;
    assert_eq!((status, &same["item"]), (StatusCode::OK, &expected));
    assert_eq!(manager.get(SETTINGS).await["item"], expected);
    for (field, value) in [
        ("prerelease_integrations_enabled", json!("yes")),
        ("delete_unenrolled_agents", json!({"enable": true})),
        ("delete_unenrolled_agents", json!(true)),
        ("colour", json!("red")),
    ] {
        let (status, answer) = manager.ask("PUT", SETTINGS, Some(&json!({field: value}))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{field}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("[request body.{field}")), "{message}");
    }
}

#[tokio::test]
async fn what_needs_a_search_engine_says_so() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let (status, answer) = manager.ask("POST", "/api/fleet/logstash_api_keys", Some(&Value::Null)).await;
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    assert!(answer["message"].as_str().unwrap().contains("no search engine is configured"), "{answer}");
}
