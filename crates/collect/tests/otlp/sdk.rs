//! OpenTelemetry's SDK for Python, whose gRPC is the one in C: `send.py` beside this file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_collect::{AgentFacts, Collector, InputUnit, OutputUnit, Plan, Settings, State};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::{SOON, input, python, written};

const VERSION: &str = "1.45.2";

/// A collector that takes all signals, and the Python that sends them.
struct World {
    directory: TempDir,
    collector: Collector,
    python: PathBuf,
    addresses: Map<String, Value>,
}

impl World {
    async fn start(input: Value) -> World {
        let sdk = format!("opentelemetry-sdk=={VERSION}");
        let exporter = format!("opentelemetry-exporter-otlp=={VERSION}");
        let python = python::with(&format!("opentelemetry-python-{VERSION}"), &[&sdk, &exporter]).await;
        let directory = tempfile::tempdir().unwrap();
        let agent =
            AgentFacts { id: "a".into(), version: "1".into(), name: "n".into(), ephemeral_id: "e".into() };
        let data = directory.path().join("data");
        let collector =
            Collector::start(Settings { data, agent, host_name: Some("here".to_owned()) }).await.unwrap();
        let map = |value: Value| value.as_object().unwrap().clone();
        let output = json!({"type": "file", "path": directory.path().join("out"), "filename": "events"});
        let (id, kind) = ("otlp".to_owned(), "otlp".to_owned());
        let unit = InputUnit { id, kind, output: "default".into(), config: map(input) };
        let output = OutputUnit { name: "default".into(), kind: "file".into(), config: map(output) };
        collector.apply(Plan { inputs: vec![unit], outputs: vec![output] }).await;

        let mut states = collector.states();
        let healthy = states.wait_for(|states| {
            let streams = states.inputs.get("otlp").map(|unit| &unit.streams);
            streams.is_some_and(|streams| {
                streams.len() == 3 && streams.values().all(|status| status.state == State::Healthy)
            })
        });
        let healthy = tokio::time::timeout(SOON, healthy)
            .await
            .map_err(|_| format!("{:#?}", collector.states().borrow().inputs));
        let healthy = healthy.unwrap().unwrap();
        let addresses = healthy.inputs["otlp"].streams["otlp-logs"].payload.clone();
        World { directory, collector, python, addresses }
    }

    /// Sends everything, and looks at what becomes of it.
    async fn send(&self, protocol: &str, packed: &str, certificate: Option<&Path>) {
        let address = self.addresses[protocol].as_str().unwrap();
        let port = address.rsplit_once(':').unwrap().1;
        let mut send = Command::new(&self.python);
        send.arg(python::script("otlp/send.py")).arg(protocol).arg(format!("localhost:{port}")).arg(packed);
        send.args(certificate).env("NO_PROXY", "localhost");
        // These would be trusted instead of the certificate.
        send.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
        assert_eq!(python::run(&mut send).await.trim(), "sent");
        let out = self.directory.path().join("out");
        // A log, a span, and four data points that differ in time, attributes or unit.
        let wait = async {
            while written(&out).len() < 6 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, wait).await.expect("the events in time");
        check(&written(&out));
        for file in fs::read_dir(&out).unwrap() {
            fs::write(file.unwrap().path(), "").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_is_understood_over_both_ways_packed_or_not() {
    let world = World::start(input("otlp")).await;
    for (protocol, packed) in [("grpc", "none"), ("grpc", "gzip"), ("http", "none"), ("http", "gzip")] {
        world.send(protocol, packed, None).await;
    }
    world.collector.stop(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_is_understood_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("certificate.pem"), files.path().join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    // A key that others can read is refused.
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let mut input = input("otlp");
    for protocol in ["protocols.grpc", "protocols.http"] {
        input[protocol]["tls"] = json!({"cert_file": certificate, "key_file": key, "min_version": "1.2"});
    }
    let world = World::start(input).await;
    for protocol in ["grpc", "http"] {
        world.send(protocol, "gzip", Some(&certificate)).await;
    }
    world.collector.stop(SOON).await;
}

fn check(events: &[Value]) {
    for event in events {
        assert_eq!(event["service"], json!({"name": "shop", "instance": {"id": "1"}}));
        assert_eq!((&event["scope"]["name"], &event["scope"]["version"]), (&json!("cart"), &json!("1.2")));
        assert_eq!(
            (&event["telemetry"]["sdk"]["language"], &event["resource"]["attributes"]["k8s.pod.name"]),
            (&json!("python"), &json!("pod"))
        );
    }
    let of =
        |kind: &str| events.iter().filter(|event| event["data_stream"]["type"] == kind).collect::<Vec<_>>();
    let (logs, spans, metrics) = (of("logs"), of("traces"), of("metrics"));
    assert_eq!((logs.len(), spans.len()), (1, 1), "{events:#?}");
    let (log, span) = (logs[0], spans[0]);
    let body: Value = serde_json::from_str(log["message"].as_str().unwrap()).unwrap();
    assert_eq!(
        (body, &log["@timestamp"]),
        (json!({"order": 7, "by": "ann"}), &json!("2018-12-13T14:51:00.300000007Z"))
    );
    assert_eq!(
        (&log["log"]["level"], &log["severity_number"], &log["event"]["name"]),
        (&json!("warning"), &json!(14), &json!("ordered"))
    );
    assert_eq!(log["attributes"], json!({"http.method": "POST", "paid": true}));
    assert_eq!(
        (&span["span"]["name"], &span["kind"], &span["status"]["message"]),
        (&json!("checkout"), &json!("server"), &json!("no stock"))
    );
    assert_eq!(
        (&span["attributes"], &span["events"][0]["name"]),
        (&json!({"items": [1, 2]}), &json!("paid"))
    );
    assert!(span["duration"].as_u64().unwrap() > 0 && span["trace"]["id"].as_str().unwrap().len() == 32);
    let metric = |name: &str| {
        let found = metrics.iter().find_map(|event| event["metrics"].get(name));
        found.unwrap_or_else(|| panic!("{name} is missing in {metrics:#?}")).clone()
    };
    assert_eq!((metric("orders"), metric("stock")), (json!(3), json!(2.5)));
    assert_eq!(metric("latency"), json!({"values": [5.0, 55.0, 100.0], "counts": [1, 2, 1]}));
    assert_eq!(metric("sizes")["counts"], json!([1, 1, 1]));
    let middles: Vec<f64> =
        metric("sizes")["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert!(
        middles[0].abs() < 1e-9 && (middles[1] - 1.5).abs() < 0.01 && (middles[2] - 3.0).abs() < 0.01,
        "{middles:?}"
    );
}
