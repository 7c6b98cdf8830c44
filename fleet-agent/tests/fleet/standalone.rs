//! An agent without a fleet: it does what its configuration file says.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::server::{COME_TRUE_MAX, Server};

/// A file that collects one log, with what people have in such files besides.
fn configuration(agent: &Agent, log: &str) -> String {
    let home = agent.home().display();
    format!(
        "agent:\n  logging.level: info\n  monitoring: {{enabled: false}}\n\
         providers.local.vars:\n  place: {home}\n\
         outputs:\n  default: {{type: file, path: {home}/out, filename: events}}\n\
         inputs:\n\
         - id: lines\n  type: filestream\n  streams:\n\
         \x20 - id: {log}\n    paths: [\"${{local.place}}/{log}.log\"]\n    condition: ${{host.platform}} == 'linux'\n\
         \x20   file_identity.native: null\n    prospector.scanner: {{fingerprint.enabled: false, check_interval: 200ms}}\n"
    )
}

fn write(agent: &Agent, text: &str) {
    fs::write(agent.home().join("fleet-agent.yml"), text).unwrap();
}

fn events(folder: &Path) -> Vec<Value> {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts
        .flat_map(|text| text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>())
        .collect()
}

async fn collected(agent: &Agent, message: &str) -> Value {
    let began = Instant::now();
    loop {
        let events = events(&agent.home().join("out"));
        if let Some(event) = events.into_iter().find(|event| event["message"] == message) {
            return event;
        }
        assert!(
            began.elapsed() < COME_TRUE_MAX,
            "{message:?} is not collected: {:?}\n{}",
            agent.status(),
            agent.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_file_says_what_is_done_and_may_change() {
    let mut agent = Agent::new();
    for (log, line) in [("one", "first\n"), ("two", "second\n")] {
        fs::write(agent.home().join(format!("{log}.log")), line).unwrap();
    }
    write(&agent, &configuration(&agent, "one"));
    agent.run();
    let event = collected(&agent, "first").await;
    let status = agent.await_status("well", |status| status["state"] == "HEALTHY").await;
    assert!(status["fleet_message"].as_str().unwrap().starts_with("Standalone: "), "{status}");
    assert_eq!((&event["agent"]["id"], &status["policy_revision"]), (&status["id"], &json!(1)));
    assert!(agent.well(&["status"]).contains("Standalone"));
    assert!(agent.well(&["inspect", "components", "lines"]).contains("/one.log"));
    let upgrade = agent.verb(&["upgrade", "9.9.9"]);
    assert!(String::from_utf8_lossy(&upgrade.stderr).contains("without a fleet"), "{upgrade:?}");

    // It changes: the agent goes over to it by itself.
    write(&agent, &configuration(&agent, "two"));
    collected(&agent, "second").await;
    agent.await_status("at the next revision", |status| status["policy_revision"] == 2).await;

    // It breaks: that is told, and what ran goes on.
    for (broken, reason) in [
        ("inputs: [", "fleet-agent.yml"),
        ("agent.logging.level: loud\ninputs: []\n", "logging.level"),
        ("inputs: 7\n", "inputs is not a list"),
        ("agent: {}\n", "says nothing of inputs and outputs"),
    ] {
        write(&agent, broken);
        let is =
            |status: &Value| status["state"] == "FAILED" && status["message"].to_string().contains(reason);
        agent.await_status(reason, is).await;
    }
    let mut log = fs::File::options().append(true).open(agent.home().join("two.log")).unwrap();
    std::io::Write::write_all(&mut log, b"third\n").unwrap();
    collected(&agent, "third").await;

    // Started again, it is the same agent; and one that does not run shows its file.
    write(&agent, &configuration(&agent, "two"));
    agent.await_status("well again", |status| status["state"] == "HEALTHY").await;
    agent.stop();
    assert!(agent.well(&["inspect"]).contains("two.log"));
    agent.run();
    let again = agent.await_status("well", |status| status["state"] == "HEALTHY").await;
    assert_eq!(again["id"], status["id"]);

    // It enrols: from then on its fleet says what is done.
    let server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let id = agent.enroll(&server, &key, &[]);
    server
        .await_agent(&id, "online", |agent| agent["status"] == "online" && agent["policy_revision"] == 1)
        .await;
    agent
        .await_status("of its fleet", |status| {
            status["id"] == id.as_str() && status["fleet_state"] == "HEALTHY"
        })
        .await;
    agent.stop();
}

#[tokio::test]
async fn few_descriptors_are_shared_and_leave_some_for_those_who_ask() {
    let mut agent = Agent::new();
    let home = agent.home().to_owned();
    let inputs: Vec<Value> = (0..2)
        .map(|input| json!({"id": format!("in{input}"), "type": "filestream", "paths": [home.join(format!("in{input}/*"))], "file_identity.native": null}))
        .collect();
    let outputs = json!({"default": {"type": "file", "path": home.join("out")}});
    write(&agent, &json!({"inputs": inputs, "outputs": outputs}).to_string());
    agent.run();
    agent.await_status("well", |status| status["state"] == "HEALTHY").await;
    let pid = Pid::from_raw(agent.pid().try_into().unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    for input in 0..2 {
        fs::create_dir(home.join(format!("in{input}"))).unwrap();
        for file in 0..150 {
            fs::write(home.join(format!("in{input}/{file}.log")), format!("{input} {file}\n")).unwrap();
        }
    }
    for input in 0..2 {
        for file in 0..150 {
            collected(&agent, &format!("{input} {file}")).await;
        }
    }
    agent.await_status("well", |status| status["state"] == "HEALTHY").await;
    let mut again = fs::OpenOptions::new().append(true).open(home.join("in0/7.log")).unwrap();
    again.write_all(b"more\n").unwrap();
    collected(&agent, "more").await;
}
