//! A collector that is killed between its answer and its output.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::python::target;
use super::{SOON, input, written};

/// The example program, which carries out a plan.
async fn program() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "fleet-collect", "--example", "collect", "--target-dir"]);
    let built = build.arg(target()).current_dir(env!("CARGO_MANIFEST_DIR")).status().await.unwrap();
    assert!(built.success());
    target().join("debug/examples/collect")
}

/// Starts it with an output; comes back with its address for HTTP.
async fn start(program: &Path, directory: &Path, output: &Value) -> (Child, String) {
    let plan = directory.join("plan.json");
    fs::write(&plan, json!({"inputs": [input("otlp")], "outputs": {"default": output}}).to_string()).unwrap();
    let mut child = Command::new(program);
    child.arg(&plan).arg(directory.join("data")).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let find = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            // All of its streams share the address.
            if line.starts_with("otlp: Healthy takes ") {
                return line.split_once("http://").unwrap().1.to_owned();
            }
        }
        panic!("it ended");
    };
    let address = tokio::time::timeout(SOON, find).await.expect("it listens in time");
    // Nobody may stop reading what it says.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, address)
}

/// Sends a record on a connection; whether it was answered with success. `None`: there was no answer.
async fn send(socket: &mut TcpStream, number: usize) -> Option<bool> {
    let record =
        json!({"timeUnixNano": "1544712660300000000", "body": {"stringValue": format!("m{number}")}});
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).to_string();
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ";
    socket.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"{}") {
        if socket.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
    Some(answer.starts_with(b"HTTP/1.1 200 "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_with_success_is_there_after_a_kill() {
    let program = program().await;
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = json!({"type": "elasticsearch", "hosts": [format!("http://{closed}")]});
    let mut taken = Vec::new();
    for round in 0..3 {
        let answers = Arc::new(AtomicUsize::new(0));
        let (mut child, address) = start(&program, directory.path(), &away).await;
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let (address, answers) = (address.clone(), Arc::clone(&answers));
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    let mut socket = TcpStream::connect(address).await.unwrap();
                    for number in (0..).map(|number| (round * 4 + sender) * 1_000_000 + number) {
                        match send(&mut socket, number).await {
                            Some(success) => assert!(success),
                            // It is dead.
                            None => break,
                        }
                        taken.push(format!("m{number}"));
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    taken
                })
            })
            .collect();
        // In the middle of it.
        let enough = async {
            while answers.load(Ordering::Relaxed) < 100 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, enough).await.expect("answers in time");
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        for sender in senders {
            taken.extend(sender.await.unwrap());
        }
    }

    let out = directory.path().join("out");
    let file = json!({"type": "file", "path": out, "filename": "events"});
    let (_child, _) = start(&program, directory.path(), &file).await;
    let missing = || {
        let there: std::collections::HashSet<String> =
            written(&out).iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect();
        taken.iter().filter(|message| !there.contains(*message)).count()
    };
    let wait = async {
        while missing() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let all = tokio::time::timeout(SOON, wait).await;
    assert!(all.is_ok(), "{} of {} were lost", missing(), taken.len());
}
