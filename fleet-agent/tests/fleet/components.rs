//! Components: processes that carry out inputs.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::server::{COME_TRUE_MAX, Server, build};

/// Puts the example and a hostile component into the agent's folder.
fn install(agent: &Agent) {
    let folder = agent.home().join("components");
    fs::create_dir(&folder).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/component");
    let spec = "example-component.spec.yml";
    let program = folder.join("example-component");
    fs::copy(build("fleet-example-component", "example-component"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(example.join(spec), folder.join(spec)).unwrap();
    // It never says a word of the protocol, writes much of what no log should hold, and ends again and again.
    let hostile = folder.join("hostile");
    let script = "#!/bin/sh\ncat > /dev/null\nhead -c 300000 /dev/urandom\n\
        echo '{\"log.level\": 7, \"message\": {\"a\": [1]}, \"unit\": {\"id\": 3}}'\n\
        head -c 3000000 /dev/zero | tr '\\0' 'x'\nyes '{\"message\":\"\\u001b[31m' | head -n 20000\nexit 3\n";
    fs::write(&hostile, script).unwrap();
    fs::set_permissions(&hostile, fs::Permissions::from_mode(0o755)).unwrap();
    let text = fs::read_to_string(example.join(spec)).unwrap().replace("greeting", "hostility");
    fs::write(folder.join("hostile.spec.yml"), text).unwrap();
}

fn policy(whom: &str) -> Value {
    json!({
        "outputs": {"default": {"type": "file", "path": "/tmp", "hosts": null, "preset": null}},
        "inputs": [
            {"id": "greet", "type": "greeting", "use_output": "default", "greet": whom},
            {"id": "hurt", "type": "hostility", "use_output": "default"},
        ],
    })
}

pub(crate) fn unit<'a>(agent: &'a Value, id: &str) -> Option<&'a Value> {
    let components = agent["components"].as_array()?.iter();
    components.flat_map(|one| one["units"].as_array().into_iter().flatten()).find(|unit| unit["id"] == id)
}

pub(crate) fn says(agent: &Value, id: &str, status: &str, message: &str) -> bool {
    unit(agent, id).is_some_and(|unit| {
        unit["status"] == status && unit["message"].as_str().unwrap_or_default().contains(message)
    })
}

/// The content of a file of diagnostics whose name ends so.
pub(crate) fn file(archive: &Path, end: &str) -> String {
    let mut archive = zip::ZipArchive::new(fs::File::open(archive).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let name = names.iter().find(|name| name.ends_with(end)).unwrap_or_else(|| panic!("no {end}: {names:?}"));
    let mut text = String::new();
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_component_does_what_a_policy_says_whatever_another_one_does() {
    let server = Server::start();
    let (id_of_policy, key) = server.policy("one", policy("world")).await;
    let mut agent = Agent::new();
    install(&agent);
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    let greets = |whom: &'static str| {
        move |agent: &Value| {
            says(agent, "greeting-default-greet", "HEALTHY", whom)
                && says(agent, "hostility-default-hurt", "FAILED", "exited with code '3'")
        }
    };
    server.await_agent(&id, "greeting", greets("Hello, world!")).await;
    server.save(&id_of_policy, policy("moon")).await;
    server.await_agent(&id, "greeting the moon", greets("Hello, moon!")).await;

    // Asked through the server, it answers through the server.
    let ask = async |whom: Value| {
        let action = json!({"action": {"type": "INPUT_ACTION", "input_type": "greeting", "timeout": 20, "data": whom}});
        let made = server.post(&format!("/api/fleet/agents/{id}/actions"), action).await;
        server.await_action(made["item"]["id"].as_str().unwrap()).await
    };
    let done = ask(json!({"whom": "you"})).await;
    assert_eq!(done["status"], "COMPLETE", "{done}");
    let failed = ask(json!({})).await;
    assert!(failed["status"] == "FAILED" && failed.to_string().contains("data.whom"), "{failed}");

    let archive = agent.home().join("diagnostics.zip");
    agent.well(&["diagnostics", "-f", archive.to_str().unwrap()]);
    assert_eq!(file(&archive, "greeting-default/manners.txt"), "very\n");
    // What it wrote is in the agent's log, with its name.
    let log = agent.log();
    assert!(
        log.lines().any(|line| line.contains("Hello, moon!") && line.contains("greeting-default")),
        "{log}"
    );
    assert!(log.contains("lines are left out"));
    assert!(log.lines().all(|line| line.len() < 100_000 && !line.contains('\u{1b}')));
    agent.stop();
}

#[tokio::test]
async fn what_is_scheduled_can_be_taken_back_and_an_agent_starts_again_when_it_is_told_to() {
    let server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let (mut agent, id) = Agent::online(&server, &key).await;

    let in_seconds = |seconds: i64| {
        let time = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        time.format(&time::format_description::well_known::Rfc3339).unwrap()
    };
    let begin = async |start: i64, level: &str| {
        let action = json!({"action": {
            "type": "SETTINGS", "data": {"log_level": level}, "start_time": in_seconds(start), "expiration": in_seconds(600),
        }});
        let made = server.post(&format!("/api/fleet/agents/{id}/actions"), action).await;
        made["item"]["id"].as_str().unwrap().to_owned()
    };
    let upgrade = json!({"action": {
        "type": "UPGRADE", "data": {"version": "9.9.9", "source_uri": "https://127.0.0.1:1"},
        "start_time": in_seconds(120), "expiration": in_seconds(600),
    }});
    let made = server.post(&format!("/api/fleet/agents/{id}/actions"), upgrade).await;
    let upgrade = made["item"]["id"].as_str().unwrap().to_owned();
    agent
        .await_status("waiting for an upgrade", |status| {
            status["upgrade_details"]["state"] == "UPG_SCHEDULED"
        })
        .await;
    // It is not forgotten by an agent that starts again.
    let restart = server.action(&id, "RESTART", json!({})).await;
    assert_eq!(server.await_action(&restart).await["status"], "COMPLETE");
    let began = std::time::Instant::now();
    while agent.log().matches("fleet-agent is running").count() < 2 {
        assert!(began.elapsed() < COME_TRUE_MAX, "it does not start again: {}", agent.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let pid = u64::from(agent.pid());
    agent
        .await_status("back, and waiting", |status| {
            status["pid"] == pid
                && status["fleet_state"] == "HEALTHY"
                && status["upgrade_details"]["state"] == "UPG_SCHEDULED"
        })
        .await;
    server.post(&format!("/api/fleet/agents/actions/{upgrade}/cancel"), json!({})).await;
    agent.await_status("not waiting any more", |status| status["upgrade_details"].is_null()).await;

    // One that is not taken back is done when its time has come.
    let later = begin(2, "debug").await;
    assert_eq!(server.await_action(&later).await["status"], "COMPLETE");
    let level = |agent: &Value| agent["local_metadata"]["elastic"]["agent"]["log_level"].clone();
    server.await_agent(&id, "logging more", |agent| level(agent) == "debug").await;
    agent.stop();
}
