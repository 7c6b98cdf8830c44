//! Policies: taken whole, shown without secrets, refused with a reason.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::server::Server;

fn inputs(inputs: Value) -> Value {
    json!({"inputs": inputs, "outputs": {"default": {"type": "file", "path": "/tmp/x", "hosts": null, "api_key": "id:top-secret-key"}}})
}

#[tokio::test]
async fn a_revision_arrives_soon_and_what_is_broken_is_reported() {
    let server = Server::start();
    let (policy, key) = server.policy("one", json!({})).await;
    let (agent, id) = Agent::online(&server, &key).await;

    let broken = inputs(json!([
        {"id": "no-such", "type": "no-such-kind", "streams": [{"id": "s"}]},
        {"id": "bad", "type": "filestream", "condition": "1 +"},
        {"id": "missing", "type": "filestream", "paths": ["${env.NO_SUCH}"]},
        {"id": "elsewhere", "type": "winlog", "condition": "${host.platform} == 'windows'"},
    ]));
    let began = Instant::now();
    let revision = server.save(&policy, broken).await;
    let seen = server
        .await_agent(&id, "at the new revision and in error", |agent| {
            agent["policy_revision"] == revision && agent["last_checkin_status"] == "error"
        })
        .await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let units: Vec<&Value> = seen["components"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|one| one["units"].as_array().unwrap())
        .collect();
    let message = |end: &str| {
        let unit = units.iter().find(|unit| unit["id"].as_str().unwrap().ends_with(end));
        unit.unwrap_or_else(|| panic!("{end}: {units:?}"))["message"].as_str().unwrap().to_owned()
    };
    assert!(message("-no-such").contains("not supported"));
    assert!(message("-bad").starts_with("inputs.1.condition: "));
    assert!(message("-missing").contains("${env.NO_SUCH}"));
    assert!(units.iter().all(|unit| !unit["id"].as_str().unwrap().contains("elsewhere")));

    let shown = agent.well(&["inspect"])
        + &agent.well(&["inspect", "components"])
        + &agent.well(&["inspect", "components", "default"]);
    assert!(!shown.contains("top-secret-key") && shown.contains("REDACTED"), "{shown}");
    let tree = agent.verb(&["status"]);
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("no-such-kind-default: (FAILED)"), "{tree}");

    let revision = server.save(&policy, json!({})).await;
    server
        .await_agent(&id, "well again", |agent| {
            agent["policy_revision"] == revision && agent["status"] == "online"
        })
        .await;
}

#[tokio::test]
async fn a_protected_agent_follows_a_signing_key_that_is_changed() {
    const SERVICE: &str = "/api/fleet/message_signing_service";
    let server = Server::start();
    let (policy, key) = server.policy("one", json!({})).await;
    let (agent, id) = Agent::online(&server, &key).await;
    let body = json!({"name": "one", "namespace": "default", "is_protected": true});
    let path = format!("/api/fleet/agent_policies/{policy}");
    let (status, saved) = server.ask("PUT", &path, &body).await;
    assert_eq!(status, 200, "{saved}");
    let first = server.get(SERVICE).await["item"]["public_key"].clone();
    server.await_agent(&id, "protected", |agent| agent["policy_revision"] == 2).await;

    let rotate = format!("{SERVICE}/rotate_key_pair?acknowledge=true");
    let changed = server.post(&rotate, json!(null)).await;
    assert_eq!(changed["item"]["previous"]["public_key"], first, "{changed}");
    server
        .await_agent(&id, "at the policy with the new key", |agent| {
            agent["policy_revision"] == 3 && agent["status"] == "online"
        })
        .await;
    // Once it has the new key, nobody needs the one before.
    let began = Instant::now();
    let after = loop {
        let shown = server.get(SERVICE).await["item"].clone();
        if shown["previous"].is_null() {
            break shown;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{shown}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_ne!(after["public_key"], first);
    // What is signed with the new key alone is believed: a protected agent leaves for nothing else.
    server.post(&format!("/api/fleet/agents/{id}/unenroll"), json!({})).await;
    server.await_agent(&id, "unenrolled", |agent| agent["active"] == false).await;
    drop(agent);
}

#[tokio::test]
async fn a_policy_that_is_refused_leaves_the_one_before() {
    let server = Server::start();
    let (policy, key) = server.policy("one", json!({})).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    server
        .await_agent(&id, "online", |agent| agent["policy_revision"] == 1 && agent["status"] == "online")
        .await;

    // Nobody listens there: the agent stays with the server that it has.
    server.save(&policy, json!({"fleet": {"hosts": ["https://127.0.0.1:1"]}})).await;
    let status = agent.await_status("failed", |status| status["state"] == "FAILED").await;
    assert!(status["message"].as_str().unwrap().contains("https://127.0.0.1:1"), "{status}");
    assert_eq!(status["policy_revision"], 1);
    server.await_agent(&id, "in error", |agent| agent["last_checkin_status"] == "error").await;

    let revision = server.save(&policy, json!({})).await;
    agent
        .await_status("well", |status| status["state"] == "HEALTHY" && status["policy_revision"] == revision)
        .await;

    // A server that was away for a moment is found again by itself.
    let mut server = server;
    server.restart();
    let revision = server.save(&policy, json!({"agent": {"logging": {"level": "debug"}}})).await;
    server.await_agent(&id, "up to date", |agent| agent["policy_revision"] == revision).await;
}

#[tokio::test]
async fn very_many_inputs_that_cannot_run_are_each_reported() {
    let server = Server::start();
    let (policy, key) = server.policy("one", json!({})).await;
    let (agent, _) = Agent::online(&server, &key).await;
    let many: Vec<Value> = (0..300)
        .map(|number| json!({"id": format!("i{number}"), "type": "no-such", "text": "x".repeat(200), "path": "${local.a}"}))
        .collect();
    let revision = server.save(&policy, json!({"inputs": many})).await;
    let status = agent.await_status("failed", |status| {
        status["policy_revision"] == revision && status["state"] == "FAILED"
    });
    let units = status.await["components"][0]["units"].as_array().unwrap().len();
    assert!(units >= 300, "{units}");
    let pid = agent.pid();
    let revision = server.save(&policy, json!({"inputs": [], "agent": {"monitoring": "broken"}})).await;
    let well = agent
        .await_status("well", |status| status["policy_revision"] == revision && status["state"] == "HEALTHY")
        .await;
    assert_eq!(well["pid"].as_u64(), Some(u64::from(pid)));
}
