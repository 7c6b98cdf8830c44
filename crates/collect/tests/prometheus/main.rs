//! Metrics as Prometheus' own library tells them, through a whole collector.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "../python/mod.rs"]
mod python;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fleet_collect::{AgentFacts, Collector, InputUnit, OutputUnit, Plan, Settings};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Whatever a test waits for comes within this.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library_is_understood_in_both_formats() {
    let python = python::with("prometheus-client-0.26.0", &["prometheus-client==0.26.0"]).await;
    let mut tell = Command::new(python);
    tell.arg(python::script("prometheus/tell.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut tell = tell.spawn().unwrap();
    let mut lines = BufReader::new(tell.stdout.take().unwrap()).lines();
    let address =
        tokio::time::timeout(SOON, lines.next_line()).await.expect("it starts in time").unwrap().unwrap();

    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let agent =
        AgentFacts { id: "a".into(), version: "1".into(), name: "n".into(), ephemeral_id: "e".into() };
    let data = directory.path().join("data");
    let collector =
        Collector::start(Settings { data, agent, host_name: Some("here".to_owned()) }).await.unwrap();
    let open = json!({"accept": "application/openmetrics-text;version=1.0.0"});
    let input = json!({"id": "p", "type": "prometheus/metrics", "hosts": [address], "period": "300ms", "streams": [
        {"id": "plain", "metricsets": ["collector"], "data_stream": {"dataset": "plain"}},
        {"id": "typed", "metricsets": ["collector"], "data_stream": {"dataset": "typed"}, "use_types": true, "headers": open},
    ]});
    let map = |value: Value| value.as_object().unwrap().clone();
    let kind = "prometheus/metrics".into();
    let unit = InputUnit { id: "p".into(), kind, output: "default".into(), config: map(input) };
    let output = map(json!({"type": "file", "path": out, "filename": "events"}));
    let output = OutputUnit { name: "default".into(), kind: "file".into(), config: output };
    collector.apply(Plan { inputs: vec![unit], outputs: vec![output] }).await;

    let plain = find(&out, "plain", "metrics.requests_total").await;
    assert_eq!(plain["metrics"]["requests_total"], 3);
    assert_eq!(plain["labels"], json!({"instance": address, "job": "prometheus", "path": "a\\b\"c\nd"}));
    let plain = find(&out, "plain", "metrics.heat").await;
    let metrics = &plain["metrics"];
    assert_eq!(
        (&metrics["heat"], &metrics["waited_sum"], &metrics["took_count"]),
        (&json!(-0.5), &json!(2.5), &json!(4))
    );

    let typed = find(&out, "typed", "took.histogram").await;
    assert_eq!(typed["took"]["histogram"], json!({"values": [0.5, 2, 3], "counts": [0, 0, 0]}));
    let (heat, waited) = (&typed["heat"], &typed["waited_count"]);
    assert_eq!((heat, waited), (&json!({"value": -0.5}), &json!({"counter": 1})));
    let typed = find(&out, "typed", "build_info.value").await;
    assert_eq!((&typed["build_info"], &typed["labels"]["version"]), (&json!({"value": 1}), &json!("1.2")));
    assert_eq!(find(&out, "typed", "requests_total.counter").await["requests_total"], json!({"counter": 3}));
    collector.stop(SOON).await;
}

/// What stands below `prometheus` in the first event of a dataset that has such a field.
async fn find(out: &Path, dataset: &str, field: &str) -> Value {
    let pointer = format!("/prometheus/{}", field.replace('.', "/"));
    let look = || -> Option<Value> {
        let files = fs::read_dir(out).ok()?.map(|file| file.unwrap().path());
        let texts: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
        let whole = texts.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let events = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut events = events.filter(|event| event["data_stream"]["dataset"] == dataset);
        events.find(|event| event.pointer(&pointer).is_some()).map(|event| event["prometheus"].clone())
    };
    let wait = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("no event of {dataset} has {field}"))
}
