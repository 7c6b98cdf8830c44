//! A user, a cluster, and a real SSH server between them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::fleet::Fleet;
use crate::server::Server;
use crate::sshd::{Sshd, keygen, user};

/// Longer than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A server, a cluster whose machines are all at that server, and a user with a home.
pub(crate) struct World {
    pub(crate) sshd: Sshd,
    pub(crate) home: TempDir,
    pub(crate) endpoint: String,
    pub(crate) agent: Option<PathBuf>,
}

pub(crate) struct Ended {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl World {
    /// A user with an accepted ed25519 key file, who knows the server.
    pub(crate) async fn new() -> World {
        let world = World::bare().await;
        world.add_key("ed25519");
        world.know("ed25519");
        world
    }

    /// A user without keys, who knows nobody.
    pub(crate) async fn bare() -> World {
        let sshd = Sshd::start().await;
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        let fleet =
            Fleet::with(&[("hello.service", "launched"), ("off.service", "inactive")]).at("127.0.0.1");
        fleet.add("global.service", "launched", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n");
        let socket = sshd.path("fleet.sock");
        let endpoint = Server::unix(&socket, move |request| fleet.answer(request)).endpoint;
        World { sshd, home, endpoint, agent: None }
    }

    pub(crate) fn add_key(&self, kind: &str) -> PathBuf {
        let path = self.home.path().join(format!(".ssh/id_{kind}"));
        keygen(&path, kind);
        self.sshd.authorize(&path);
        path
    }

    pub(crate) fn know(&self, kind: &str) {
        self.write_known_hosts(&format!("{} {}\n", self.sshd.name(), self.sshd.host_key(kind)));
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.home.path().join(".fleetctl/known_hosts")
    }

    pub(crate) fn write_known_hosts(&self, text: &str) {
        std::fs::create_dir_all(self.home.path().join(".fleetctl")).unwrap();
        std::fs::write(self.known_hosts(), text).unwrap();
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        if let Some(agent) = &self.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        command.args(["--endpoint", &self.endpoint, "--ssh-username", &user()]).args(words);
        command.kill_on_drop(true);
        command
    }

    /// Runs the client with this standard input.
    pub(crate) async fn run_with(&self, words: &[&str], input: &str) -> Ended {
        run_command(self.command(words), input).await
    }

    pub(crate) async fn run(&self, words: &[&str]) -> Ended {
        self.run_with(words, "").await
    }

    /// Runs a command on the machine of the cluster.
    pub(crate) async fn ssh(&self, words: &[&str]) -> Ended {
        let port = self.sshd.port.to_string();
        let mut all = vec!["ssh", "--ssh-port", &port, "hello.service"];
        all.extend(words);
        self.run(&all).await
    }

    pub(crate) async fn start_agent(&mut self, keys: &[&Path]) -> Agent {
        let agent = Agent::start().await;
        for key in keys {
            let added = std::process::Command::new("ssh-add")
                .arg("-q")
                .arg(key)
                .env("SSH_AUTH_SOCK", &agent.socket)
                .status();
            assert!(added.unwrap().success());
        }
        self.agent = Some(agent.socket.clone());
        agent
    }
}

/// Runs a program with this standard input.
pub(crate) async fn run_command(mut command: Command, input: &str) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not read its input may have ended before.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    Ended {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

pub(crate) struct Agent {
    child: std::process::Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Agent {
    pub(crate) async fn start() -> Agent {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent");
        let child = std::process::Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn();
        let agent = Agent { child: child.unwrap(), socket, _directory: directory };
        timeout(LIMIT, async {
            while tokio::net::UnixStream::connect(&agent.socket).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
