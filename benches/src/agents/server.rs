//! The server that is measured: a process of its own, started, asked and stopped as a person would.

use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::body;
use super::link::Target;
use super::store::Store;
use crate::client::Client;
use crate::error::BenchError;
use crate::process::Process;
use crate::wait::{Look, until};

const PASSWORD: &str = "a password of the benchmark";
/// The policy of the agents.
pub(crate) const POLICY: &str = "bench";
/// A start takes no longer, even with a store that is large.
const START: Duration = Duration::from_secs(60);

/// Where a server runs and what it is given.
pub(crate) struct Place {
    program: PathBuf,
    folder: PathBuf,
    options: Vec<String>,
    port: u16,
    management: u16,
    internal: u16,
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    process: Process,
    pub(in crate::agents) target: Target,
    pub(crate) management: Client,
}

/// How far an action is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActionStatus {
    pub(crate) nb_agents_action_created: u64,
    pub(crate) nb_agents_ack: u64,
    pub(crate) nb_agents_failed: u64,
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> Result<u16, BenchError> {
    let listener =
        TcpListener::bind("127.0.0.1:0").map_err(BenchError::file("bind a port of", "127.0.0.1"))?;
    listener
        .local_addr()
        .map(|address| address.port())
        .map_err(BenchError::file("ask a port of", "127.0.0.1"))
}

