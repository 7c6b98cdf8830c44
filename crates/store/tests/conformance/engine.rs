//! Real etcd processes for the tests.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const ETCD: &str = "/usr/bin/etcd";

/// Whether the tests can run etcd. `Err`: why not. Under `CI=true` that is a failure.
pub(crate) fn available() -> Result<(), String> {
    if Path::new(ETCD).exists() {
        return Ok(());
    }
    let reason = format!("{ETCD} is not installed");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}: CI must test every backend");
    Err(reason)
}

/// Runs etcd, and kills it when its own input ends: when the engine is dropped, and also when the test
/// process dies, however it dies. Unless it is told to keep them, it removes the files too: statics are
/// never dropped.
const GUARD: &str = r#"
"$@" >>"$DIRECTORY/log" 2>&1 & pid=$!
echo $pid
read -r word
kill -9 $pid
wait $pid
[ "$word" = keep ] || rm -rf "$DIRECTORY"
"#;

/// What a member is started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// `https` for clients: server certificate, its key, the authority of client certificates.
    pub(crate) tls: Option<(PathBuf, PathBuf, PathBuf)>,
    /// Further arguments.
    pub(crate) arguments: Vec<String>,
}

/// One member of an etcd cluster.
#[derive(Debug)]
pub(crate) struct Member {
    setup: Setup,
    directory: TempDir,
    name: String,
    client_port: u16,
    peer_port: u16,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    guard: Child,
    pid: u32,
}

impl Drop for Running {
    fn drop(&mut self) {
        // This and the end of its input end etcd.
        if let Some(mut input) = self.guard.stdin.take() {
            let _ = input.write_all(b"keep\n");
        }
        let _ = self.guard.wait();
    }
}

/// A port that was free a moment ago. Whoever uses it must bear that it is taken meanwhile.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Member {
    /// A cluster of one.
    pub(crate) fn single(setup: &Setup) -> Member {
        for _ in 0..5 {
            let mut member = Member::new("one", setup.clone());
            let cluster = format!("one={}", member.peer_url());
            member.start(&cluster);
            if member.wait_until_ready() {
                return member;
            }
        }
        panic!("etcd does not start");
    }

    /// A cluster of three, ready.
    pub(crate) fn three(setup: &Setup) -> Vec<Member> {
        for _ in 0..5 {
            let names = ["one", "two", "three"];
            let mut members: Vec<Member> =
                names.iter().map(|name| Member::new(name, setup.clone())).collect();
            let cluster: Vec<String> =
                members.iter().map(|member| format!("{}={}", member.name, member.peer_url())).collect();
            let cluster = cluster.join(",");
            members.iter_mut().for_each(|member| member.start(&cluster));
            if members.iter_mut().all(Member::wait_until_ready) {
                return members;
            }
        }
        panic!("three members of etcd do not start");
    }

    fn new(name: &str, setup: Setup) -> Member {
        Member {
            setup,
            directory: tempfile::tempdir().unwrap(),
            name: name.to_owned(),
            client_port: free_port(),
            peer_port: free_port(),
            running: None,
        }
    }

    fn start(&mut self, cluster: &str) {
        let directory = self.directory.path();
        std::fs::write(directory.join("cluster"), cluster).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard", ETCD]);
        command.args(["--name", &self.name, "--initial-cluster", cluster]);
        command.arg("--data-dir").arg(directory.join("data"));
        let (client, peer) = (self.url(), self.peer_url());
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        // Quick elections make quick tests.
        command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
        command.args(["--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn"]);
        if let Some((cert, key, ca)) = &self.setup.tls {
            command.arg("--cert-file").arg(cert).arg("--key-file").arg(key);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(ca);
        }
        command.args(&self.setup.arguments);
        command
            .env("DIRECTORY", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut guard = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.running = Some(Running { guard, pid: line.trim().parse().unwrap() });
    }

    /// Waits until the member listens, which etcd does once it has joined its cluster.
    fn wait_until_ready(&mut self) -> bool {
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            if TcpStream::connect(("127.0.0.1", self.client_port)).is_ok() {
                return true;
            }
            if self.has_ended() {
                return false;
            }
            nap();
        }
        panic!("etcd is not ready after 30 s:\n{}", self.log());
    }

    fn has_ended(&self) -> bool {
        let pid = self.running.as_ref().map_or(0, |running| running.pid);
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let _ = File::open(self.directory.path().join("log")).map(|mut log| log.read_to_string(&mut text));
        text
    }

    /// Its client URL.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.setup.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    fn signal(&self, signal: &str) {
        let pid = self.running.as_ref().expect("etcd runs").pid;
        let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
        assert!(status.success(), "kill {signal} {pid}");
    }

    /// SIGSTOP: alive for the kernel, silent for everybody else. Returns when every thread has stopped, which
    /// is a little after the signal was sent.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
        let end = Instant::now() + Duration::from_secs(10);
        while !self.is_stopped() {
            assert!(Instant::now() < end, "etcd does not stop");
            nap();
        }
    }

    fn is_stopped(&self) -> bool {
        let pid = self.running.as_ref().expect("etcd runs").pid;
        std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|thread| {
            // A thread that ended meanwhile has no file.
            let stat = thread.unwrap().path().join("stat");
            std::fs::read_to_string(stat).map_or(true, |state| state.contains(") T "))
        })
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.signal("-KILL");
        self.running = None;
    }

    /// Starts it again on the same data and ports.
    pub(crate) fn restart(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
        let cluster = std::fs::read_to_string(self.directory.path().join("cluster")).unwrap();
        for _ in 0..5 {
            self.start(&cluster);
            if self.wait_until_ready() {
                return;
            }
        }
        panic!("etcd does not start again:\n{}", self.log());
    }
}

#[expect(clippy::disallowed_methods, reason = "outside of any runtime, with a bound around it")]
fn nap() {
    std::thread::sleep(Duration::from_millis(10));
}
