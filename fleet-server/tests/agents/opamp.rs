//! Collectors, which speak OpAMP.

mod collector;
mod go;
mod http;
mod refusals;
mod socket;

use serde_json::{Value, json};

use crate::manager::Manager;

/// Saves a revision of a policy whose collectors have this receiver.
async fn save_receiver(manager: &Manager, policy: &str, receiver: &str) -> u64 {
    let overrides = json!({
        "receivers": {receiver: {}},
        "exporters": {"debug": {}},
        "service": {"pipelines": {"logs": {"receivers": [receiver], "exporters": ["debug"]}}},
    });
    let body = json!({"name": policy, "namespace": "default", "overrides": overrides});
    let (status, saved) =
        manager.ask("PUT", &format!("/api/fleet/agent_policies/{policy}"), Some(&body)).await;
    assert!(status.is_success(), "{saved}");
    saved["item"]["revision"].as_u64().unwrap()
}

/// How an action stands, as it is listed.
async fn action_status(manager: &Manager, id: &str) -> String {
    let listed: Value = manager.get("/api/fleet/agents/action_status").await;
    let items = listed["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["actionId"] == *id).unwrap();
    item["status"].as_str().unwrap().to_owned()
}
