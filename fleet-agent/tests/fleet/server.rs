//! The real server, and somebody who manages it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest time for a server to be ready, and for something to come true.
pub(crate) const COME_TRUE_MAX: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery staple";

/// The server's program.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("fleet-server", "fleet-server"))
}

/// A program of the workspace: built now, unless `FLEET_PROGRAMS` names a folder that has it.
pub(crate) fn build(package: &str, name: &str) -> PathBuf {
    if let Some(given) = std::env::var_os("FLEET_PROGRAMS").map(|folder| PathBuf::from(folder).join(name))
        && given.exists()
    {
        return given;
    }
    let target = Path::new(env!("CARGO_BIN_EXE_fleet-agent")).parent().expect("a folder").to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What cargo tells this test of itself would make build scripts run again.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_"))
    {
        build.env_remove(name);
    }
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_CRATE_NAME", "CARGO_BIN_NAME"] {
        build.env_remove(name);
    }
    let built = build.args(["build", "--locked", "--package", package]).status();
    assert!(built.expect("cargo").success(), "{package} does not build");
    target.join(name)
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// A server that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// None: somebody else runs it.
    child: Option<Child>,
    pub(crate) agents: u16,
    management: u16,
    directory: TempDir,
}

impl Server {
    pub(crate) fn start() -> Server {
        let directory = tempfile::tempdir().expect("a directory");
        write_password(directory.path());
        let (child, agents, management) = spawn(directory.path(), 0, 0);
        Server { child: Some(child), agents, management, directory }
    }

    /// One that is to be run by somebody else, at free ports, with these arguments and this authority.
    pub(crate) fn elsewhere() -> (Server, Vec<String>) {
        let directory = tempfile::tempdir().expect("a directory");
        write_password(directory.path());
        let (agents, management) = (free_port(), free_port());
        let arguments = vec![
            format!("data_dir={}", directory.path().display()),
            format!("admin_password_file={}", directory.path().join("password").display()),
            format!("management.port={management}"),
        ];
        (Server { child: None, agents, management, directory }, arguments)
    }

    /// The same server again, as after a crash.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let (child, _, _) = spawn(self.directory.path(), self.agents, self.management);
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.agents)
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        use http_body_util::{BodyExt, Full};
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", self.management)).await.expect("a connection");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(tcp)).await.expect("HTTP");
        tokio::spawn(connection);
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Basic {}", STANDARD.encode(format!("admin:{PASSWORD}"))))
            .header("kbn-xsrf", "true")
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(if body.is_null() {
                String::new()
            } else {
                body.to_string()
            })))
            .expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, &body).await;
        assert_eq!(status, 200, "POST {path}: {answer}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer
    }

    /// A policy with these settings laid over it. Returns its id and an enrolment key.
    pub(crate) async fn policy(&self, name: &str, overrides: Value) -> (String, String) {
        let body = json!({"name": name, "namespace": "default", "overrides": overrides});
        let made = self.post("/api/fleet/agent_policies", body).await;
        let id = made["item"]["id"].as_str().expect("an id").to_owned();
        let keys = self.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{id}")).await;
        (id, keys["items"][0]["api_key"].as_str().expect("a key").to_owned())
    }

    /// Saves another revision.
    pub(crate) async fn save(&self, id: &str, overrides: Value) -> i64 {
        let body = json!({"name": id, "namespace": "default", "overrides": overrides});
        let (status, answer) = self.ask("PUT", &format!("/api/fleet/agent_policies/{id}"), &body).await;
        assert_eq!(status, 200, "{answer}");
        answer["item"]["revision"].as_i64().expect("a revision")
    }

    /// Waits until the server says of an agent what it should.
    pub(crate) async fn await_agent(&self, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let agent = self.get(&format!("/api/fleet/agents/{id}")).await["item"].take();
            if is(&agent) {
                return agent;
            }
            assert!(began.elapsed() < COME_TRUE_MAX, "the agent is not {what}: {agent:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn action(&self, id: &str, kind: &str, data: Value) -> String {
        let body = json!({"action": {"type": kind, "data": data}});
        let made = self.post(&format!("/api/fleet/agents/{id}/actions"), body).await;
        made["item"]["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until an action has ended, and tells how.
    pub(crate) async fn await_action(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let all = self.get("/api/fleet/agents/action_status?perPage=100").await;
            let found = all["items"].as_array().expect("items").iter().find(|one| one["actionId"] == id);
            if let Some(found) = found.filter(|found| found["status"] != "IN_PROGRESS") {
                return found.clone();
            }
            assert!(began.elapsed() < COME_TRUE_MAX, "the action {id} does not end: {found:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write_password(directory: &Path) {
    let mut password = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(directory.join("password"))
        .expect("a file");
    password.write_all(PASSWORD.as_bytes()).expect("written");
}

fn spawn(directory: &Path, agents: u16, management: u16) -> (Child, u16, u16) {
    let mut child = Command::new(program())
        .current_dir(directory)
        .env_clear()
        .env("FLEET_DATA_DIR", directory)
        .env("FLEET_ADMIN_PASSWORD_FILE", directory.join("password"))
        .args(["-E", "inputs.0.server.host=127.0.0.1"])
        .args(["-E", &format!("inputs.0.server.port={agents}")])
        .args(["-E", &format!("inputs.0.server.internal_port={}", free_port())])
        .args(["-E", &format!("management.port={management}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let stderr = child.stderr.take().expect("a pipe");
    let (lines, found) = mpsc::sync_channel(1);
    let told = Mutex::new(String::new());
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains("fleet-server is running") {
                let _ = lines.try_send(line);
            } else {
                *told.lock().expect("the log") = line;
            }
        }
    });
    let line = found.recv_timeout(COME_TRUE_MAX).expect("the server is ready in time");
    let port = |name: &str| {
        let rest = line.split(&format!("{name}=")).nth(1).expect("an address");
        rest.split_whitespace().next().and_then(|text| text.rsplit(':').next()?.parse().ok()).expect("a port")
    };
    (child, port("agents"), port("management"))
}
