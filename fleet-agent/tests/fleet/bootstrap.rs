//! An agent that runs the server itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::server::{COME_TRUE_MAX, Server, free_port, program};

/// A server that was killed is back after this time.
const BACK_MAX: Duration = Duration::from_secs(2);
const POLICY: &str = "servers";

/// An agent with the server among its components, and the server that it is going to run.
fn prepared() -> (Agent, Server) {
    let (server, arguments) = Server::elsewhere();
    let agent = Agent::new();
    let components = agent.home().join("components");
    fs::create_dir(&components).unwrap();
    symlink(program(), components.join("fleet-server")).unwrap();
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/components/fleet-server.spec.yml");
    let spec = fs::read_to_string(spec).unwrap();
    let lines: String =
        arguments.iter().map(|argument| format!("        - \"-E\"\n        - {argument:?}\n")).collect();
    assert!(spec.contains("args:\n"));
    fs::write(components.join("fleet-server.spec.yml"), spec.replace("args:\n", &format!("args:\n{lines}")))
        .unwrap();
    (agent, server)
}

/// The flags that people know, and the ports of this test.
fn flags(server: &Server) -> Vec<String> {
    vec![
        "--fleet-server-es=http://localhost:9200".to_owned(),
        "--fleet-server-service-token=a-service-token".to_owned(),
        format!("--fleet-server-policy={POLICY}"),
        "--fleet-server-host=127.0.0.1".to_owned(),
        format!("--fleet-server-port={}", server.agents),
        format!("--fleet-server-internal-port={}", free_port()),
    ]
}

fn id_of(said: &str) -> String {
    let id = said.lines().find_map(|line| line.strip_prefix("Successfully enrolled the agent: "));
    id.unwrap_or_else(|| panic!("no id: {said}")).to_owned()
}

/// The server's process.
fn component(agent: &Agent) -> Option<u32> {
    agent.child("fleet-server")
}

async fn well(agent: &Agent) -> Value {
    agent
        .await_status("well on its policy", |status| {
            status["state"] == "HEALTHY"
                && status["fleet_state"] == "HEALTHY"
                && status["policy_id"] == POLICY
        })
        .await
}

