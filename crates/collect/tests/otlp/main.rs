//! OTLP as others speak it: with OpenTelemetry's own SDK, and with a collector that is killed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod killed;
#[path = "../python/mod.rs"]
mod python;
mod sdk;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// Whatever a test waits for comes within this.
const SOON: Duration = Duration::from_secs(60);

/// The three signals on one pair of addresses, as the integration's form writes them.
fn input(id: &str) -> Value {
    let stream = |signal: &str| {
        json!({"id": format!("{id}-{signal}"), "signal": signal,
            "data_stream": {"type": signal, "dataset": format!("otlp.{signal}")}})
    };
    json!({
        "id": id, "type": "otlp",
        "protocols.grpc": {"endpoint": "127.0.0.1:0"}, "protocols.http": {"endpoint": "127.0.0.1:0"},
        "streams": [stream("logs"), stream("metrics"), stream("traces")],
    })
}

/// The events that were written into a directory, as far as their lines are whole.
fn written(directory: &Path) -> Vec<Value> {
    let files = fs::read_dir(directory).into_iter().flatten().map(|file| file.unwrap().path());
    let texts: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let whole = texts.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}
