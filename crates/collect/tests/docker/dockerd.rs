//! A Docker engine of a test's own, with an image made of this machine's shell.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// It is ready, and ends, within this.
const BOUND: Duration = Duration::from_secs(60);

/// What containers of these tests are made of.
const PROGRAMS: [&str; 2] = ["/bin/sh", "/bin/sleep"];

/// The image's name.
pub(crate) const IMAGE: &str = "fleet-test:1";

pub(crate) struct Engine {
    child: Child,
    directory: TempDir,
}

/// Whether there is an engine to test with. Under `CI=true` its absence is a failure.
pub(crate) fn is_there() -> bool {
    let found = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        std::env::split_paths(&path).chain(usual).any(|folder| folder.join(program).exists())
    };
    let reason = match ["dockerd", "docker"].into_iter().find(|program| !found(program)) {
        Some(program) => format!("{program} is missing: install docker.io"),
        None if !rustix::process::geteuid().is_root() => "only root can run dockerd".to_owned(),
        None => return true,
    };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
    eprintln!("SKIPPED: {reason}");
    false
}

impl Engine {
    /// Starts it, without a network, and makes the image.
    pub(crate) async fn start() -> Engine {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("config.json"), "{}").unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("dockerd")
            .env("PATH", path)
            .args(["--bridge=none", "--iptables=false", "--storage-driver=vfs"])
            .arg("--config-file")
            .arg(at("config.json"))
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg(format!("--host=unix://{}", at("docker.sock").display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut engine = Engine { child, directory };
        let begun = Instant::now();
        while !engine.command(&["version"]).output().unwrap().status.success() {
            let is_over = engine.child.try_wait().unwrap().is_some() || begun.elapsed() > BOUND;
            assert!(!is_over, "{}", std::fs::read_to_string(engine.directory.path().join("log")).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        engine.import();
        engine
    }

    /// The engine's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// The folder with a folder of logs for each container.
    pub(crate) fn containers(&self) -> PathBuf {
        self.directory.path().join("data/containers")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env_remove("DOCKER_CONTEXT").arg("--host").arg(format!("unix://{}", self.socket().display()));
        command.args(arguments);
        command
    }

    /// What the engine's own client says.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A container that runs a script; its id.
    pub(crate) fn run(&self, name: &str, script: &str) -> String {
        let label = "--label=com.example.team=shop";
        self.docker(&[
            "run",
            "--detach",
            "--network=none",
            "--name",
            name,
            label,
            IMAGE,
            "/bin/sh",
            "-c",
            script,
        ])
    }

    fn import(&self) {
        let mut files: BTreeSet<String> = PROGRAMS.map(str::to_owned).into();
        let libraries = Command::new("ldd").args(PROGRAMS).output().unwrap();
        let libraries = String::from_utf8(libraries.stdout).unwrap();
        files.extend(libraries.split_whitespace().filter(|word| word.starts_with("/lib")).map(str::to_owned));
        let relative = files.iter().map(|file| file.trim_start_matches('/').trim_end_matches(':'));
        let archive = Command::new("tar").args(["-chf", "-", "-C", "/"]).args(relative).output().unwrap();
        assert!(archive.status.success(), "{archive:?}");
        let mut import = self.command(&["import", "-", IMAGE]);
        let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        import.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
        assert!(import.wait().unwrap().success());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Containers would outlive their engine.
        if let Ok(listed) = self.command(&["ps", "--all", "--quiet"]).output() {
            let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
            let ids: Vec<&str> = ids.split_whitespace().collect();
            if !ids.is_empty() {
                let _ = self.command(&["rm", "--force"]).args(ids).output();
            }
        }
        end(&mut self.child);
    }
}

/// Ends the engine and what it has started.
fn end(child: &mut Child) {
    let Ok(id) = i32::try_from(child.id()) else { return };
    if let Some(pid) = Pid::from_raw(id) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < BOUND {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// The place of a folder among those of a path, as `match_source_index` counts.
pub(crate) fn depth(folder: &Path) -> usize {
    folder.components().filter(|part| matches!(part, std::path::Component::Normal(_))).count()
}
