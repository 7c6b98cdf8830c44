//! Inputs that take what others send, in a whole collector that writes to files.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod collector;

use std::fs;
use std::time::Duration;

use fleet_collect::{Collector, OutputUnit, State, Status};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use collector::{plan, start};

/// Whatever a test waits for comes within this.
const SOON: Duration = Duration::from_secs(30);

/// The state of the sole stream of an input, once it is as wanted.
async fn state(collector: &Collector, input: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut states = collector.states();
    let found = states
        .wait_for(|states| states.inputs.get(input).is_some_and(|unit| unit.streams.values().any(&wanted)));
    let states = tokio::time::timeout(SOON, found).await.expect("the state in time").unwrap().clone();
    states.inputs[input].streams.values().next().unwrap().clone()
}

async fn address(collector: &Collector, input: &str) -> String {
    let status = state(collector, input, |status| status.state == State::Healthy).await;
    status.payload["address"].as_str().unwrap().to_owned()
}

/// The events that have been written, once there are so many.
async fn events(directory: &TempDir, count: usize) -> Vec<Value> {
    let read = || -> Vec<Value> {
        let files =
            fs::read_dir(directory.path().join("out")).into_iter().flatten().map(|file| file.unwrap().path());
        let texts: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
        texts
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let wait = async {
        loop {
            let events = read();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let events = tokio::time::timeout(SOON, wait).await.expect("the events in time");
    assert_eq!(events.len(), count, "{events:#?}");
    events
}

fn tcp(host: &str) -> Value {
    json!({"id": "tcp", "type": "tcp", "streams": [{
        "id": "tcp-1", "host": host, "data_stream": {"dataset": "custom.tcp"},
        "processors": [{"syslog": {"field": "message"}}],
    }]})
}

fn udp(extra: &Value) -> Value {
    let mut stream = json!({"id": "udp-1", "data_stream": {"dataset": "custom.udp"}});
    stream.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"id": "syslog", "type": "syslog", "streams": [stream]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_through_a_whole_collector() {
    let directory = tempfile::tempdir().unwrap();
    let collector = start(&directory).await;
    let sender = json!({"format": "auto", "protocol.udp.host": "127.0.0.1:0"});
    let inputs = [tcp("127.0.0.1:0"), udp(&sender)];
    collector.apply(plan(directory.path(), &inputs)).await;

    let mut stream = TcpStream::connect(address(&collector, "tcp").await).await.unwrap();
    stream.write_all(b"<13>1 2022-01-11T22:14:15.003Z web app 1 - - over tcp\n").await.unwrap();
    let first = events(&directory, 1).await.remove(0);
    assert_eq!(
        (&first["message"], &first["@timestamp"]),
        (&json!("over tcp"), &json!("2022-01-11T22:14:15.003Z"))
    );
    assert_eq!(first["data_stream"]["dataset"], "custom.tcp");
    assert_eq!(first["log"]["source"]["address"], stream.local_addr().unwrap().to_string());
    assert_eq!(first["log"]["syslog"]["appname"], "app");

    // A new plan with the same input does not close its connections.
    let before = address(&collector, "tcp").await;
    collector.apply(plan(directory.path(), &inputs[..1])).await;
    assert_eq!(address(&collector, "tcp").await, before);
    stream.write_all(b"<13>Oct 11 22:14:15 web app: still there\n").await.unwrap();
    assert_eq!(events(&directory, 2).await[1]["message"], "still there");
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_is_told_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let collector = start(&directory).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = taken.local_addr().unwrap().to_string();
    let sender = json!({"protocol.udp.host": "127.0.0.1:0"});
    collector.apply(plan(directory.path(), &[tcp(&host), udp(&sender)])).await;
    let status = state(&collector, "tcp", |status| status.state == State::Failed).await;
    assert!(status.message.contains(&format!("cannot listen on tcp://{host}")), "{}", status.message);

    // Which is nothing to the other one.
    let udp = address(&collector, "syslog").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"<13>Oct 11 22:14:15 web su: hi", udp).await.unwrap();
    assert_eq!(events(&directory, 1).await[0]["process"]["name"], "su");

    drop(taken);
    assert_eq!(address(&collector, "tcp").await, host);
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_wrong_or_unknown_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let collector = start(&directory).await;
    let wrong = json!({"format": "rfc0", "protocol.udp.host": "127.0.0.1:0"});
    collector.apply(plan(directory.path(), &[tcp("nonsense"), udp(&wrong)])).await;
    let status = state(&collector, "tcp", |status| status.state == State::Failed).await;
    assert!(status.message.starts_with("host: \"nonsense\" is not host:port"), "{}", status.message);
    let status = state(&collector, "syslog", |status| status.state == State::Failed).await;
    assert!(status.message.starts_with("format: must be"), "{}", status.message);

    let mut unknown = tcp("127.0.0.1:0");
    unknown["streams"][0]["colour"] = json!("red");
    collector.apply(plan(directory.path(), &[unknown])).await;
    let status = state(&collector, "tcp", |status| status.state == State::Healthy).await;
    assert!(status.message.contains("settings without effect here: colour"), "{}", status.message);
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_while_the_output_was_away_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let collector = start(&directory).await;
    // Nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut away = plan(directory.path(), &[tcp("127.0.0.1:0")]);
    let engine = json!({"type": "elasticsearch", "hosts": [format!("http://{closed}")]});
    away.outputs = vec![OutputUnit {
        name: "default".to_owned(),
        kind: "elasticsearch".to_owned(),
        config: engine.as_object().unwrap().clone(),
    }];
    collector.apply(away).await;
    let mut stream = TcpStream::connect(address(&collector, "tcp").await).await.unwrap();
    for number in 0..100 {
        stream.write_all(format!("<13>Oct 11 22:14:15 web app: m{number}\n").as_bytes()).await.unwrap();
    }
    let taken = async {
        while collector.metrics().events_read < 100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, taken).await.expect("they are read in time");
    collector.stop(Duration::ZERO).await;

    let collector = start(&directory).await;
    collector.apply(plan(directory.path(), &[])).await;
    let events = events(&directory, 100).await;
    let expected: Vec<String> = (0..100).map(|number| format!("m{number}")).collect();
    assert_eq!(events.iter().map(|event| event["message"].as_str().unwrap()).collect::<Vec<_>>(), expected);
    collector.stop(Duration::from_secs(5)).await;
}
