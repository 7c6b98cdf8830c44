//! What an agent is asked to do.

use serde_json::json;

use crate::agent::Agent;
use crate::server::Server;

#[tokio::test]
async fn actions_are_done_and_acknowledged() {
    let server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    server.await_agent(&id, "online", |agent| agent["status"] == "online").await;

    let set = server.action(&id, "SETTINGS", json!({"log_level": "debug"})).await;
    assert_eq!(server.await_action(&set).await["status"], "COMPLETE");
    server
        .await_agent(&id, "logging more", |agent| {
            agent["local_metadata"]["elastic"]["agent"]["log_level"] == "debug"
        })
        .await;
    let wrong = server.action(&id, "SETTINGS", json!({"log_level": "loud"})).await;
    let failed = server.await_action(&wrong).await;
    assert_eq!(failed["status"], "FAILED", "{failed}");

    let asked = server.post(&format!("/api/fleet/agents/{id}/request_diagnostics"), json!({})).await;
    let asked = asked["actionId"].as_str().unwrap().to_owned();
    assert_eq!(server.await_action(&asked).await["status"], "COMPLETE");
    let uploads = server.get(&format!("/api/fleet/agents/{id}/uploads")).await;
    assert_eq!(uploads["items"][0]["status"], "READY", "{uploads}");
    let often = server.post(&format!("/api/fleet/agents/{id}/request_diagnostics"), json!({})).await;
    assert_eq!(server.await_action(often["actionId"].as_str().unwrap()).await["status"], "FAILED");

    let pid = agent.pid();
    agent.well(&["restart"]);
    let restarted = agent.await_status("back", |status| status["fleet_state"] == "HEALTHY").await;
    assert_eq!(
        (restarted["pid"].as_u64(), restarted["id"].as_str()),
        (Some(u64::from(pid)), Some(id.as_str()))
    );

    server.post(&format!("/api/fleet/agents/{id}/unenroll"), json!({})).await;
    server.await_agent(&id, "gone", |agent| agent["status"] == "unenrolled").await;
    agent
        .await_status("without a fleet", |status| status["message"].to_string().contains("left its fleet"))
        .await;
    assert!(!agent.state_file("identity").exists() && !agent.state_file("policy").exists());
}

#[tokio::test]
async fn what_an_agent_cannot_do_it_says() {
    let server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    server.await_agent(&id, "online", |agent| agent["status"] == "online").await;
    let action = server.action(&id, "UPGRADE", json!({"version": "99.0.0"})).await;
    let failed = server.await_action(&action).await;
    assert!(failed.to_string().contains("fleet-agent install"), "{failed}");
    let status = agent.await_status("not upgraded", |status| !status["upgrade_details"].is_null()).await;
    assert_eq!(status["upgrade_details"]["state"], "UPG_FAILED");
}

#[tokio::test]
async fn an_agent_goes_over_to_another_server() {
    let (old, new) = (Server::start(), Server::start());
    let (_, key) = old.policy("one", json!({})).await;
    let (policy, token) = new.policy("two", json!({})).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&old, &key, &["--tag", "moved"]);
    agent.run();
    old.await_agent(&id, "online", |agent| agent["status"] == "online" && agent["policy_revision"] == 1)
        .await;
    let settings = json!({"certificate_authorities": [new.ca()]});
    // One that says nothing keeps the agent from nothing, not even from going elsewhere.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("https://{}", deaf.local_addr().unwrap());
    let body = json!({"uri": uri, "enrollment_token": token, "settings": settings});
    old.post(&format!("/api/fleet/agents/{id}/migrate"), body).await;
    let asked = deaf.accept().await.unwrap();
    agent.await_status("still here", |status| status["id"] == *id).await;
    let level = old.action(&id, "SETTINGS", json!({"log_level": "debug"})).await;
    old.await_action(&level).await;
    let body = json!({"uri": new.url(), "enrollment_token": token, "settings": settings});
    old.post(&format!("/api/fleet/agents/{id}/migrate"), body).await;
    let status = agent.await_status("somebody else", |status| status["policy_id"] == *policy).await;
    let own = status["id"].as_str().unwrap().to_owned();
    assert_ne!(own, id);
    let seen = new.await_agent(&own, "online", |agent| agent["status"] == "online").await;
    assert_eq!(seen["tags"], json!(["moved"]));
    old.await_agent(&id, "gone", |agent| agent["status"] == "unenrolled").await;
    drop((deaf, asked));
}
