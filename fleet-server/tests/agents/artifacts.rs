//! Artifacts that policies name.

use std::io::Read;

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::agent::{Agent, Way, raw};
use crate::files::{content, sha256};
use crate::manager::Manager;
use crate::refusals::{WRONG, case, check, without};
use crate::server::Server;
use crate::stores::Store;

async fn make(manager: &Manager, identifier: &str, decoded: &Bytes) -> Value {
    let path = format!("/api/fleet/artifacts/{identifier}?type=trustlist");
    let answer = manager.fetch("POST", &path, decoded.clone()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.body());
    serde_json::from_slice::<Value>(answer.body()).unwrap()["item"].take()
}

/// Lets a policy name these artifacts, and no others.
async fn name(manager: &Manager, policy: &str, artifacts: &[&Value]) {
    let manifest: serde_json::Map<String, Value> = artifacts
        .iter()
        .map(|artifact| (artifact["identifier"].as_str().unwrap().to_owned(), (*artifact).clone()))
        .collect();
    let inputs =
        json!([{"id": "endpoint", "type": "endpoint", "artifact_manifest": {"artifacts": manifest}}]);
    let body = json!({"name": policy, "namespace": "default", "overrides": {"inputs": inputs}});
    let (status, saved) =
        manager.ask("PUT", &format!("/api/fleet/agent_policies/{policy}"), Some(&body)).await;
    assert_eq!(status, StatusCode::OK, "{saved}");
}

fn get(path: &str, key: &str) -> Request<Full<Bytes>> {
    raw("GET", path, key, Bytes::new())
}

#[tokio::test]
async fn agents_fetch_what_their_policy_names() {
    for store in Store::both() {
        let server = store.start_server();
        let (way, manager) = (Way::to(&server), Manager::of(&server));
        let (policy, key) = manager.make_policy("web").await;
        let mut agent = Agent::enrol(&way, &key, "web-1").await;
        // One that fits into a document, and one that does not.
        for decoded in [Bytes::from_static(b"{\"entries\":[]}"), content(3_000_000)] {
            let artifact = make(&manager, "endpoint-trustlist-linux-v1", &decoded).await;
            assert_eq!(artifact["decoded_sha256"], sha256(&decoded));
            name(&manager, &policy, &[&artifact]).await;
            // The policy is out once the agent is handed it.
            let answer = agent.checkin(&way).await;
            agent.apply(&way, &answer).await;
            let path = artifact["relative_url"].as_str().unwrap();
            for _ in 0..2 {
                let fetched = way.fetch(get(path, &agent.key)).await;
                assert_eq!(fetched.status(), StatusCode::OK, "{:?}", fetched.body());
                assert_eq!(artifact["encoded_sha256"], sha256(fetched.body()));
                let mut unpacked = Vec::new();
                ZlibDecoder::new(&**fetched.body()).read_to_end(&mut unpacked).unwrap();
                assert!(unpacked == decoded);
            }
        }
    }
}

#[tokio::test]
async fn other_artifacts_are_refused() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (policy, key) = manager.make_policy("web").await;
    let (_, other_key) = manager.make_policy("db").await;
    let named = make(&manager, "list-v1", &Bytes::from_static(b"named")).await;
    let removed = make(&manager, "removed-v1", &Bytes::from_static(b"removed")).await;
    let unnamed = make(&manager, "list-v1", &Bytes::from_static(b"unnamed")).await;
    name(&manager, &policy, &[&named, &removed]).await;
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    agent.checkin(&way).await;
    let other = Agent::enrol(&way, &other_key, "db-1").await;
    let path = |artifact: &Value| artifact["relative_url"].as_str().unwrap().to_owned();
    let deleted = manager.ask("DELETE", &path(&removed), None).await;
    assert_eq!(deleted.0, StatusCode::OK, "{}", deleted.1);
    assert_eq!(manager.ask("DELETE", &path(&removed), None).await.0, StatusCode::NOT_FOUND);
    let malformed = "/api/fleet/artifacts/list-v1/abc";
    check(
        &way,
        vec![
            case("no key", without(get(&path(&named), &agent.key), "authorization"), 401, "ErrNoAuthHeader"),
            case("wrong key", get(&path(&named), WRONG), 401, "ErrUnauthorized"),
            case("another policy", get(&path(&named), &other.key), 403, "Forbidden"),
            case("not named", get(&path(&unnamed), &agent.key), 403, "Forbidden"),
            case("removed", get(&path(&removed), &agent.key), 404, "NotFound"),
            case("no hash", get(malformed, &agent.key), 400, "BadRequest"),
            case("wrong method", raw("POST", &path(&named), &agent.key, ""), 405, "MethodNotAllowed"),
        ],
    )
    .await;
    assert_eq!(way.fetch(get(&path(&named), &agent.key)).await.status(), StatusCode::OK);
    let refused = manager.ask("POST", "/api/fleet/artifacts/a%20b", Some(&json!({}))).await;
    assert_eq!(refused.0, StatusCode::BAD_REQUEST, "{}", refused.1);
}
