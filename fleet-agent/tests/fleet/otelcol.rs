//! A real OpenTelemetry collector as a component.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::agent::Agent;
use crate::server::{COME_TRUE_MAX, Server, free_port};

/// The oldest Go that can build a collector: 1.25.
const OLDEST_MINOR: u32 = 25;

/// Builds a collector; Go keeps what it has built. `None`: there is no Go, which is a failure under `CI=true`.
fn collector() -> Option<PathBuf> {
    let answer = Command::new("go").args(["env", "GOVERSION"]).output();
    let version =
        answer.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned()).unwrap_or_default();
    let minor = version.strip_prefix("go1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < OLDEST_MINOR) {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "Go 1.{OLDEST_MINOR} is not installed ({version:?})"
        );
        return None;
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("otelcol");
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otelcol"))
        .output()
        .expect("go");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

fn sections(port: u16, health: u16) -> Value {
    json!({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": format!("127.0.0.1:{port}")}}}},
        "processors": {"batch": {"timeout": "100ms"}},
        "exporters": {"debug": {"verbosity": "detailed"}},
        "extensions": {"health_check": {"endpoint": format!("127.0.0.1:{health}")}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"logs": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["debug"]}},
        },
    })
}

/// Sends a line as a program would.
async fn send(port: u16, text: &str) {
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": text}}]}]}]})
        .to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn until(what: &str, agent: &Agent, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < COME_TRUE_MAX, "{what}: {}", agent.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the agent says this of its collector.
async fn until_said(agent: &Agent, state: &str, words: &str) {
    let is = |status: &Value| {
        let components = status["components"].as_array().into_iter().flatten();
        let mut units = components.filter(|one| one["id"] == "opentelemetry-default");
        units.any(|one| {
            one["units"][0]["status"] == state
                && one["units"][0]["message"].as_str().unwrap_or_default().contains(words)
        })
    };
    agent.await_status(&format!("{state} with {words:?}"), is).await;
}

#[tokio::test]
async fn a_policys_sections_run_a_real_collector() {
    let Some(program) = collector() else { return };
    let server = Server::start();
    let (port, health) = (free_port(), free_port());
    let (policy, key) = server.policy("one", sections(port, health)).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    until_said(&agent, "FAILED", "components/otelcol").await;
    server.await_agent(&id, "in error", |agent| agent["last_checkin_status"] == "error").await;

    // It is put where it is looked for.
    fs::create_dir(agent.home().join("components")).unwrap();
    symlink(program, agent.home().join("components/otelcol")).unwrap();
    until_said(&agent, "HEALTHY", "running as process").await;
    server.await_agent(&id, "well", |agent| agent["status"] == "online").await;
    send(port, "a line for the collector").await;
    until("its output is in the log", &agent, || agent.log().contains("Str(a line for the collector)")).await;
    let first = agent.child("otelcol").unwrap();

    // It is killed, and comes again.
    let pid = rustix::process::Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("it is back", &agent, || agent.child("otelcol").is_some_and(|pid| pid != first)).await;
    until_said(&agent, "HEALTHY", "running as process").await;

    // Other sections, another process; the same sections, the same one.
    let (port, health) = (free_port(), free_port());
    let revision = server.save(&policy, sections(port, health)).await;
    server.await_agent(&id, "at the revision", |agent| agent["policy_revision"] == revision).await;
    until_said(&agent, "HEALTHY", "running as process").await;
    send(port, "a line after the change").await;
    until("the line after the change", &agent, || agent.log().contains("Str(a line after the change)")).await;
    let second = agent.child("otelcol").unwrap();
    let mut same = sections(port, health);
    same["agent"] = json!({"logging": {"level": "debug"}});
    let revision = server.save(&policy, same).await;
    server.await_agent(&id, "at the revision", |agent| agent["policy_revision"] == revision).await;
    assert_eq!(agent.child("otelcol"), Some(second));

    // What it refuses is told in its own words.
    let mut broken = sections(port, health);
    broken["service"]["pipelines"]["logs"]["receivers"] = json!(["no-such-receiver"]);
    server.save(&policy, broken).await;
    until_said(&agent, "FAILED", "no-such-receiver").await;

    server.save(&policy, json!({})).await;
    until("it has gone", &agent, || agent.child("otelcol").is_none()).await;
    agent.await_status("well without one", |status| status["state"] == "HEALTHY").await;
    agent.stop();
}
