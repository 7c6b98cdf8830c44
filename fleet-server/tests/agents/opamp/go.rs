//! The OpAMP client of OpenTelemetry, in Go, as it is used in collectors.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::{action_status, save_receiver};
use crate::manager::Manager;
use crate::server::Server;

/// The longest time for the client to do what it is to do.
const LINE_MAX: Duration = Duration::from_secs(20);

/// The oldest Go that can build the client: 1.25.
const OLDEST_MINOR: u32 = 25;

/// Whether the client can be built. `Err`: why not. Under `CI=true` that is a failure.
fn available() -> Result<(), String> {
    let answer = Command::new("go").args(["env", "GOVERSION"]).output();
    let version =
        answer.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned()).unwrap_or_default();
    let minor = version.strip_prefix("go1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= OLDEST_MINOR) {
        return Ok(());
    }
    let reason = format!("Go 1.{OLDEST_MINOR} or newer is not installed ({version:?})");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}: CI must test the real client");
    Err(reason)
}

/// Builds the program. Go keeps what it has built: another time takes no time.
fn build() -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("opamp-collector");
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/opamp-go"))
        .output()
        .expect("go");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

/// The program, running.
struct Collector {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    id: String,
}

impl Collector {
    fn start(program: &Path, server: &Server, scheme: &str, key: &str) -> Collector {
        let uid = uuid::Uuid::new_v4();
        let mut child = Command::new(program)
            .args(["-url", &format!("{scheme}://localhost:{}/v1/opamp", server.agents_port())])
            .arg("-ca")
            .arg(server.ca())
            .args(["-key", key, "-uid", &uid.simple().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Collector { child, input, lines, id: uid.to_string() }
    }

    /// The next line that begins with `word`.
    fn await_line(&self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LINE_MAX).unwrap_or_else(|error| panic!("no {word}: {error}"));
            assert!(!line.starts_with("error"), "{line}");
            if line.starts_with(word) {
                return line;
            }
        }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("a pipe"), "{line}").expect("written");
    }

    /// Ends it as a person would.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().expect("the program").success());
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_opentelemetry_is_served_over_both_transports() {
    if let Err(reason) = available() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let program = build();
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    for scheme in ["https", "wss"] {
        let (policy, key) = manager.make_policy(scheme).await;
        let mut collector = Collector::start(&program, &server, scheme, &key);
        collector.await_line("connected");
        let id = collector.id.clone();
        await_listed(&manager, &policy).await;
        let is_there = |agent: &Value| agent["status"] == "online" && !agent["effective_config"].is_null();
        let shown = manager.await_agent(&id, "there", is_there).await;
        assert_eq!(shown["type"], "OPAMP");
        assert_eq!((&shown["tags"], &shown["agent"]["version"]), (&json!(["opamp-go"]), &json!("1.2.3")));
        let health = &shown["health"];
        assert_eq!((&health["healthy"], &health["status"]), (&json!(true), &json!("StatusOK")));
        assert!(!shown.to_string().contains("hunter2"), "{shown}");

        let revision = save_receiver(&manager, &policy, "otlp").await;
        assert!(collector.await_line("config").contains(r#""receivers":{"otlp":{}}"#));
        let runs = |agent: &Value| {
            agent["policy_revision"] == revision
                && agent["effective_config"]["receivers"].get("otlp").is_some()
        };
        let shown = manager.await_agent(&id, "configured", runs).await;
        assert_eq!(shown["remote_config_status"]["status"], "APPLIED");

        let broken = save_receiver(&manager, &policy, "broken").await;
        collector.await_line("config");
        let failed = |agent: &Value| agent["policy_failure"]["revision"] == broken;
        let shown = manager.await_agent(&id, "failed", failed).await;
        assert_eq!(shown["policy_failure"]["error"], "unknown receiver: broken");

        collector.tell("ill no disk");
        let shown = manager.await_agent(&id, "ill", |agent| agent["status"] == "error").await;
        assert_eq!(shown["last_checkin_message"], "no disk");
        collector.tell("well");
        manager.await_agent(&id, "well", |agent| agent["status"] == "online").await;

        let restart = manager.action(&id, "RESTART", json!({})).await;
        collector.await_line("restart");
        await_complete(&manager, &restart).await;
        collector.end();
    }
}

/// Waits until an action is done.
async fn await_complete(manager: &Manager, action: &str) {
    let began = tokio::time::Instant::now();
    while action_status(manager, action).await != "COMPLETE" {
        assert!(began.elapsed() < LINE_MAX, "{action} is not done");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the policy has a collector.
async fn await_listed(manager: &Manager, policy: &str) {
    let began = tokio::time::Instant::now();
    let path = format!("/api/fleet/agents?kuery=policy_id:{policy}");
    while manager.get(&path).await["total"] != 1 {
        assert!(began.elapsed() < LINE_MAX, "no collector is listed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
