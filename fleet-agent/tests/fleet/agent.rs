//! The program under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::{COME_TRUE_MAX, Server};

/// An agent with a home of its own; its process is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    home: TempDir,
    child: Option<Child>,
    program: PathBuf,
}

impl Agent {
    pub(crate) fn new() -> Agent {
        let program = env!("CARGO_BIN_EXE_fleet-agent").into();
        Agent { home: tempfile::tempdir().expect("a directory"), child: None, program }
    }

    /// One that runs, has enrolled and runs the first revision of its policy; and its id.
    pub(crate) async fn online(server: &Server, key: &str) -> (Agent, String) {
        let mut agent = Agent::new();
        let id = agent.enroll(server, key, &[]);
        agent.run();
        server
            .await_agent(&id, "online", |agent| agent["status"] == "online" && agent["policy_revision"] == 1)
            .await;
        (agent, id)
    }

    /// Runs another program from now on.
    pub(crate) fn use_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Runs a verb beside; it ends with the test.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Verb {
        let child =
            self.command(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Verb(child.expect("the program starts"))
    }

    /// Waits until it has ended, well or not.
    pub(crate) async fn await_end(&mut self, well: bool) {
        let mut child = self.child.take().expect("a process");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("the process") {
                assert_eq!(status.success(), well, "{status}\n{}", self.log());
                return;
            }
            assert!(began.elapsed() < COME_TRUE_MAX, "it does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn state_file(&self, name: &str) -> PathBuf {
        self.home().join("data/state").join(format!("{name}.sealed"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("TEST_SECRET_NAME", "from-the-environment");
        command.args(arguments).arg("--path.home").arg(self.home());
        command
    }

    /// Runs a verb to its end.
    pub(crate) fn verb(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the program runs")
    }

    /// The same, which must go well. Returns what it said.
    pub(crate) fn well(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}{complained}");
        said
    }

    /// Enrols; returns the agent's id.
    pub(crate) fn enroll(&self, server: &Server, key: &str, more: &[&str]) -> String {
        let (url, ca) = (server.url(), server.ca());
        let ca = ca.to_str().expect("a path");
        let mut arguments = vec!["enroll", "--url", &url, "-t", key, "-a", ca, "--enroll-timeout", "20s"];
        arguments.extend(more);
        let said = self.well(&arguments);
        let id = said.lines().find_map(|line| line.strip_prefix("Successfully enrolled the agent: "));
        id.expect("an id").to_owned()
    }

    /// Starts it.
    pub(crate) fn run(&mut self) {
        self.run_as(&["run", "-e"], &[]);
    }

    /// Starts it by another verb, in this environment.
    pub(crate) fn run_as(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        let log = fs::File::options().create(true).append(true).open(self.home().join("log")).expect("a log");
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        let child = command.stdin(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.expect("the program starts"));
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home().join("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a process").id()
    }

    /// The process of this name that it has started.
    pub(crate) fn child(&self, name: &str) -> Option<u32> {
        let parent = self.pid().to_string();
        let end = format!("({name}");
        let processes = fs::read_dir("/proc").expect("processes");
        let mut processes = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        processes.find_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (before, rest) = stat.rsplit_once(')')?;
            let is_it = before.ends_with(&end) && rest.split_whitespace().nth(1)? == parent;
            is_it.then(|| pid.parse().ok())?
        })
    }

    /// As if the power failed.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop; it must do so well and soon.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("a process");
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(asked.expect("kill").success());
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("the process") {
                assert!(status.success(), "{status}\n{}", self.log());
                return;
            }
            assert!(began.elapsed() < COME_TRUE_MAX, "it does not stop:\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// How it says it is; `None`: nobody answers.
    pub(crate) fn status(&self) -> Option<Value> {
        serde_json::from_slice(&self.verb(&["status", "-o", "json"]).stdout).ok()
    }

    /// Waits until it says of itself what it should.
    pub(crate) async fn await_status(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status();
            if let Some(status) = status.as_ref().filter(|status| is(status)) {
                return status.clone();
            }
            assert!(began.elapsed() < COME_TRUE_MAX, "it is not {what}: {status:#?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A verb that runs beside.
#[derive(Debug)]
pub(crate) struct Verb(Child);

impl Drop for Verb {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}
