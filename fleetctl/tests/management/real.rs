//! A real `fleet-server`: the program that is built beside ours.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Run, User};

const PASSWORD: &str = "correct horse battery staple";
/// Longer than a start takes.
const START: Duration = Duration::from_secs(60);

struct Program {
    child: Child,
    url: String,
    directory: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_fleetctl")).with_file_name("fleet-server");
    if path.exists() {
        return Some(path);
    }
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "{} is missing: build the workspace",
        path.display()
    );
    eprintln!("SKIPPED: {} is missing: cargo build -p fleet-server", path.display());
    None
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server. The port that it takes besides was free a moment ago; should somebody take it meanwhile, another
/// is tried.
fn start(path: &Path) -> Program {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        let mut secret = std::fs::OpenOptions::new();
        let mut secret = secret.write(true).create_new(true).mode(0o600).open(&password).unwrap();
        std::io::Write::write_all(&mut secret, PASSWORD.as_bytes()).unwrap();
        let mut child = Command::new(path)
            .current_dir(directory.path())
            .env_clear()
            .env("FLEET_DATA_DIR", directory.path())
            .env("FLEET_ADMIN_PASSWORD_FILE", &password)
            .args(["-E", "inputs.0.server.host=127.0.0.1", "-E", "inputs.0.server.port=0"])
            .args([
                "-E",
                &format!("inputs.0.server.internal_port={}", free_port()),
                "-E",
                "management.port=0",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = std::sync::mpsc::sync_channel(1024);
        let log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                // Whoever has heard enough does not listen any more; the log must be read all the same.
                let _ = sender.try_send(line);
            }
        });
        let begun = Instant::now();
        while let Ok(line) = lines.recv_timeout(START.saturating_sub(begun.elapsed())) {
            if let Some((_, rest)) = line.split_once("management=").filter(|_| line.contains("is running")) {
                let address = rest.split_whitespace().next().unwrap().replace("127.0.0.1", "localhost");
                return Program { child, url: format!("https://{address}"), directory };
            }
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("{} does not start", path.display());
}

struct World {
    server: Program,
    user: User,
}

impl World {
    /// A user who has signed in.
    async fn new() -> Option<World> {
        let server = start(&program()?);
        let user = User::new().with("FLEET_PASSWORD", PASSWORD);
        let ca = server.directory.path().join("ca.pem").display().to_string();
        let run = user.run(&["login", &server.url, "--ca-file", &ca, "--create-api-key"]).await;
        assert!(run.code == 0 && run.out.contains("profile localhost"), "{run}");
        Some(World { server, user: User::in_home(user.home) })
    }

    async fn run(&self, words: &[&str]) -> Run {
        self.user.run(words).await
    }

    /// Runs what must be well; returns what it printed.
    async fn out(&self, words: &[&str]) -> String {
        let run = self.run(words).await;
        assert_eq!(run.code, 0, "{words:?}: {run}");
        run.out
    }
}

#[tokio::test]
async fn policies_keys_and_people() {
    let Some(world) = World::new().await else { return };
    assert_eq!(
        world.out(&["policy", "create", "Web servers", "--set", "id=web"]).await,
        "Created agent policy web (Web servers)\n"
    );
    world.out(&["policy", "edit", "web", "--set", "description=first"]).await;
    assert!(world.out(&["policy", "diff", "web"]).await.contains("\"first\""));
    assert_eq!(world.out(&["policy", "revisions", "web", "-o", "id"]).await, "2\n1\n");
    assert!(world.out(&["policy", "rollback", "web", "--to", "1", "--yes"]).await.ends_with("revision 3\n"));
    let run = world.run(&["policy", "create", "Web servers"]).await;
    assert!(run.code == 1 && run.err.starts_with("name: "), "{run}");
    assert!(world.out(&["enroll-key", "list", "--policy", "Web servers"]).await.contains(" web "));
    let key = world.out(&["enroll-key", "create", "rack", "--policy", "web", "--expires", "24h"]).await;
    assert_eq!(key.lines().count(), 2, "{key}");
    let password = world.user.file("new", "another long password");
    world.out(&["user", "create", "ada", "--role", "viewer", "--new-password-file", &password]).await;
    world.out(&["user", "edit", "ada", "--set", "roles=[editor]"]).await;
    assert!(world.out(&["user", "list"]).await.contains("ada    editor"));
    let ada = world.server.url.clone();
    let ca = world.server.directory.path().join("ca.pem").display().to_string();
    let as_ada = [
        "policy",
        "list",
        "-o",
        "id",
        "--server",
        &ada,
        "--ca-file",
        &ca,
        "--user",
        "ada",
        "--password-file",
        &password,
    ];
    assert_eq!(world.out(&as_ada).await, "default\nweb\n");
    let run = world
        .run(&[
            "user",
            "list",
            "--server",
            &ada,
            "--ca-file",
            &ca,
            "--user",
            "ada",
            "--password-file",
            &password,
        ])
        .await;
    assert!(run.code == 1 && run.err.contains("An administrator can give"), "{run}");
    let run =
        world.run(&["policy", "list", "--server", &ada, "--user", "ada", "--password-file", &password]).await;
    assert!(run.code == 1 && run.err.contains("give it with --ca-file"), "{run}");
    let anyway = ["policy", "list", "-o", "id", "--server", &ada, "--insecure-skip-verify"];
    let as_ada = [&anyway[..], &["--user", "ada", "--password-file", &password]].concat();
    assert_eq!(world.out(&as_ada).await, "default\nweb\n");
    assert!(world.out(&["audit", "list", "--kind", "user"]).await.contains("ada"));
    assert!(world.out(&["audit", "export"]).await.lines().count() > 5);
    assert_eq!(world.out(&["agent", "list", "-o", "json"]).await, "[]\n");
    assert_eq!(world.out(&["agent", "watch", "--policy", "web"]).await, "0 of 0 agents done: revision 3\n");
    assert_eq!(world.out(&["policy", "delete", "web"]).await, "Deleted agent policy web (Web servers)\n");
}

