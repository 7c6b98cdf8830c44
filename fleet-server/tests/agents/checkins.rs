//! What a check-in is answered, and when.

use http::StatusCode;
use serde_json::json;

use crate::agent::{Agent, Way, request};
use crate::manager::Manager;
use crate::server::Server;

async fn ready(server: &Server) -> (Way, Manager, String, Agent) {
    let (way, manager) = (Way::to(server), Manager::of(server));
    let (policy, key) = manager.make_policy("web").await;
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    let first = agent.checkin(&way).await;
    agent.apply(&way, &first).await;
    (way, manager, policy, agent)
}

#[tokio::test]
async fn an_answer_carries_actions_and_a_policy_together() {
    let server = Server::start(&[]);
    let (way, manager, policy, mut agent) = ready(&server).await;
    let action = manager.action(&agent.id, "SETTINGS", json!({"log_level": "debug"})).await;
    manager.save_policy(&policy, "next").await;
    let answer = agent.checkin(&way).await;
    assert_eq!(answer.actions(), [action, format!("policy:{policy}:2")]);
}

#[tokio::test]
async fn an_agent_that_failed_to_apply_a_policy_is_shown_and_not_pressed() {
    let server = Server::start(&["inputs.0.server.timeouts.checkin_jitter=0s".to_owned()]);
    let (way, manager, policy, mut agent) = ready(&server).await;
    manager.save_policy(&policy, "bad").await;
    let answer = agent.checkin(&way).await;
    assert_eq!(agent.ack(&way, &answer.actions()[0], Some("cannot apply")).await.status, StatusCode::OK);
    let shown = manager.agent(&agent.id).await;
    assert_eq!(shown["policy_failure"]["error"], "cannot apply");
    assert_eq!(shown["policy_revision"], 1);
    // The next revision comes at once, though the last one failed.
    manager.save_policy(&policy, "good").await;
    let answer = agent.checkin(&way).await;
    assert_eq!(answer.actions(), [format!("policy:{policy}:3")]);
    agent.apply(&way, &answer).await;
    assert!(manager.agent(&agent.id).await.get("policy_failure").is_none());
}

#[tokio::test]
async fn an_agent_that_says_a_newer_revision_than_there_is_gets_the_newest() {
    let server = Server::start(&[]);
    let (way, _, policy, mut agent) = ready(&server).await;
    agent.running = Some((policy.clone(), 99));
    assert_eq!(agent.checkin(&way).await.actions(), [format!("policy:{policy}:1")]);
}

#[tokio::test]
async fn an_agent_gets_the_policy_that_it_is_given() {
    let server = Server::start(&[]);
    let (way, manager, _, mut agent) = ready(&server).await;
    let (other, _) = manager.make_policy("other").await;
    let path = format!("/api/fleet/agents/{}/reassign", agent.id);
    manager.post(&path, &json!({"policy_id": other})).await;
    let answer = agent.checkin(&way).await;
    let kinds: Vec<&str> = answer.body["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| action["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["POLICY_REASSIGN", "POLICY_CHANGE"]);
    agent.apply(&way, &answer).await;
    assert_eq!(agent.running, Some((other, 1)));
}

#[tokio::test]
async fn what_is_not_of_its_form_is_set_aside_and_the_agent_goes_on() {
    let server = Server::start(&[]);
    let (way, manager, policy, agent) = ready(&server).await;
    manager.save_policy(&policy, "next").await;
    let mut body = agent.checkin_body();
    body["local_metadata"] = json!(["no", "object"]);
    body["components"] = json!("none");
    body["upgrade_details"] = json!({"state": 7});
    body["something_new"] = json!({"of": "the future"});
    let answer = way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
    assert_eq!((answer.status, answer.actions().len()), (StatusCode::OK, 1), "{:?}", answer.body);
    let shown = manager.agent(&agent.id).await;
    assert_eq!(shown["rejected"]["local_metadata"], "it is not an object");
    assert_eq!(shown["rejected"]["components"], "it is not an array");
}

#[tokio::test]
async fn an_upgrade_is_told_of_from_its_request_to_its_end() {
    let server = Server::start(&[]);
    let (way, manager, policy, mut agent) = ready(&server).await;
    manager
        .post(&format!("/api/fleet/agents/{}/upgrade", agent.id), &json!({"version": "9.7.0", "force": true}))
        .await;
    let answer = agent.checkin(&way).await;
    let upgrade = &answer.body["actions"][0];
    assert_eq!(
        (upgrade["type"].as_str(), upgrade["data"]["version"].as_str()),
        (Some("UPGRADE"), Some("9.7.0"))
    );
    assert!(upgrade["signed"]["signature"].is_string());
    manager.await_agent(&agent.id, "updating", |agent| agent["status"] == "updating").await;
    let mut body = agent.checkin_body();
    body["upgrade_details"] = json!({
        "target_version": "9.7.0",
        "action_id": upgrade["id"],
        "state": "UPG_DOWNLOADING",
        "metadata": {"download_percent": 0.5},
    });
    // Something to be answered with at once.
    manager.save_policy(&policy, "meanwhile").await;
    way.send(request("POST", &agent.path("checkin"), &agent.key, &body)).await;
    let shown = manager.agent(&agent.id).await;
    assert_eq!(shown["upgrade_details"]["state"], "UPG_DOWNLOADING");
    assert_eq!(shown["status"], "updating");
    agent.checkin(&way).await;
    let shown = manager.agent(&agent.id).await;
    assert!(shown.get("upgrade_details").is_none());
    assert_eq!(shown["status"], "online");
}

#[tokio::test]
async fn an_agent_that_leaves_is_let_go() {
    let server = Server::start(&[]);
    let (way, manager, _, mut agent) = ready(&server).await;
    manager.post(&format!("/api/fleet/agents/{}/unenroll", agent.id), &json!({})).await;
    let answer = agent.checkin(&way).await;
    assert_eq!(answer.body["actions"][0]["type"], "UNENROLL");
    assert_eq!(agent.ack(&way, &answer.actions()[0], None).await.status, StatusCode::OK);
    assert_eq!(manager.agent(&agent.id).await["status"], "unenrolled");
    let refused = agent.checkin(&way).await;
    assert_eq!(
        (refused.status, refused.body["error"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("ErrAgentInactive"))
    );
}

#[tokio::test]
async fn a_server_that_stops_answers_those_who_wait_and_those_who_come() {
    let mut server = Server::start(&["inputs.0.server.timeouts.drain=3s".to_owned()]);
    let (way, manager, _, agent) = ready(&server).await;
    let waiting = tokio::spawn({
        let (mut agent, way) = (agent.clone(), way.clone());
        async move { agent.checkin(&way).await }
    });
    manager.await_agent(&agent.id, "held", |agent| agent["last_checkin_message"] == "Running").await;
    assert_eq!(manager.ask("GET", "/readyz", None).await.0, StatusCode::OK);
    server.terminate();
    server.await_log("stopping");
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["connection"], "close");
    assert!(answer.actions().is_empty());
    assert_eq!(manager.ask("GET", "/livez", None).await.0, StatusCode::OK);
    assert_eq!(manager.ask("GET", "/readyz", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let late = way.send(request("GET", "/api/status", &agent.key, &json!(null))).await;
    assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
    let acked = agent.ack(&way, "policy:web:1", None).await;
    assert_eq!(acked.status, StatusCode::OK);
    assert!(server.wait());
}
