//! `add_docker_metadata` and `add_process_metadata` with a real engine of containers, in a whole collector.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "../collector/mod.rs"]
mod collector;
mod dockerd;

use std::fs;
use std::time::Duration;

use fleet_collect::{Collector, State};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use collector::{plan, start};
use dockerd::{Engine, IMAGE, depth};

/// Whatever a test waits for comes within this.
const SOON: Duration = Duration::from_secs(60);

/// The first event that was written and is as wanted.
async fn event(directory: &TempDir, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let read = || -> Vec<Value> {
        let files = fs::read_dir(directory.path().join("out")).into_iter().flatten();
        let texts: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        texts.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let found = async {
        loop {
            if let Some(event) = read().into_iter().find(&wanted) {
                return event;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, found).await.unwrap_or_else(|_| panic!("no {what}: {:#?}", read()))
}

async fn send(collector: &Collector, line: &Value) {
    let mut states = collector.states();
    let is_up =
        |unit: &fleet_collect::UnitStatus| unit.streams.values().any(|stream| stream.state == State::Healthy);
    let states = states.wait_for(|states| states.inputs.get("told").is_some_and(is_up));
    let states = tokio::time::timeout(SOON, states).await.expect("the input in time").unwrap().clone();
    let status = states.inputs["told"].streams.values().next().unwrap();
    let address = status.payload["address"].as_str().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

/// What reads the logs of all containers, and what takes events of processes.
fn inputs(engine: &Engine) -> [Value; 2] {
    let host = format!("unix://{}", engine.socket().display());
    [
        json!({
            "id": "logs",
            "type": "filestream",
            "paths": [engine.containers().join("*/*-json.log")],
            "prospector": {"scanner": {"check_interval": "100ms", "fingerprint": {"enabled": false}}},
            "file_identity": {"native": null},
            "processors": [
                {"add_docker_metadata": {"host": host, "match_source_index": depth(&engine.containers())}},
            ],
        }),
        json!({
            "id": "told",
            "type": "tcp",
            "host": "127.0.0.1:0",
            "processors": [
                {"decode_json_fields": {"fields": ["message"], "target": ""}},
                {"add_process_metadata": {"match_pids": ["process.pid"], "target": "found"}},
                {"add_docker_metadata": {"host": host, "labels.dedot": false, "match_short_id": true, "match_fields": ["short"]}},
            ],
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_told_whose_containers_they_are_from() {
    if !dockerd::is_there() {
        return;
    }
    let engine = Engine::start().await;
    let every = |word: &str| format!("while :; do echo {word}; sleep 0.1; done");
    let first = engine.run("first", &every("early"));
    let directory = tempfile::tempdir().unwrap();
    let collector = start(&directory).await;
    collector.apply(plan(directory.path(), &inputs(&engine))).await;

    // Not its first line: events do not wait for an engine that is slow to tell.
    let is_told = |event: &Value| {
        event["message"].as_str().unwrap().contains("early") && event["container"].is_object()
    };
    let early = event(&directory, "line", is_told).await;
    let labels = json!({"com_example_team": "shop"});
    let expected = json!({"id": first, "name": "first", "image": {"name": IMAGE}, "labels": labels});
    assert_eq!(early["container"], expected);

    // One that comes later, and gets another name.
    let later = engine.run("later", &every("late"));
    let named = |name: &'static str| move |event: &Value| event["container"]["name"] == name;
    assert_eq!(event(&directory, "later container", named("later")).await["container"]["id"], later);
    engine.docker(&["rename", "later", "renamed"]);
    assert_eq!(event(&directory, "renamed container", named("renamed")).await["container"]["id"], later);

    // By its process, and by the beginning of its id.
    let pid: u32 = engine.docker(&["inspect", "--format={{.State.Pid}}", "renamed"]).parse().unwrap();
    send(&collector, &json!({"n": 1, "process": {"pid": pid}})).await;
    let told = event(&directory, "event of a process", |event| event["n"] == 1).await;
    assert_eq!(told["found"]["container"]["id"], later);
    assert_eq!((&told["container"]["id"], &told["container"]["name"]), (&json!(later), &json!("renamed")));
    assert_eq!(told["container"]["labels"], json!({"com.example.team": "shop"}));
    send(&collector, &json!({"n": 2, "short": &first[..12]})).await;
    let told = event(&directory, "event of a short id", |event| event["n"] == 2).await;
    assert_eq!(told["container"]["name"], "first");

    // What is gone is known for a while, as are its last lines.
    engine.docker(&["rm", "--force", "first"]);
    send(&collector, &json!({"n": 3, "short": &first[..12]})).await;
    let told = event(&directory, "event of one that is gone", |event| event["n"] == 3).await;
    assert_eq!(told["container"]["name"], "first");
    send(&collector, &json!({"n": 4, "process": {"pid": std::process::id()}})).await;
    let told = event(&directory, "event of no container", |event| event["n"] == 4).await;
    assert_eq!((told.get("container"), &told["found"]["process"]["pid"]), (None, &json!(std::process::id())));
    collector.stop(Duration::from_secs(5)).await;
}
