//! Booting a tree with systemd-nspawn and waiting until its systemd says that it is up.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::UnixDatagram;

use crate::error::HarnessError;

/// How long a machine may take until its systemd has started everything.
const BOUND: Duration = Duration::from_secs(90);

/// What to boot.
#[derive(Debug)]
pub(crate) struct Boot<'a> {
    /// The machine's host name.
    pub(crate) name: &'a str,
    /// Its file tree.
    pub(crate) root: &'a Path,
    /// For its console log and the socket that hears of its readiness.
    pub(crate) folder: &'a Path,
    /// The network namespace to boot in.
    pub(crate) network: &'a str,
    /// A shell prefix that enters its cgroup.
    pub(crate) enter: Vec<String>,
    /// The folder on the host that is seen, read-only, at `/opt/fleet`.
    pub(crate) programs: &'a Path,
}

/// A machine that is up.
#[derive(Debug)]
pub(crate) struct Booted {
    /// systemd-nspawn.
    pub(crate) supervisor: Child,
    /// The process on this host that is process 1 in the machine.
    pub(crate) leader: u32,
}

impl Boot<'_> {
    /// Boots and waits. systemd-nspawn passes on what the machine's systemd says to `NOTIFY_SOCKET`: that is an
    /// event, so nothing is polled and nothing is slept for.
    pub(crate) async fn run(self) -> Result<Booted, HarnessError> {
        let path = self.folder.join("notify");
        if path.exists() {
            std::fs::remove_file(&path).map_err(HarnessError::file("remove", &path))?;
        }
        let socket = UnixDatagram::bind(&path).map_err(HarnessError::file("bind", &path))?;
        let mut supervisor = self.spawn(&path)?;
        let (mut leader, mut ready) = (None, false);
        let started = Instant::now();
        let mut buffer = vec![0_u8; 4096];
        loop {
            if let (Some(leader), true) = (leader, ready) {
                return Ok(Booted { supervisor, leader });
            }
            if let Some(status) = supervisor.try_wait().map_err(HarnessError::file("await", self.folder))? {
                let (machine, console) = (self.name.to_owned(), self.console());
                return Err(HarnessError::DiedBooting { machine, status: status.to_string(), console });
            }
            if started.elapsed() > BOUND {
                supervisor.kill().ok();
                supervisor.wait().ok();
                let what = format!("machine {} boots", self.name);
                return Err(HarnessError::TimedOut { what, bound: BOUND, last: self.console() });
            }
            // Looks up now and then to see whether the supervisor still lives.
            let news = tokio::time::timeout(Duration::from_millis(250), socket.recv(&mut buffer)).await;
            let Ok(Ok(length)) = news else { continue };
            for line in String::from_utf8_lossy(&buffer[..length]).lines() {
                ready |= line == "READY=1";
                if let Some(number) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                    leader = number.parse().ok();
                }
            }
        }
    }

    fn spawn(&self, notify: &Path) -> Result<Child, HarnessError> {
        let path = self.folder.join("console.log");
        let log = File::create(&path).map_err(HarnessError::file("create", &path))?;
        let log_too = log.try_clone().map_err(HarnessError::file("share", &path))?;
        let mut words = self.enter.iter();
        let mut command = Command::new(words.next().map_or("systemd-nspawn", String::as_str));
        command
            .args(words)
            .args(["systemd-nspawn", "--quiet", "--boot", "--notify-ready=yes"])
            // No systemd on the host is asked for anything: it need not have one.
            .args(["--register=no", "--keep-unit"])
            .args(["--link-journal=no", "--resolv-conf=off", "--timezone=off"])
            .arg(format!("--directory={}", self.root.display()))
            .arg(format!("--machine={}", self.name))
            .arg(format!("--network-namespace-path={}", self.network))
            .arg(format!("--bind-ro={}:/opt/fleet", self.programs.display()))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("NOTIFY_SOCKET", notify)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .process_group(0);
        command.spawn().map_err(|source| HarnessError::Spawn { command: "systemd-nspawn".to_owned(), source })
    }

    fn console(&self) -> String {
        let bytes = std::fs::read(self.folder.join("console.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}
