//! A component in Go, which speaks the protocol as programs of others do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::components::{file, says, unit};
use crate::programs;
use crate::server::{COME_TRUE_MAX, Server};

/// The unit that most is asked of.
const UNIT: &str = "gopher-default-a";
/// Nearly all that the server takes as what is laid over a policy, in bytes.
const LARGE: usize = 450 << 10;
/// What components are allowed to write at most: the agent's log holds no more of a flood.
const MOST_LOG: u64 = 20 << 20;

fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(|| programs::build(Path::new(env!("CARGO_TARGET_TMPDIR")), "component")).as_deref()
}

/// Puts it into the agent's folder. `checkin`: how long it may be silent.
fn install(agent: &Agent, program: &Path, checkin: &str) {
    let folder = agent.home().join("components");
    fs::create_dir(&folder).unwrap();
    symlink(program, folder.join("gopher")).unwrap();
    let spec = format!(
        "version: 2\ninputs:\n  - name: gopher\n    aliases: [marmot]\n    platforms: [linux/amd64, linux/arm64]\n    \
         outputs: [file]\n    proxied_actions: [UNENROLL]\n    command:\n      args: [-heartbeat, 250ms, -pieces, '3000']\n      \
         timeouts: {{checkin: {checkin}, restart: 1s}}\n"
    );
    fs::write(folder.join("gopher.spec.yml"), spec).unwrap();
}

fn policy(inputs: Vec<Value>) -> Value {
    json!({
        "outputs": {"default": {"type": "file", "path": "/tmp", "hosts": null, "preset": null}},
        "inputs": inputs,
        "agent": {"limits": {"go_max_procs": 2}, "features": {"fqdn": {"enabled": true}}},
    })
}

fn input(id: &str, greet: &str) -> Value {
    json!({"id": id, "type": "gopher", "use_output": "default", "greet": greet})
}

/// Asks the unit to do something, through the server. Returns how that went.
async fn ask(server: &Server, agent: &str, data: Value) -> Value {
    let action =
        json!({"action": {"type": "INPUT_ACTION", "input_type": "gopher", "timeout": 20, "data": data}});
    let made = server.post(&format!("/api/fleet/agents/{agent}/actions"), action).await;
    server.await_action(made["item"]["id"].as_str().unwrap()).await
}

