//! What is large: it works, or is refused with a cause before any of it is kept.

use http::StatusCode;
use serde_json::{Value, json};

use crate::agent::{Agent, Way};
use crate::manager::Manager;
use crate::server::Server;

const INTEGRATIONS: &str = "/api/fleet/package_policies";
const WEB: &str = "/api/fleet/agent_policies/web";

async fn with_policy(server: &Server) -> (Manager, String) {
    let manager = Manager::of(server);
    let body = json!({"id": "web", "name": "Web", "namespace": "prod"});
    manager.post("/api/fleet/agent_policies", &body).await;
    let keys = manager.get("/api/fleet/enrollment_api_keys?kuery=policy_id:web").await;
    (manager, keys["items"][0]["api_key"].as_str().expect("a key").to_owned())
}

/// An integration whose agents get about so many bytes.
fn integration(id: &str, bytes: usize) -> Value {
    let paths: Vec<String> =
        (0..bytes / 64).map(|number| format!("/var/log/{id}/{number:048}.log")).collect();
    json!({
        "id": id,
        "name": id,
        "policy_ids": ["web"],
        "package": {"name": "filestream", "version": "1.0.0"},
        "inputs": {"filestream-filestream": {"streams": {"filestream.filestream": {
            "vars": {"paths": paths, "data_stream.dataset": "shop"},
        }}}},
    })
}

/// The policy with this revision, as the agent gets it. It may get one before that: whoever hands policies out is told
/// of a save a moment after whoever saved.
async fn policy_at(agent: &mut Agent, way: &Way, wanted: u64) -> Value {
    loop {
        let answer = agent.checkin(way).await;
        let policy = answer.body["actions"][0]["data"]["policy"].clone();
        let revision = policy["revision"].as_u64().unwrap_or_default();
        assert!((1..=wanted).contains(&revision), "{wanted} is wanted: {}", answer.body);
        agent.running = Some(("web".to_owned(), revision));
        if revision == wanted {
            return policy;
        }
    }
}

#[tokio::test]
async fn a_policy_may_be_larger_than_a_document_of_the_store() {
    let server = Server::start(&[]);
    let (manager, key) = with_policy(&server).await;
    for number in 0..8 {
        manager.post(INTEGRATIONS, &integration(&format!("i{number}"), 200_000)).await;
    }
    let full = manager.get(&format!("{WEB}/full")).await["item"].take();
    assert!(full.to_string().len() > 3 << 19, "{} bytes", full.to_string().len());
    assert_eq!(full["inputs"].as_array().map(Vec::len), Some(8));
    let way = Way::to(&server);
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    assert_eq!(policy_at(&mut agent, &way, 9).await["inputs"], full["inputs"]);

    // It becomes small again.
    let ids: Vec<String> = (1..8).map(|number| format!("i{number}")).collect();
    manager.post(&format!("{INTEGRATIONS}/delete"), &json!({"packagePolicyIds": ids})).await;
    let small = policy_at(&mut agent, &way, 16).await;
    assert_eq!(small["inputs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_any_of_it_is_kept() {
    let server = Server::start(&[]);
    let (manager, _) = with_policy(&server).await;
    let (status, refused) = manager.ask("POST", INTEGRATIONS, Some(&integration("vast", 600_000))).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert_eq!(status, StatusCode::BAD_REQUEST, "{message}");
    assert!(message.contains("[request body.inputs]") && message.contains("distribute"), "{message}");
    let (status, _) = manager.ask("GET", &format!("{INTEGRATIONS}/vast"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let overrides = json!({"agent": {"notes": "x".repeat(600_000)}});
    let body = json!({"name": "Web", "namespace": "prod", "overrides": overrides});
    let (status, refused) = manager.ask("PUT", WEB, Some(&body)).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert_eq!(status, StatusCode::BAD_REQUEST, "{message}");
    assert!(message.contains("[request body.overrides]") && message.contains("512 KiB"), "{message}");
    let policy = manager.get(WEB).await["item"].take();
    assert_eq!((&policy["revision"], &policy["overrides"]), (&json!(1), &Value::Null));
}
