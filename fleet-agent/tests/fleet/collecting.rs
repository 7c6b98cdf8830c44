//! What a policy collects, arrives where it says.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::server::{COME_TRUE_MAX, Server};

fn overrides(logs: &Path, out: &Path, port: u16) -> Value {
    json!({
        "agent": {"monitoring": {"http": {"enabled": true, "host": "127.0.0.1", "port": port}}},
        "outputs": {"default": {"type": "file", "path": out, "filename": "out", "hosts": null, "preset": null}},
        "inputs": [{
            "id": "lines", "type": "filestream", "use_output": "default", "data_stream": {"namespace": "default"},
            "condition": "${host.platform} == 'linux'",
            "streams": [{
                "id": "lines-1",
                "data_stream": {"dataset": "test", "type": "logs"},
                "paths": [logs.join("*.log")],
                "prospector": {"scanner": {"check_interval": "100ms", "fingerprint": {"enabled": false}}},
                "file_identity": {"native": null},
            }],
        }],
    })
}

/// The messages that arrived.
fn arrived(out: &Path) -> Vec<String> {
    let files = fs::read_dir(out).into_iter().flatten().filter_map(Result::ok);
    let text: String = files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter_map(|event| Some(event["message"].as_str()?.to_owned())).collect()
}

pub(crate) async fn await_lines(agent: &Agent, out: &Path, count: usize) {
    let began = Instant::now();
    while arrived(out).len() < count {
        let status = agent.status();
        assert!(
            began.elapsed() < COME_TRUE_MAX,
            "{} of {count} lines: {status:#?}\n{}",
            arrived(out).len(),
            agent.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ask(port: u16, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn lines_of_a_file_arrive_once_over_a_restart_and_the_agent_is_well() {
    let server = Server::start();
    let (logs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = crate::server::free_port();
    let (_, key) = server.policy("one", overrides(logs.path(), out.path(), port)).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &[]);
    let path = logs.path().join("a.log");
    let mut file = fs::File::create(&path).unwrap();
    for number in 0..100 {
        writeln!(file, "line {number}").unwrap();
    }
    agent.run();
    await_lines(&agent, out.path(), 100).await;
    let seen = server
        .await_agent(&id, "healthy with its units", |agent| {
            agent["status"] == "online" && agent["components"][0]["status"] == "HEALTHY"
        })
        .await;
    assert_eq!(seen["components"][0]["id"], "filestream-default");
    let unit = &seen["components"][0]["units"][0];
    assert_eq!(unit["payload"]["streams"]["lines-1"]["status"], "HEALTHY", "{unit}");

    let (code, body) = ask(port, "/liveness?failon=degraded").await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(ask(port, "/readiness").await.0, 200);
    let (code, figures) = ask(port, "/metrics").await;
    assert!(code == 200 && figures.contains("fleet_agent_events_read 100"), "{figures}");
    assert_eq!(ask(port, "/other").await.0, 404);

    agent.stop();
    for number in 100..200 {
        writeln!(file, "line {number}").unwrap();
    }
    agent.run();
    await_lines(&agent, out.path(), 200).await;
    let mut lines = arrived(out.path());
    lines.sort();
    lines.dedup();
    assert_eq!((lines.len(), arrived(out.path()).len()), (200, 200));

    // The server is away: what the policy says goes on.
    drop(server);
    agent.kill();
    agent.run();
    writeln!(file, "line 200").unwrap();
    await_lines(&agent, out.path(), 201).await;
}

/// The events that arrived, as they are.
fn events(out: &Path) -> Vec<Value> {
    let files = fs::read_dir(out).into_iter().flatten().filter_map(Result::ok);
    let text: String = files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn what_the_agent_says_of_itself_goes_where_the_policy_says() {
    let server = Server::start();
    let (out, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to =
        |path: &Path| json!({"type": "file", "path": path, "filename": "out", "hosts": null, "preset": null});
    let monitoring = |metrics: bool| {
        json!({
            "agent": {"monitoring": {
                "enabled": true, "logs": true, "metrics": metrics, "metrics_period": "200ms", "namespace": "ops",
                "use_output": "own",
            }},
            "outputs": {"default": to(out.path()), "own": to(own.path())},
        })
    };
    let (policy, key) = server.policy("one", monitoring(true)).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &[]);
    agent.run_as(&["run"], &[]);
    let of = |kind: &str, dataset: &str| {
        let stream = json!({"type": kind, "dataset": dataset, "namespace": "ops"});
        events(own.path()).into_iter().filter(|event| event["data_stream"] == stream).collect::<Vec<_>>()
    };
    let began = Instant::now();
    let arrived = loop {
        let (metrics, logs) = (of("metrics", "elastic_agent.elastic_agent"), of("logs", "elastic_agent"));
        if metrics.len() > 2 && !logs.is_empty() {
            break (metrics, logs);
        }
        assert!(began.elapsed() < COME_TRUE_MAX, "{metrics:?}, {logs:?}: {:#?}", agent.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (metrics, logs) = arrived;
    assert_eq!(metrics[0]["elastic_agent"]["id"], id.as_str());
    assert!(metrics[0]["system"]["process"]["memory"]["size"].as_u64() > Some(1_000_000), "{}", metrics[0]);
    assert!(metrics[2]["beat"]["stats"]["libbeat"]["output"]["events"]["acked"].is_u64());
    assert!(logs.iter().any(|line| line["message"] == "fleet-agent is running"), "{logs:?}");
    assert!(events(out.path()).is_empty());

    let revision = server.save(&policy, monitoring(false)).await;
    server.await_agent(&id, "at the revision", |agent| agent["policy_revision"] == revision).await;
    let status =
        agent.await_status("without figures", |status| !status.to_string().contains("agent/metrics"));
    assert_eq!(status.await["state"], "HEALTHY");
    agent.stop();
}
