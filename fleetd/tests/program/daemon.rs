//! A fleetd that runs.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::bus::Bus;
use crate::{LIMIT, wait_for};

/// A directory with a bus, where fleetd runs, ends and runs again.
pub(crate) struct Machine {
    pub(crate) bus: Bus,
    directory: TempDir,
}

/// A running fleetd.
pub(crate) struct Daemon {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    socket: PathBuf,
    log: PathBuf,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine { bus: Bus::start(directory.path()), directory };
        machine.configure("");
        machine
    }

    /// A path in the machine's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration: what is needed, and some lines more.
    pub(crate) fn configure(&self, more: &str) {
        let path = |name| self.path(name).display().to_string();
        let text = format!(
            "store = embedded\nstore_path = {}\nunits_directory = {}\nsystemd_user = true\n\
             listen = unix:{}\nagent_ttl = 5s\npublic_ip = 192.0.2.1\nverbosity = 1\n{more}",
            path("store"),
            path("run/units"),
            path("fleet.sock"),
        );
        std::fs::write(self.path("fleet.conf"), text).unwrap();
    }

    /// Where fleetd finds the bus, and where it keeps what must not outlive a boot.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("DBUS_SESSION_BUS_ADDRESS", self.bus.address()),
            ("XDG_RUNTIME_DIR", self.path("run").display().to_string()),
        ]
    }

    /// Starts fleetd, and waits until it is a member.
    pub(crate) async fn start(&self) -> Daemon {
        self.start_with(&[]).await
    }

    /// Starts fleetd with some variables more.
    pub(crate) async fn start_with(&self, variables: &[(&str, &str)]) -> Daemon {
        let log = self.path("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_fleetd"))
            .arg("--config")
            .arg(self.path("fleet.conf"))
            .env_clear()
            .envs(self.environment())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut daemon = Daemon { child, stdout, socket: self.path("fleet.sock"), log };
        wait_for("fleetd serves", async || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("{status}: {}", daemon.log());
            }
            let answer = daemon.try_ask("GET", "/fleet/v1/machines", "").await?;
            (answer.0 == 200).then_some(())
        })
        .await;
        daemon
    }
}

impl Daemon {
    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged something.
    pub(crate) async fn wait_for_log(&self, text: &str) {
        let waiting = wait_for(text, async || self.log().contains(text).then_some(()));
        if tokio::time::timeout(LIMIT / 2, waiting).await.is_err() {
            panic!("in vain: {text}\n{}", self.log());
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(LIMIT, self.child.wait()).await.unwrap().unwrap()
    }

    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> String {
        tokio::time::timeout(LIMIT, self.stdout.next_line()).await.unwrap().unwrap().unwrap()
    }

    /// Asks the API: status and body.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        match self.try_ask(method, path, body).await {
            Some(answer) => answer,
            None => panic!("no answer to {method} {path}"),
        }
    }

    /// The JSON of a `GET`.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (_, body) = self.ask("GET", path, "").await;
        serde_json::from_str(&body).unwrap()
    }

    /// Waits until the state of a unit is this.
    pub(crate) async fn wait_for_state(&self, unit: &str, sub: &str) {
        wait_for(&format!("{unit} is {sub}"), async || {
            let state = self.get(&format!("/fleet/v1/state/{unit}")).await;
            (state["systemdSubState"] == sub).then_some(())
        })
        .await;
    }

    async fn try_ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket).await.ok()?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}