const FILES: &str = "\
kind: Proxy
id: out
spec:
  name: Out
  url: http://proxy.example.com:3128
---
kind: Output
id: es
spec:
  name: Data
  type: elasticsearch
  hosts: [https://es.example.com:9200]
  proxy_id: out
---
kind: Output
id: kafka
spec:
  name: Queue
  type: kafka
  hosts: [kafka.example.com:9092]
  version: 2.6.0
  auth_type: user_pass
  username: fleet
  topic: logs
  secrets: {password: hunter2}
---
kind: FleetServerHost
id: outside
spec:
  name: Outside
  host_urls: [https://fleet.example.com:8220]
---
kind: DownloadSource
id: mirror
spec:
  name: Mirror
  host: https://mirror.example.com/downloads/
---
kind: AgentPolicy
id: web
spec:
  name: Web servers
  namespace: default
  monitoring_enabled: [logs, metrics]
  data_output_id: es
  fleet_server_host_id: outside
  download_source_id: mirror
---
kind: PackagePolicy
id: web-system
spec:
  name: system
  namespace: default
  policy_ids: [web]
  package: {name: system, version: 1.0.0}
  inputs:
    system-logfile:
      streams:
        system.auth:
          vars:
            paths: [/var/log/auth.log]
";

#[tokio::test]
async fn a_folder_is_applied_exported_and_applied_again() {
    let Some(world) = World::new().await else { return };
    let folder = world.user.home.path().join("fleet");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("all.yaml"), FILES).unwrap();
    let folder = folder.display().to_string();
    world.out(&["package", "install", "system@1.0.0"]).await;
    let run = world.run(&["apply", "-f", &folder, "--yes"]).await;
    assert!(run.code == 0 && run.out.ends_with("Applied 7 steps\n"), "{run}");
    assert_eq!(run.err, "", "what the files say is what the server has");
    for words in [&["apply", "-f", &folder, "--check"][..], &["apply", "-f", &folder, "--yes"]] {
        assert_eq!(world.out(words).await, "No changes: 7 objects as the files say\n");
    }
    let exported = world.user.home.path().join("exported").display().to_string();
    let run = world.run(&["export", "-d", &exported]).await;
    assert!(run.code == 0 && run.err.contains("1 secret exported as a reference"), "{run}");
    assert!(!format!("{run}{}", world.out(&["export"]).await).contains("hunter2"));
    let run = world.run(&["apply", "-f", &exported, "--check"]).await;
    assert!(run.code == 0 && run.out.starts_with("No changes: "), "{run}");
    assert!(world.out(&["export", "-d", &exported]).await.starts_with("Wrote 0 files"));
    assert!(world.out(&["policy", "download", "web"]).await.contains("- /var/log/auth.log\n"));
    let run = world.run(&["integration", "upgrade", "web-system", "--dry-run"]).await;
    assert_eq!((run.out.as_str(), run.code), ("integration web-system:\n", 0), "{run}");
    // Somebody changes something by hand.
    world.out(&["output", "edit", "es", "--set", "hosts=[https://other.example.com:9200]"]).await;
    let run = world.run(&["apply", "-f", &exported, "--check"]).await;
    assert!(run.code == 2 && run.out.contains("~ /hosts: "), "{run}");
    world.out(&["apply", "-f", &exported, "--yes"]).await;
    assert_eq!(world.run(&["apply", "-f", &folder, "--check"]).await.code, 0);
    std::fs::write(Path::new(&folder).join("all.yaml"), "").unwrap();
    let run = world.run(&["apply", "-f", &folder, "--prune", "--yes"]).await;
    assert!(run.code == 0 && run.out.contains("7 to delete"), "{run}");
    assert_eq!(world.out(&["policy", "list", "-o", "id"]).await, "default\n");
}
