//! A collector over a directory with logs.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_collect::{AgentFacts, Collector, InputUnit, OutputUnit, Plan, Settings, States};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub(crate) const INDEX: &str = "logs-app-prod";

pub(crate) struct World {
    pub(crate) directory: TempDir,
}

impl World {
    pub(crate) fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        World { directory }
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join("logs").join(name)
    }

    /// Appends lines, each with its end.
    pub(crate) fn write(&self, name: &str, lines: impl IntoIterator<Item = String>) {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        let mut file = OpenOptions::new().create(true).append(true).open(self.log(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) async fn start(&self) -> Collector {
        let agent = AgentFacts {
            id: "agent-1".into(),
            version: "9.6.0".into(),
            name: "machine".into(),
            ephemeral_id: "run-1".into(),
        };
        let data = self.directory.path().join("data");
        Collector::start(Settings { data, agent, host_name: Some("machine".into()) }).await.unwrap()
    }

    /// An input over `logs/*.log` with more settings for its one stream.
    pub(crate) fn input(&self, more: &Value) -> InputUnit {
        let paths = format!("{}/logs/*.log", self.directory.path().display());
        let mut stream = json!({
            "id": "stream-1",
            "data_stream": {"dataset": "app", "type": "logs"},
            "paths": [paths],
            "prospector.scanner.check_interval": "100ms",
            "backoff.init": "10ms",
            "backoff.max": "50ms",
        });
        merge(&mut stream, more);
        let config = json!({"id": "input-1", "type": "filestream", "data_stream": {"namespace": "prod"}, "streams": [stream]});
        InputUnit {
            id: "input-1".into(),
            kind: "filestream".into(),
            output: "default".into(),
            config: map(&config),
        }
    }

    pub(crate) fn plan(&self, hosts: &[String], more: &Value) -> Plan {
        Plan { inputs: vec![self.input(more)], outputs: vec![output(hosts, &json!({}))] }
    }
}

pub(crate) fn output(hosts: &[String], more: &Value) -> OutputUnit {
    let mut config = json!({
        "type": "elasticsearch",
        "hosts": hosts,
        "backoff.init": "10ms",
        "backoff.max": "100ms",
        "queue.mem.flush.timeout": "20ms",
    });
    merge(&mut config, more);
    OutputUnit { name: "default".into(), kind: "elasticsearch".into(), config: map(&config) }
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        into[key] = value.clone();
    }
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(crate) fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("line {number}"))
}

/// Waits until the states are so.
pub(crate) async fn until(collector: &Collector, what: &str, test: impl Fn(&States) -> bool) -> Arc<States> {
    let mut states = collector.states();
    let wait = states.wait_for(|states| test(states));
    let found = tokio::time::timeout(Duration::from_secs(20), wait).await;
    let found = found.map(|states| Arc::clone(&states.unwrap()));
    found.unwrap_or_else(|_| panic!("never came: {what}: {:#?}", collector.states().borrow()))
}

/// The collector dies as a killed process does: nothing is finished, nothing is written any more.
pub(crate) async fn die(collector: Collector) {
    collector.abandon().await;
}