impl Place {
    /// A place for `program` with its files in `folder`.
    pub(crate) fn new(
        program: &Path,
        folder: &Path,
        store: &Store,
        options: &[String],
    ) -> Result<Place, BenchError> {
        let password = folder.join("password");
        let written =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&password);
        written
            .and_then(|mut file| std::io::Write::write_all(&mut file, PASSWORD.as_bytes()))
            .map_err(BenchError::file("write", password))?;
        let mut all = store.options();
        all.extend_from_slice(options);
        Ok(Place {
            program: program.to_owned(),
            folder: folder.to_owned(),
            options: all,
            port: free_port()?,
            management: free_port()?,
            internal: free_port()?,
        })
    }

    /// Where agents reach it, and the file of the authority that they need for it.
    pub(crate) fn agents(&self) -> (String, PathBuf) {
        (format!("https://localhost:{}", self.port), self.folder.join("data/ca.pem"))
    }

    /// Starts the server. Returns how long it took until it said that it serves.
    pub(crate) async fn start(&self) -> Result<(Server, Duration), BenchError> {
        let path = self.folder.join("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(BenchError::file("open", &path))?;
        let mut options = vec![
            format!("inputs.0.server.port={}", self.port),
            format!("inputs.0.server.internal_port={}", self.internal),
            format!("management.port={}", self.management),
            // Nobody is left who would ask when it is stopped.
            "inputs.0.server.timeouts.drain=1s".to_owned(),
        ];
        options.extend_from_slice(&self.options);
        let mut command = Command::new(&self.program);
        command
            .args(options.iter().flat_map(|option| ["-E", option]))
            .env("FLEET_DATA_DIR", self.folder.join("data"))
            .env("FLEET_ADMIN_PASSWORD_FILE", self.folder.join("password"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let began = Instant::now();
        let mut child = command.spawn().map_err(BenchError::file("run", &self.program))?;
        let ca = self.folder.join("data/ca.pem");
        let mut target = None;
        let ready = until("the server is ready", START, Duration::from_millis(2), async || {
            if let Ok(Some(status)) = child.try_wait() {
                let advice = format!("the server ended with {status}: see {}", path.display());
                return Err(BenchError::Wrong(advice));
            }
            if target.is_none() && ca.exists() {
                target = Target::new(&ca, self.port).ok();
            }
            let Some(target) = &target else { return Ok(Look::NotYet("no authority".to_owned())) };
            match status(target).await {
                Ok(200) => Ok(Look::Found(began.elapsed())),
                Ok(status) => Ok(Look::NotYet(format!("status {status}"))),
                Err(error) => Ok(Look::NotYet(error.to_string())),
            }
        })
        .await?;
        let (Some(target), Some(pid)) = (target, child.id()) else {
            return Err(BenchError::Wrong("the server is gone".to_owned()));
        };
        let endpoint = format!("http://127.0.0.1:{}", self.management);
        let management = Client::new(&endpoint).with_basic("admin", PASSWORD);
        Ok((Server { child, process: Process::new(pid), target, management }, ready))
    }
}

/// Asks for the status, as a probe does.
async fn status(target: &Target) -> std::io::Result<u16> {
    let mut link = target.connect(0).await?;
    let head = body::head("GET", "/api/status", "", 0, 0, false);
    let head: String =
        head.split_inclusive("\r\n").filter(|line| !line.starts_with("Authorization")).collect();
    link.send(head.as_bytes()).await?;
    Ok(link.answer().await?.status)
}

impl Server {
    /// Its process.
    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// Stops it, and waits for its end.
    pub(crate) async fn stop(mut self) -> Result<(), BenchError> {
        self.process.terminate().await?;
        match tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(BenchError::Wrong(format!("the server ended with {status}"))),
            Ok(Err(error)) => Err(BenchError::Wrong(format!("the server's end is not known: {error}"))),
            Err(_) => Err(BenchError::Wrong("the server did not stop within 30 s".to_owned())),
        }
    }

    /// Makes the policy and returns its enrolment key.
    pub(crate) async fn make_policy(&mut self, size: usize) -> Result<String, BenchError> {
        let mut body = policy(size, 0);
        body["id"] = POLICY.into();
        let _: Value = self.management.post("/api/fleet/agent_policies", body.to_string()).await?;
        let path = format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{POLICY}");
        let keys: Value = self.management.get(&path).await?;
        let key = keys["items"][0]["api_key"].as_str();
        key.map(str::to_owned).ok_or_else(|| BenchError::Wrong("the policy has no enrolment key".to_owned()))
    }

    /// Saves the next revision of the policy and returns it.
    pub(crate) async fn save_policy(&mut self, size: usize, version: usize) -> Result<u64, BenchError> {
        let path = format!("/api/fleet/agent_policies/{POLICY}");
        let body = self.management.ask("PUT", &path, Some(policy(size, version).to_string())).await?;
        let saved: Value = serde_json::from_slice(&body)
            .map_err(|source| BenchError::Answer { url: path.clone(), source })?;
        let revision = saved["item"]["revision"].as_u64();
        revision.ok_or_else(|| BenchError::Wrong("a policy was saved without a revision".to_owned()))
    }

    /// Asks agents for their diagnostics. `agents` is a query, or a list of ids. Returns the action's id.
    pub(crate) async fn ask_agents(&mut self, agents: &Value) -> Result<String, BenchError> {
        let body = json!({"agents": agents}).to_string();
        let answer: Value = self.management.post("/api/fleet/agents/bulk_request_diagnostics", body).await?;
        let id = answer["actionId"].as_str();
        id.map(str::to_owned).ok_or_else(|| BenchError::Wrong("an action has no id".to_owned()))
    }

    /// How far an action is.
    pub(crate) async fn action_status(&mut self, id: &str) -> Result<ActionStatus, BenchError> {
        let url = "/api/fleet/agents/action_status?perPage=100";
        let all: Value = self.management.get(url).await?;
        let items = all["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = items.iter().find(|item| item["actionId"] == id).cloned().unwrap_or_default();
        serde_json::from_value(found).map_err(|source| BenchError::Answer { url: url.to_owned(), source })
    }
}

/// A policy that is `size` bytes large when it is rendered, more or less; `version` makes it differ.
fn policy(size: usize, version: usize) -> Value {
    let mut inputs = Vec::new();
    let mut length = 0;
    while length + 900 < size {
        let number = inputs.len();
        let streams: Vec<Value> = ["auth", "syslog"]
            .iter()
            .map(|name| {
                json!({
                    "id": format!("logfile-system.{name}-{number:08}-5c1e-4e0b-9a57"),
                    "data_stream": {"dataset": format!("system.{name}"), "type": "logs"},
                    "ignore_older": "72h",
                    "paths": [format!("/var/log/{name}.{number}.log*"), format!("/var/log/{name}/{number}/*.log")],
                    "exclude_files": ["\\.gz$"],
                    "multiline": {"pattern": "^\\s", "match": "after"},
                    "tags": [format!("system-{name}"), format!("site-{}", number * 7919 % 1000)],
                    "processors": [{"add_locale": null}],
                })
            })
            .collect();
        let input = json!({
            "id": format!("logfile-system-{number:08}-9d3b-4f6d-b0b1"),
            "name": format!("system-{number}"),
            "revision": version,
            "type": "logfile",
            "use_output": "default",
            "meta": {"package": {"name": "system", "version": "1.60.0"}},
            "data_stream": {"namespace": "default"},
            "streams": streams,
        });
        length += input.to_string().len();
        inputs.push(input);
    }
    json!({
        "name": "Benchmark",
        "namespace": "default",
        "description": format!("version {version}"),
        "overrides": {"inputs": inputs},
    })
}
