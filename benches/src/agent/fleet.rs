//! fleet-agent as a person runs it: a fleet-server, a policy, enrolled, running.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::program;
use super::shipper::{Shipper, make};
use super::sink::Sink;
use crate::agents::StoreKind;
use crate::agents::server::{Place, Server, free_port};
use crate::agents::store::Store;
use crate::error::BenchError;
use crate::wait::{Look, until};

const POLICIES: &str = "/api/fleet/agent_policies";
/// The longest time for an enrolment, and for a policy to be carried out.
const SOON: Duration = Duration::from_secs(60);

/// A server with policies for agents of the benchmark.
pub(super) struct Fleet {
    server: Server,
    url: String,
    authority: PathBuf,
    folder: PathBuf,
}

/// What an agent's policy says beside its integrations.
pub(super) struct Policy<'a> {
    pub(super) id: &'a str,
    /// Where events go.
    pub(super) engine: &'a str,
    pub(super) gzip: bool,
    /// Inputs, besides those of integrations.
    pub(super) inputs: Value,
    /// Where the agent can be asked how it is.
    pub(super) port: u16,
}

impl Policy<'_> {
    fn body(&self) -> Value {
        let level = i32::from(self.gzip);
        let mut overrides = json!({
            "outputs": {"default": {"hosts": [self.engine], "compression_level": level}},
            "agent": {"monitoring": {"http": {"enabled": true, "host": "127.0.0.1", "port": self.port}}},
        });
        if self.inputs.is_array() {
            overrides["inputs"] = self.inputs.clone();
        }
        json!({
            "name": self.id,
            "namespace": "default",
            "monitoring_enabled": ["logs", "metrics"],
            "overrides": overrides,
        })
    }
}

/// An input that ships the files `*.log` of a folder.
pub(super) fn files(id: &str, folder: &Path) -> Value {
    json!({
        "id": id, "type": "filestream", "use_output": "default", "data_stream": {"namespace": "default"},
        "streams": [{
            "id": format!("{id}-stream"),
            "data_stream": {"dataset": "bench", "type": "logs"},
            "paths": [folder.join("*.log")],
            "prospector": {"scanner": {"check_interval": "1s"}},
        }],
    })
}

impl Fleet {
    /// Starts a server with its files in `folder`.
    pub(super) async fn start(folder: &Path) -> Result<Fleet, BenchError> {
        let place = folder.join("server");
        make(&place)?;
        let store = Store::start(StoreKind::Embedded, &place).await?;
        let place = Place::new(&program("fleet-server")?, &place, &store, &[])?;
        let (server, _) = place.start().await?;
        let (url, authority) = place.agents();
        Ok(Fleet { server, url, authority, folder: folder.to_owned() })
    }

    /// Makes a policy; its enrolment key.
    pub(super) async fn policy(&mut self, policy: &Policy<'_>) -> Result<String, BenchError> {
        let mut body = policy.body();
        body["id"] = policy.id.into();
        let _: Value = self.server.management.post(POLICIES, body.to_string()).await?;
        let path = format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{}", policy.id);
        let keys: Value = self.server.management.get(&path).await?;
        let key = keys["items"][0]["api_key"].as_str();
        key.map(str::to_owned).ok_or_else(|| BenchError::Wrong("the policy has no enrolment key".to_owned()))
    }

    /// Saves a policy again; its revision.
    pub(super) async fn save(&mut self, policy: &Policy<'_>) -> Result<u64, BenchError> {
        let path = format!("{POLICIES}/{}", policy.id);
        let body = self.server.management.ask("PUT", &path, Some(policy.body().to_string())).await?;
        let saved: Value =
            serde_json::from_slice(&body).map_err(|source| BenchError::Answer { url: path, source })?;
        let revision = saved["item"]["revision"].as_u64();
        revision.ok_or_else(|| BenchError::Wrong("a policy was saved without a revision".to_owned()))
    }

    /// Adds an integration with all that it has by itself.
    pub(super) async fn integrate(&mut self, policy: &str, package: &str) -> Result<(), BenchError> {
        let shown: Value = self.server.management.get(&format!("/api/fleet/epm/packages/{package}")).await?;
        let body = json!({
            "name": format!("{policy}-{package}"),
            "policy_ids": [policy],
            "package": {"name": package, "version": shown["item"]["latestVersion"]},
            "inputs": {},
        });
        let _: Value = self.server.management.post("/api/fleet/package_policies", body.to_string()).await?;
        Ok(())
    }

    /// Enrols an agent and runs it, until it is well.
    pub(super) async fn agent(
        &self,
        name: &str,
        key: &str,
        (folder, sink): (&Path, &Sink),
        port: u16,
    ) -> Result<Shipper, BenchError> {
        let (home, agent) = (self.folder.join(format!("{name}-home")), program("fleet-agent")?);
        make(&home)?;
        make(folder)?;
        let mut enroll = Command::new(&agent);
        enroll.args(["enroll", "--url", &self.url, "-t", key, "--skip-daemon-reload", "-a"]);
        enroll.arg(&self.authority).arg("--path.home").arg(&home);
        let output = enroll.output().await.map_err(BenchError::file("run", &agent))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(BenchError::Wrong(format!("the agent cannot enrol: {said}")));
        }
        let mut run = Command::new(&agent);
        run.arg("run").arg("--path.home").arg(&home);
        let note = "filestream, elasticsearch: host, agent and ECS fields, an id for each document";
        let shipper = Shipper::start("fleet-agent", note, (folder, sink), &mut run)?;
        well(port, 1).await?;
        Ok(shipper)
    }

    /// Ends the server.
    pub(super) async fn stop(self) -> Result<(), BenchError> {
        self.server.stop().await
    }
}

/// A port on which an agent can be asked.
pub(super) fn port() -> Result<u16, BenchError> {
    free_port()
}

/// Waits until the agent carries out this revision and says that all of it is well. How long it took.
pub(super) async fn well(port: u16, revision: u64) -> Result<Duration, BenchError> {
    let began = Instant::now();
    let what = format!("the agent is well with revision {revision}");
    until(&what, SOON, Duration::from_millis(1), async || {
        // It does not listen before its first policy.
        let Ok(text) = ask(port).await else { return Ok(Look::NotYet("nobody answers".to_owned())) };
        let Some(body) = text.split("\r\n\r\n").nth(1) else { return Ok(Look::NotYet(text)) };
        let told: Value = serde_json::from_str(body).unwrap_or_default();
        let is_there = told["policy_revision"].as_u64().is_some_and(|now| now >= revision);
        let is_well = told["status"].as_str() == Some("online");
        Ok(if is_there && is_well { Look::Found(began.elapsed()) } else { Look::NotYet(text) })
    })
    .await
}

async fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /liveness HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}
