//! Becoming an agent, and staying the same one.

use std::fs;

use serde_json::json;

use crate::agent::Agent;
use crate::server::Server;

#[tokio::test]
async fn an_agent_stays_the_same_over_restarts_and_a_torn_state() {
    let server = Server::start();
    let (policy, key) = server.policy("one", json!({})).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &["--tag", "a,b"]);
    agent.run();
    let seen = server.await_agent(&id, "online with its policy", |agent| {
        agent["status"] == "online" && agent["policy_revision"] == 1
    });
    let seen = seen.await;
    assert_eq!(seen["tags"], json!(["a", "b"]));
    assert_eq!(seen["policy_id"], json!(policy));

    let again = agent.verb(&["enroll", "--url", &server.url(), "-t", &key]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"), "{again:?}");

    agent.stop();
    // What can be had again is set aside when it is torn; the agent is still the same.
    let progress = agent.state_file("policy");
    let bytes = fs::read(&progress).unwrap();
    fs::write(&progress, &bytes[..bytes.len() / 2]).unwrap();
    agent.run();
    let status = agent.await_status("healthy again", |status| {
        status["id"] == *id && status["policy_revision"] == 1 && status["fleet_state"] == "HEALTHY"
    });
    let notes = status.await["notes"].to_string();
    assert!(notes.contains("cannot be used"), "{notes}");

    // Without its identity it waits for another enrolment, and does not end.
    agent.kill();
    fs::write(agent.state_file("identity"), b"not ours").unwrap();
    agent.run();
    agent.await_status("waiting", |status| status["message"].to_string().contains("not enrolled")).await;
    let id = agent.enroll(&server, &key, &[]);
    agent.await_status("enrolled anew", |status| status["id"] == *id && status["state"] == "HEALTHY").await;
}

#[tokio::test]
async fn a_machine_that_is_set_up_anew_is_the_same_agent() {
    let server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let own = ["--id", "web-1", "--replace-token", "a token of ours"];
    let first = Agent::new();
    assert_eq!(first.enroll(&server, &key, &own), "web-1");
    let mut second = Agent::new();
    assert_eq!(second.enroll(&server, &key, &own), "web-1");
    second.run();
    server.await_agent("web-1", "online", |agent| agent["status"] == "online").await;

    let stranger = Agent::new();
    let ca = server.ca();
    let ca = ca.to_str().unwrap();
    let refused = stranger.verb(&["enroll", "--url", &server.url(), "-t", &key, "-a", ca, "--id", "web-1"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--replace-token"), "{refused:?}");
}

#[tokio::test]
async fn what_is_wrong_with_an_enrolment_is_said() {
    let server = Server::start();
    let agent = Agent::new();
    let (url, ca) = (server.url(), server.ca());
    let ca = ca.to_str().unwrap();
    for (arguments, said) in [
        (vec!["enroll", "-t", "x"], "--url"),
        (vec!["enroll", "--url", &url], "--enrollment-token"),
        (vec!["enroll", "--url", "ftp://x", "-t", "x"], "is not the URL of a server"),
        (vec!["enroll", "--url", &url, "-t", "eDp5", "-a", ca], "enrollment token is refused"),
        (vec!["enroll", "--url", &url, "-t", "x", "-a", "/no/such/file"], "/no/such/file cannot be read"),
        (vec!["enroll", "--url", &url, "-t", "x", "--enroll-timeout", "1s"], "certificate"),
        (vec!["status"], "not running"),
    ] {
        let output = agent.verb(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn an_agent_can_trust_by_fingerprint_and_enrol_later() {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let ca = CertificateDer::from_pem_file(server.ca()).unwrap();
    let hash = ring::digest::digest(&ring::digest::SHA256, &ca);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut agent = Agent::new();
    agent.well(&[
        "enroll",
        "--url",
        &server.url(),
        "-t",
        &key,
        "--ca-trusted-fingerprint",
        &hash,
        "--delay-enroll",
    ]);
    agent.run();
    let status = agent.await_status("enrolled", |status| status["fleet_state"] == "HEALTHY").await;
    server.await_agent(status["id"].as_str().unwrap(), "online", |agent| agent["status"] == "online").await;
    let wrong = "00".repeat(32);
    let other = Agent::new();
    let refused = other.verb(&[
        "enroll",
        "--url",
        &server.url(),
        "-t",
        &key,
        "--ca-trusted-fingerprint",
        &wrong,
        "--enroll-timeout",
        "1s",
    ]);
    assert!(!refused.status.success());
}