/// Kills the server, and tells how long it takes until another one serves agents.
async fn kill(agent: &Agent, server: &Server) -> Duration {
    let pid = component(agent).unwrap();
    let began = Instant::now();
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    loop {
        let is_another = component(agent).is_some_and(|now| now != pid);
        if is_another && tokio::net::TcpStream::connect(("127.0.0.1", server.agents)).await.is_ok() {
            return began.elapsed();
        }
        assert!(began.elapsed() < COME_TRUE_MAX, "the server is not back: {}", agent.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_agent_brings_up_its_server_and_others_enroll_there() {
    let (mut first, server) = prepared();
    first.run();
    first.await_status("not enrolled", |status| status["message"].to_string().contains("not enrolled")).await;
    let flags = flags(&server);
    let mut arguments = vec!["enroll"];
    arguments.extend(flags.iter().map(String::as_str));
    let id = id_of(&first.well(&arguments));
    let status = well(&first).await;
    assert_eq!(status["id"], id.as_str());
    let units =
        &status["components"].as_array().unwrap().iter().find(|one| one["id"] == "fleet-server-default");
    assert_eq!(units.unwrap()["units"].as_array().unwrap().len(), 2, "{status:#}");
    let shown = first.well(&["inspect", "components"]) + &first.well(&["inspect"]);
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains("a-service-token"), "{shown}");

    // Another agent of the same server.
    fs::copy(first.home().join("fleet-server-ca.pem"), server.ca()).unwrap();
    let (policy, key) = server.policy("one", json!({})).await;
    let mut second = Agent::new();
    let other = second.enroll(&server, &key, &[]);
    second.run();
    server
        .await_agent(&other, "online", |agent| agent["status"] == "online" && agent["policy_revision"] == 1)
        .await;

    // The server is killed: it is back, and the check-in that was held goes on.
    let back = kill(&first, &server).await;
    assert!(back <= BACK_MAX, "{back:?}");
    let revision = server.save(&policy, json!({"agent": {"logging": {"level": "debug"}}})).await;
    server.await_agent(&other, "at the new revision", |agent| agent["policy_revision"] == revision).await;
    well(&first).await;

    // A new revision of the server's own policy reaches it, and leaves the server where it is.
    let pid = component(&first).unwrap();
    let revision = server.save(POLICY, json!({"agent": {"logging": {"level": "debug"}}})).await;
    first.await_status("at the new revision", |status| status["policy_revision"] == revision).await;
    well(&first).await;
    assert_eq!(component(&first), Some(pid));

    // The agent is stopped and comes again, and so does the server.
    first.stop();
    first.run();
    assert_eq!(well(&first).await["id"], id.as_str());
    let revision = server.save(&policy, json!({})).await;
    server.await_agent(&other, "at the last revision", |agent| agent["policy_revision"] == revision).await;
    first.stop();
}

/// The certificate that the agent gives its server now.
fn certificate(agent: &Agent) -> String {
    let shown = agent.well(&["inspect", "components"]);
    let from = shown.find("-----BEGIN CERTIFICATE").unwrap_or_else(|| panic!("no certificate: {shown}"));
    let text = &shown[from..];
    text[..text.find("-----END").unwrap()].to_owned()
}

async fn await_renewal(agent: &Agent, before: &str) -> String {
    let began = Instant::now();
    loop {
        let now = certificate(agent);
        if now != before {
            return now;
        }
        assert!(began.elapsed() < COME_TRUE_MAX, "the certificate is not renewed: {}", agent.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_is_over_and_nobody_notices() {
    const LIFETIME: Duration = Duration::from_secs(12);
    let (mut first, server) = prepared();
    let settings = format!("agent.fleet_server.certificate.lifetime: {}s\n", LIFETIME.as_secs());
    fs::write(first.home().join("fleet-agent.yml"), settings).unwrap();
    let flags = flags(&server);
    let arguments: Vec<&str> = ["enroll"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    first.well(&arguments);
    let of_a_year = {
        first.run();
        well(&first).await;
        certificate(&first)
    };
    fs::copy(first.home().join("fleet-server-ca.pem"), server.ca()).unwrap();
    let (policy, key) = server.policy("one", json!({})).await;
    let mut second = Agent::new();
    let other = second.enroll(&server, &key, &[]);
    second.run();
    server.await_agent(&other, "online", |agent| agent["status"] == "online").await;
    let pid = component(&first).unwrap();

    let short = await_renewal(&first, &of_a_year).await;
    let began = Instant::now();
    let mut newest = short.clone();
    while began.elapsed() <= LIFETIME {
        newest = await_renewal(&first, &newest).await;
    }
    // The first short one is over. Whoever comes now sees another, whoever was there has seen nothing.
    // (A server that starts writes down its own authority, too: there, where this test has the one to trust.)
    fs::copy(first.home().join("fleet-server-ca.pem"), server.ca()).unwrap();
    Agent::new().enroll(&server, &key, &[]);
    assert_eq!(component(&first), Some(pid));
    let revision = server.save(&policy, json!({"agent": {"logging": {"level": "debug"}}})).await;
    server.await_agent(&other, "at the new revision", |agent| agent["policy_revision"] == revision).await;
    assert!(!second.log().contains("check-in failed"), "{}", second.log());
    well(&first).await;

    // Started again, the agent goes on with the newest.
    first.stop();
    first.run();
    well(&first).await;
    assert_ne!(certificate(&first), short);
    first.stop();
}

#[tokio::test]
async fn an_agent_that_does_not_run_enrolls_with_its_server_and_keeps_it() {
    let (mut agent, server) = prepared();
    let port = format!("--fleet-server-port={}", server.agents);
    let internal = format!("--fleet-server-internal-port={}", free_port());
    let arguments = ["enroll", "--fleet-server-insecure-http", port.as_str(), internal.as_str()];
    let id = id_of(&agent.well(&arguments));
    let again = agent.verb(&arguments);
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"), "{again:?}");
    agent.run();
    let status = agent.await_status("well", |status| {
        status["state"] == "HEALTHY" && status["policy_id"] == "fleet-server-policy"
    });
    assert_eq!(status.await["id"], id.as_str());

    // Whatever its policy says of servers, it stays with its own.
    let revision =
        server.save("fleet-server-policy", json!({"fleet": {"hosts": ["https://127.0.0.1:1"]}})).await;
    agent
        .await_status("well at the new revision", |status| {
            status["policy_revision"] == revision
                && status["fleet_state"] == "HEALTHY"
                && status["state"] == "HEALTHY"
        })
        .await;
    let target = json!({"uri": "https://127.0.0.1:1", "enrollment_token": "x"});
    let (status, answer) = server.ask("POST", &format!("/api/fleet/agents/{id}/migrate"), &target).await;
    if status == 200 {
        let action = answer["actionId"].as_str().unwrap();
        assert_eq!(server.await_action(action).await["status"], "FAILED");
    }
    agent.stop();
}

#[tokio::test]
async fn a_container_brings_up_a_server() {
    let (mut agent, server) = prepared();
    // A container is a platform of its own.
    let spec = agent.home().join("components/fleet-server.spec.yml");
    let text = fs::read_to_string(&spec).unwrap();
    let is_elsewhere = |line: &&str| !line.trim().starts_with("- linux/");
    fs::write(&spec, text.lines().filter(is_elsewhere).map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    let port = server.agents.to_string();
    let internal = free_port().to_string();
    let environment = [
        ("FLEET_SERVER_ENABLE", "1"),
        ("FLEET_SERVER_ELASTICSEARCH_HOST", "http://localhost:9200"),
        ("FLEET_SERVER_POLICY_ID", POLICY),
        ("FLEET_SERVER_HOST", "127.0.0.1"),
        ("FLEET_SERVER_PORT", port.as_str()),
        ("FLEET_SERVER_INTERNAL_PORT", internal.as_str()),
    ];
    agent.run_as(&["container"], &environment);
    let id = well(&agent).await["id"].clone();
    agent.stop();
    agent.run_as(&["container"], &environment);
    assert_eq!(well(&agent).await["id"], id);
    agent.stop();
}

#[tokio::test]
async fn what_is_missing_for_a_server_is_said() {
    let agent = Agent::new();
    let said = agent.verb(&["enroll", "--fleet-server-enable"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("fleet-server.spec.yml"), "{said}");

    let server = Server::start();
    let inputs = json!([{"id": "f", "type": "fleet-server", "use_output": "default"}]);
    let (_, key) = server.policy("one", json!({"inputs": inputs})).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    let seen = server.await_agent(&id, "in error", |agent| agent["last_checkin_status"] == "error").await;
    assert!(seen["components"].to_string().contains("must be bootstrapped"), "{seen}");
}
