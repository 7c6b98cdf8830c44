//! `system/metrics` from the policy to the file: the streams as the integration `system` renders them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fleet_collect::{AgentFacts, Collector, InputUnit, OutputUnit, Plan, Settings, State};
use serde_json::{Map, Value, json};

/// What a policy holds of a data stream of the integration.
fn stream(metricset: &str, more: Value) -> Value {
    let dataset = format!("system.{}", metricset.replace("process_summary", "process.summary"));
    let mut stream = json!({
        "id": format!("system/metrics-{dataset}-1"),
        "data_stream": {"type": "metrics", "dataset": dataset},
        "metricsets": [metricset],
        "period": "10s",
    });
    merge(&mut stream, more);
    stream
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    into.as_object_mut().unwrap().extend(more);
}

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("no map: {value}") };
    map
}

fn plan(directory: &Path, streams: &[Value]) -> Plan {
    let input = json!({
        "id": "system-1",
        "type": "system/metrics",
        "data_stream": {"namespace": "production"},
        "streams": streams,
    });
    let output = json!({"type": "file", "path": directory, "filename": "events"});
    Plan {
        inputs: vec![InputUnit {
            id: "system-1".to_owned(),
            kind: "system/metrics".to_owned(),
            output: "default".to_owned(),
            config: map(input),
        }],
        outputs: vec![OutputUnit {
            name: "default".to_owned(),
            kind: "file".to_owned(),
            config: map(output),
        }],
    }
}

async fn start(data: &Path) -> Collector {
    let agent = AgentFacts {
        id: "agent-1".to_owned(),
        version: "9.6.0".to_owned(),
        name: "machine".to_owned(),
        ephemeral_id: "start-1".to_owned(),
    };
    let settings = Settings { data: data.to_owned(), agent, host_name: Some("machine".to_owned()) };
    Collector::start(settings).await.unwrap()
}

fn events(directory: &Path) -> Vec<Value> {
    let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
    let text: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits until the events are as they should be; the clock of the test runs as fast as it can.
async fn wait_for(directory: &Path, mut are_there: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
    for _ in 0..1000 {
        let events = events(directory);
        if are_there(&events) {
            return events;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("not there after many periods: {:#?}", events(directory));
}

/// How many events there are of each metricset.
fn counts(events: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event["metricset"]["name"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn all_metricsets_of_the_integration_are_measured() {
    let (data, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let top =
        json!({"processes": [".*"], "process.include_top_n.by_cpu": 5, "process.include_top_n.by_memory": 5});
    let cpu = json!({"cpu.metrics": ["percentages", "normalized_percentages"], "tags": ["measured"]});
    let streams = [
        stream("cpu", cpu),
        stream("core", json!({"core.metrics": ["percentages"]})),
        stream("load", json!({})),
        stream("memory", json!({})),
        stream("network", json!({"network.interfaces": ["lo"]})),
        stream("filesystem", json!({"period": "1m", "filesystem.ignore_types": ["proc"]})),
        stream("fsstat", json!({"period": "1m"})),
        stream("process", top),
        stream("process_summary", json!({})),
        stream("socket_summary", json!({})),
        stream("uptime", json!({})),
    ];
    let collector = start(data.path()).await;
    collector.apply(plan(output.path(), &streams)).await;
    let events = wait_for(output.path(), |events| {
        // Time runs on while this test looks, so a processor may not have had a tick between two measurements.
        let counts = counts(events);
        counts.len() == streams.len() && counts["load"] >= 3
    })
    .await;

    for event in &events {
        let dataset = event["data_stream"]["dataset"].as_str().unwrap();
        assert_eq!(event["data_stream"]["type"], "metrics");
        assert_eq!(event["data_stream"]["namespace"], "production");
        assert_eq!(event["event"]["dataset"], dataset);
        assert_eq!(event["event"]["module"], "system");
        assert!(event["event"]["duration"].as_u64().unwrap() > 0);
        assert_eq!(event["service"]["type"], "system");
        assert_eq!(event["agent"]["id"], "agent-1");
        assert_eq!(event["host"]["name"], "machine");
        assert!(event["@timestamp"].is_string());
        let period = if dataset.starts_with("system.f") { 60_000 } else { 10_000 };
        assert_eq!(event["metricset"]["period"], period);
    }
    let cpu = events.iter().find(|event| event["metricset"]["name"] == "cpu").unwrap();
    assert!(cpu["host"]["cpu"]["usage"].is_number());
    assert_eq!(cpu["tags"], json!(["measured"]));

    let states = collector.states().borrow().clone();
    assert_eq!(states.inputs["system-1"].status.state, State::Healthy, "{states:?}");
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn processors_of_the_stream_see_each_event() {
    let (data, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let drop = json!({"drop_event.when.regexp": {"system.filesystem.mount_point": "^/(sys|proc|dev)($|/)"}});
    let more = json!({
        "filesystem.ignore_types": ["nothing"],
        "processors": [drop, {"add_host_metadata": null}, {"add_fields": {"target": "labels", "fields": {"a": "b"}}}],
    });
    let collector = start(data.path()).await;
    collector.apply(plan(output.path(), &[stream("filesystem", more)])).await;
    let events = wait_for(output.path(), |events| !events.is_empty()).await;
    let points: Vec<&str> =
        events.iter().map(|event| event["system"]["filesystem"]["mount_point"].as_str().unwrap()).collect();
    assert!(points.contains(&"/"), "{points:?}");
    assert!(!points.contains(&"/proc") && !points.contains(&"/sys"), "{points:?}");
    assert_eq!(events[0]["labels"]["a"], "b");
    assert_eq!(events[0]["host"]["os"]["type"], "linux");
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_measure_says_so_and_stops_no_other() {
    let (data, output, empty) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let streams = [
        stream("uptime", json!({"system.hostfs": empty.path()})),
        stream("load", json!({"metricsets": ["lode"]})),
        stream("memory", json!({})),
    ];
    let collector = start(data.path()).await;
    collector.apply(plan(output.path(), &streams)).await;
    wait_for(output.path(), |events| counts(events).contains_key("memory")).await;
    let mut receiver = collector.states();
    let states = receiver
        .wait_for(|states| {
            let streams = states.inputs.get("system-1").map(|input| &input.streams);
            streams.is_some_and(|streams| streams.values().all(|stream| stream.state != State::Starting))
        })
        .await
        .unwrap()
        .clone();
    let input = &states.inputs["system-1"];
    let uptime = &input.streams["system/metrics-system.uptime-1"];
    assert_eq!(uptime.state, State::Degraded);
    assert!(uptime.message.contains("/proc/uptime: No such file"), "{}", uptime.message);
    let load = &input.streams["system/metrics-system.load-1"];
    assert_eq!(load.state, State::Failed);
    assert!(load.message.starts_with("metricsets: \"lode\" is not a metricset"), "{}", load.message);
    assert_eq!(input.streams["system/metrics-system.memory-1"].state, State::Healthy);
    collector.stop(Duration::from_secs(5)).await;
}