async fn until_logged(agent: &Agent, what: &str) {
    let began = Instant::now();
    while !agent.log().contains(what) {
        assert!(began.elapsed() < COME_TRUE_MAX, "{what:?} is not logged: {}", agent.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A server, an agent with the component, and what names them; `None`: the component cannot be built here.
async fn start(checkin: &str) -> Option<(Server, Agent, String, String)> {
    let program = program()?;
    let server = Server::start();
    let (id_of_policy, key) = server.policy("one", policy(vec![input("a", "world")])).await;
    let mut agent = Agent::new();
    install(&agent, program, checkin);
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    server.await_agent(&id, "greeting", |agent| says(agent, UNIT, "HEALTHY", "greet=world")).await;
    Some((server, agent, id_of_policy, id))
}

#[tokio::test]
async fn a_component_of_others_does_what_a_policy_says() {
    let Some((server, agent, policy_id, id)) = start("30s").await else { return };
    let is = |text: &'static str| move |agent: &Value| says(agent, UNIT, "HEALTHY", text);
    server.await_agent(&id, "configured", is("idx=1 level=VERBOSITY_INFO type=gopher")).await;
    // Under its other name it is the same input, and what has not changed is not touched.
    let mut other = input("a", "moon");
    other["type"] = json!("marmot");
    server.save(&policy_id, policy(vec![other, input("b", "world")])).await;
    server.await_agent(&id, "changed", is("greet=moon blob=0 idx=2 level=VERBOSITY_INFO")).await;
    // A level alone is no new configuration.
    let settings = server.action(&id, "SETTINGS", json!({"log_level": "debug"})).await;
    assert_eq!(server.await_action(&settings).await["status"], "COMPLETE");
    server.await_agent(&id, "logging more", is("idx=2 level=VERBOSITY_DEBUG")).await;

    let done = ask(&server, &id, json!({"do": "greet", "whom": "you"})).await;
    assert_eq!(done["status"], "COMPLETE", "{done}");
    let failed = ask(&server, &id, json!({})).await;
    assert!(failed["status"] == "FAILED" && failed.to_string().contains("action undefined"), "{failed}");

    let archive = agent.home().join("diagnostics.zip");
    agent.well(&["diagnostics", "-f", archive.to_str().unwrap()]);
    assert_eq!(file(&archive, "gopher-default/measured.txt"), "[CONN]\n");
    assert_eq!(file(&archive, &format!("{UNIT}/unit.txt")), format!("{UNIT}\n"));

    // One that leaves is told before the agent is gone.
    server.post(&format!("/api/fleet/agents/{id}/unenroll"), json!({})).await;
    until_logged(&agent, "the agent does UNENROLL").await;
    until_logged(&agent, "stopped as it should").await;
    until_logged(&agent, "The agent has left its fleet").await;
    assert!(!agent.log().contains("refused:"), "{}", agent.log());
}

#[tokio::test]
async fn a_component_of_others_is_started_again_when_it_ends_or_hangs() {
    let Some((server, mut agent, _, id)) = start("1s").await else { return };
    let is_well = |agent: &Value| says(agent, UNIT, "HEALTHY", "greet=world");
    let back = async |agent: &Agent, before: u32| {
        let began = Instant::now();
        while agent.child("gopher").is_none_or(|pid| pid == before) {
            assert!(began.elapsed() < COME_TRUE_MAX, "it is not back: {}", agent.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.await_agent(&id, "greeting again", is_well).await;
        agent.child("gopher").unwrap()
    };
    let first = agent.child("gopher").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let second = back(&agent, first).await;

    assert_eq!(ask(&server, &id, json!({"do": "hang"})).await["status"], "COMPLETE");
    until_logged(&agent, "a component does not check in: it is killed").await;
    let third = back(&agent, second).await;

    assert_eq!(ask(&server, &id, json!({"do": "exit"})).await["status"], "COMPLETE");
    until_logged(&agent, "it exited with code '7'").await;
    back(&agent, third).await;
    agent.stop();
    assert!(agent.log().contains("stopped as it should"), "{}", agent.log());
}

#[tokio::test]
async fn a_component_of_others_may_have_much_to_do() {
    let Some((server, mut agent, policy_id, id)) = start("30s").await else { return };
    let first = agent.child("gopher").unwrap();
    let mut inputs: Vec<Value> = (0..100).map(|number| input(&format!("u{number}"), "all")).collect();
    let mut large = input("a", "large");
    large["blob"] = "b".repeat(LARGE).into();
    inputs.push(large);
    server.save(&policy_id, policy(inputs)).await;
    let is_large = format!("greet=large blob={LARGE} ");
    server
        .await_agent(&id, "doing much", |agent| {
            let all = (0..100)
                .all(|number| says(agent, &format!("gopher-default-u{number}"), "HEALTHY", "greet=all"));
            all && says(agent, UNIT, "HEALTHY", &is_large)
        })
        .await;
    server.save(&policy_id, policy(vec![input("a", "little")])).await;
    server
        .await_agent(&id, "doing little", |agent| {
            says(agent, UNIT, "HEALTHY", "greet=little") && unit(agent, "gopher-default-u7").is_none()
        })
        .await;
    assert_eq!(agent.child("gopher"), Some(first));
    agent.stop();
}

#[tokio::test]
async fn a_component_of_others_may_do_what_it_should_not() {
    let Some((server, mut agent, policy_id, id)) = start("30s").await else { return };
    let first = agent.child("gopher").unwrap();
    for (what, sign) in [("flood", "are left out"), ("garbage", "garbage: done"), ("ghost", ""), ("flap", "")]
    {
        assert_eq!(ask(&server, &id, json!({"do": what})).await["status"], "COMPLETE", "{what}");
        until_logged(&agent, sign).await;
    }
    server.await_agent(&id, "flapped", |agent| says(agent, UNIT, "HEALTHY", "flapped")).await;
    server.save(&policy_id, policy(vec![input("a", "still")])).await;
    server.await_agent(&id, "greeting still", |agent| says(agent, UNIT, "HEALTHY", "greet=still")).await;
    assert_eq!(agent.child("gopher"), Some(first));
    let log = agent.log();
    assert!(u64::try_from(log.len()).unwrap() < MOST_LOG && !log.contains('\u{1b}'), "{} bytes", log.len());
    agent.stop();
}
