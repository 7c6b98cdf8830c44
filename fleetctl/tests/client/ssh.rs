//! SSH against a real server, by the program as users run it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::fleet::{Fleet, ONE};
use crate::server::Server;
use crate::sshd::{Sshd, install, is_there, keygen, user};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A server, a cluster whose machines are all at that server, and a user with a home.
struct World {
    sshd: Sshd,
    home: TempDir,
    endpoint: String,
    agent: Option<PathBuf>,
}

struct Ended {
    out: String,
    err: String,
    code: i32,
}

impl World {
    /// A user with an accepted ed25519 key file, who knows the server.
    async fn new() -> World {
        let world = World::bare().await;
        world.add_key("ed25519");
        world.know("ed25519");
        world
    }

    /// A user without keys, who knows nobody.
    async fn bare() -> World {
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

    fn add_key(&self, kind: &str) -> PathBuf {
        let path = self.home.path().join(format!(".ssh/id_{kind}"));
        keygen(&path, kind);
        self.sshd.authorize(&path);
        path
    }

    fn know(&self, kind: &str) {
        self.write_known_hosts(&format!("{} {}\n", self.sshd.name(), self.sshd.host_key(kind)));
    }

    fn known_hosts(&self) -> PathBuf {
        self.home.path().join(".fleetctl/known_hosts")
    }

    fn write_known_hosts(&self, text: &str) {
        std::fs::create_dir_all(self.home.path().join(".fleetctl")).unwrap();
        std::fs::write(self.known_hosts(), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
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
    async fn run_with(&self, words: &[&str], input: &str) -> Ended {
        run_command(self.command(words), input).await
    }

    async fn run(&self, words: &[&str]) -> Ended {
        self.run_with(words, "").await
    }

    /// Runs a command on the machine of the cluster.
    async fn ssh(&self, words: &[&str]) -> Ended {
        let port = self.sshd.port.to_string();
        let mut all = vec!["ssh", "--ssh-port", &port, "hello.service"];
        all.extend(words);
        self.run(&all).await
    }

    async fn start_agent(&mut self, keys: &[&Path]) -> Agent {
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

async fn run_command(mut command: Command, input: &str) -> Ended {
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

struct Agent {
    child: std::process::Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Agent {
    async fn start() -> Agent {
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

#[tokio::test]
async fn key_files_of_every_kind_open_the_door() {
    if !is_there() {
        return;
    }
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let world = World::bare().await;
        world.know("ed25519");
        world.add_key(kind);
        let ended = world.ssh(&["echo", "foo"]).await;
        assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("foo\n", "", 0), "{kind}");
    }
}

#[tokio::test]
async fn keys_of_the_agent_come_first() {
    if !is_there() {
        return;
    }
    for kind in ["ed25519", "rsa"] {
        let mut world = World::bare().await;
        world.know("ed25519");
        let key = world.add_key(kind);
        let agent = world.start_agent(&[&key]).await;
        std::fs::remove_file(&key).unwrap();
        let ended = world.ssh(&["echo", "foo"]).await;
        assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("foo\n", "", 0), "{kind}");
        drop(agent);
        let ended = world.ssh(&["echo", "foo"]).await;
        assert!(ended.err.contains("cannot reach the ssh-agent"), "{}", ended.err);
    }
}

#[tokio::test]
async fn exit_codes_and_streams_are_passed_on() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    let ended = world.ssh(&["echo out; echo err >&2; exit 7"]).await;
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("out\n", "err\n", 7));
    let ended = world.ssh(&["kill -TERM $$"]).await;
    assert_eq!(ended.code, 143);
    let port = world.sshd.port.to_string();
    let ended =
        world.run_with(&["ssh", "--ssh-port", &port, "hello.service", "cat; exit 3"], "some\ninput").await;
    assert_eq!((ended.out.as_str(), ended.code), ("some\ninput", 3));
    let ended = world.ssh(&["head -c 3000000 /dev/zero | tr '\\0' x"]).await;
    assert_eq!((ended.out.len(), ended.code), (3_000_000, 0));
    let ended = world.run_with(&["ssh", "--ssh-port", &port, "--machine", ONE], "echo shell\nexit 5\n").await;
    assert_eq!((ended.out.as_str(), ended.code), ("shell\n", 5));
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_the_run() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    let port = world.sshd.port.to_string();
    let mut command = world.command(&["ssh", "--ssh-port", &port, "hello.service", "yes"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 2];
    tokio::io::AsyncReadExt::read_exact(child.stdout.as_mut().unwrap(), &mut first).await.unwrap();
    drop(child.stdout.take());
    let output = timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((&first, output.stderr.as_slice()), (b"y\n", &b""[..]));
}

#[tokio::test]
async fn a_host_that_is_not_known_is_asked_about() {
    if !is_there() {
        return;
    }
    let world = World::bare().await;
    world.add_key("ed25519");
    let port = world.sshd.port.to_string();
    let words = ["ssh", "--ssh-port", &port, "hello.service", "cat"];
    let ended = world.run_with(&words, "no\n").await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains(&format!(
            "The authenticity of host '{}' can't be established.\nED25519 key fingerprint is SHA256:",
            world.sshd.name()
        )),
        "{}",
        ended.err
    );
    assert!(
        ended.err.ends_with("Host key verification failed.\nFailed building SSH client: unauthorized host\n"),
        "{}",
        ended.err
    );
    assert!(!world.known_hosts().exists());

    let ended = world.run_with(&words, "yes\nrest\n").await;
    assert_eq!((ended.out.as_str(), ended.code), ("rest\n", 0), "{}", ended.err);
    let added =
        format!("Warning: Permanently added '{}' (ED25519) to the list of known hosts.", world.sshd.name());
    assert!(ended.err.contains(&added), "{}", ended.err);
    let known = std::fs::read_to_string(world.known_hosts()).unwrap();
    assert_eq!(known, format!("{} {}\n", world.sshd.name(), world.sshd.host_key("ed25519")));

    let ended = world.run_with(&words, "rest\n").await;
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("rest\n", "", 0));
}

#[tokio::test]
async fn a_host_with_another_key_is_refused() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    let other = world.home.path().join("other");
    keygen(&other, "ed25519");
    let key = std::fs::read_to_string(other.with_extension("pub")).unwrap();
    world.write_known_hosts(&format!("{} {key}", world.sshd.name()));
    let ended = world.ssh(&["true"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!"), "{}", ended.err);
    assert!(ended.err.ends_with("Failed building SSH client: host key mismatch\n"), "{}", ended.err);

    let port = world.sshd.port.to_string();
    let words = ["--strict-host-key-checking=false", "ssh", "--ssh-port", &port, "hello.service", "true"];
    let ended = world.run(&words).await;
    assert_eq!((ended.err.as_str(), ended.code), ("", 0));
}

#[tokio::test]
async fn known_hosts_as_openssh_writes_them() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    let hashed =
        std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(world.known_hosts()).status();
    assert!(hashed.unwrap().success());
    assert!(std::fs::read_to_string(world.known_hosts()).unwrap().starts_with("|1|"));
    let ended = world.ssh(&["echo", "foo"]).await;
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("foo\n", "", 0));

    // Known by its RSA key only: that is the one to ask for.
    world.know("rsa");
    let ended = world.ssh(&["echo", "foo"]).await;
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("foo\n", "", 0));

    let name = world.sshd.name();
    let key = world.sshd.host_key("ed25519");
    world.write_known_hosts(&format!("{name} {key}\n@revoked * {key}\n"));
    let ended = world.ssh(&["true"]).await;
    assert!(ended.err.ends_with("Failed building SSH client: host key is revoked\n"), "{}", ended.err);

    world.write_known_hosts(&format!("@cert-authority * {key}\n[127.0.0.*]:{} {key}\n", world.sshd.port));
    let ended = world.ssh(&["echo", "foo"]).await;
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("foo\n", "", 0));
}

#[tokio::test]
async fn a_refused_key_is_told_with_what_to_do() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    std::fs::write(world.sshd.path("authorized_keys"), "").unwrap();
    let ended = world.ssh(&["true"]).await;
    let text = format!(
        "Failed building SSH client: ssh: unable to authenticate as {:?} at 127.0.0.1: none of 1 keys is \
         accepted. Is one of them in that user's authorized_keys? --ssh-username names another user\n",
        user()
    );
    assert_eq!((ended.err, ended.code), (text, 1));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let world = World::new().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let ended = world.run(&["--ssh-timeout=0.3", "ssh", "--ssh-port", &port, "hello", "true"]).await;
    assert_eq!(ended.err, "Failed building SSH client: timed out while initiating SSH connection\n");
    drop(silent);
    let ended = world.run(&["ssh", "--ssh-port", &port, "hello", "true"]).await;
    assert_eq!(
        ended.err,
        format!("Failed building SSH client: dial tcp 127.0.0.1:{port}: connect: connection refused\n")
    );
}

#[tokio::test]
async fn the_agent_is_forwarded_only_when_asked() {
    if !is_there() {
        return;
    }
    let mut world = World::new().await;
    let key = world.add_key("rsa");
    let _agent = world.start_agent(&[&key]).await;
    let port = world.sshd.port.to_string();
    let ended = world.run(&["ssh", "--ssh-port", &port, "-A", "hello", "ssh-add -l"]).await;
    assert!(ended.out.contains("(RSA)"), "{}{}", ended.out, ended.err);
    let ended = world.run(&["ssh", "--ssh-port", &port, "hello", "ssh-add -l"]).await;
    assert_eq!(ended.code, 2, "{}", ended.out);
}

#[tokio::test]
async fn the_api_through_a_tunnel() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    let tunnel = format!("127.0.0.1:{}", world.sshd.port);
    let ended = world.run(&["--tunnel", &tunnel, "list-units", "--no-legend", "--fields=unit"]).await;
    let units = "global.service\nglobal.service\nhello.service\n";
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), (units, "", 0));

    let fleet = Fleet::with(&[("a.service", "launched")]);
    let server = Server::tcp(move |request| fleet.answer(request)).await;
    let ended = world
        .run(&[
            "--tunnel",
            &tunnel,
            "--endpoint",
            &server.endpoint,
            "list-unit-files",
            "--no-legend",
            "--fields=unit",
        ])
        .await;
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("a.service\n", "", 0));

    let ended = world.run(&["--tunnel", &tunnel, "--endpoint", "unix:///nonexistent/s", "list-units"]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains(
            "Failed dialing remote address: dial unix /nonexistent/s: connect: no such file or directory"
        ),
        "{}",
        ended.err
    );

    let ended = world.run(&["--tunnel", &tunnel, "--endpoint", "http://127.0.0.1:1", "list-units"]).await;
    assert!(
        ended.err.contains("through the tunnel: the far end refuses to forward to 127.0.0.1:1"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn a_machine_behind_a_bastion() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    let inner = Sshd::start().await;
    inner.authorize(&world.home.path().join(".ssh/id_ed25519"));
    let both = [&world.sshd, &inner].map(|sshd| format!("{} {}\n", sshd.name(), sshd.host_key("ed25519")));
    world.write_known_hosts(&both.concat());
    inner.program("whereami", "echo inside");
    let (tunnel, port) = (format!("127.0.0.1:{}", world.sshd.port), inner.port.to_string());
    let ended =
        world.run(&["--tunnel", &tunnel, "ssh", "--ssh-port", &port, "hello", "whereami; exit 4"]).await;
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), ("inside\n", "", 4));
}

#[tokio::test]
async fn status_and_journal_run_on_the_machine() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    world.sshd.program("systemctl", "echo systemctl \"$@\"; [ $3 = hello.service ] || exit 3");
    world.sshd.program("journalctl", "echo journalctl \"$@\"");
    world.sshd.program("sudo", "echo sudo; \"$@\"");
    let port = world.sshd.port.to_string();
    let port = port.as_str();
    let ended = world.run(&["status", "--ssh-port", port, "hello"]).await;
    assert_eq!(
        (ended.out.as_str(), ended.err.as_str(), ended.code),
        ("systemctl status -l hello.service\n", "", 0)
    );
    let ended = world.run(&["status", "--no-block", "--ssh-port", port, "hello", "global", "hello"]).await;
    let shown = "systemctl status -l hello.service\n\n113f16a7.../127.0.0.1:\nsystemctl status -l global.service\n\n\
                 224e27b8.../127.0.0.1:\nsystemctl status -l global.service\n";
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), (shown, "", 3));
    world.sshd.program("systemctl", "cat");
    let ended = world.run_with(&["status", "--ssh-port", port, "hello"], "the script's own").await;
    assert_eq!((ended.out.as_str(), ended.code), ("", 0), "a script's input is for the script");
    let ended = world.run(&["journal", "--ssh-port", port, "--sudo", "-f", "--lines=3", "hello"]).await;
    let shown = "sudo\njournalctl --unit hello.service --no-pager -n 3 --output short -f\n";
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.code), (shown, "", 0));
}

#[tokio::test]
async fn status_of_a_unit_on_this_machine_needs_no_ssh() {
    let Ok(id) = std::fs::read_to_string("/etc/machine-id") else { return };
    let directory = tempfile::tempdir().unwrap();
    install(directory.path(), "systemctl", "echo here \"$@\"; exit 3");
    let body = format!(r#"{{"name":"hello.service","currentState":"loaded","machineID":"{}"}}"#, id.trim());
    let server = Server::tcp(move |_| (200, body.clone())).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
    command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()));
    let output = command.args(["--endpoint", &server.endpoint, "status", "hello"]).output();
    let output = timeout(LIMIT, output).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "here status -l hello.service\n");
    assert_eq!(output.status.code(), Some(3));
}

/// Runs the script that distributes keys.
async fn inject(world: &World, name: &str, key: &str) -> Ended {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fleetctl-inject-ssh.sh");
    // The machines of the test are at a port of their own: this puts the port behind the word `ssh`.
    let wrapper = format!(
        "count=$#\nfor word; do\nset -- \"$@\" \"$word\"\n[ \"$word\" != ssh ] || set -- \"$@\" --ssh-port {}\n\
         done\nshift $count\nexec {} \"$@\"",
        world.sshd.port,
        env!("CARGO_BIN_EXE_fleetctl")
    );
    let bin = tempfile::tempdir().unwrap();
    install(bin.path(), "fleetctl", &wrapper);
    let mut command = Command::new(script);
    command.env_clear().env("HOME", world.home.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.path().display()));
    command.args([name, "--endpoint", &world.endpoint, "--ssh-username", &user()]);
    run_command(command, key).await
}

#[tokio::test]
async fn a_key_is_brought_to_every_machine_once() {
    if !is_there() {
        return;
    }
    let world = World::new().await;
    let friend = world.home.path().join("friend");
    keygen(&friend, "ed25519");
    let key = std::fs::read_to_string(friend.with_extension("pub")).unwrap();
    let authorized = world.sshd.path("home/.ssh/authorized_keys");
    std::fs::create_dir(world.sshd.path("home/.ssh")).unwrap();
    std::fs::write(&authorized, "ssh-ed25519 AAAA before").unwrap();
    for _ in 0..2 {
        let ended = inject(&world, "simon", &key).await;
        assert_eq!((ended.out.lines().count(), ended.err.as_str(), ended.code), (2, "", 0));
        assert_eq!(std::fs::read_to_string(&authorized).unwrap(), format!("ssh-ed25519 AAAA before\n{key}"));
    }
    world.sshd.program("update-ssh-keys", "cat > ~/given; echo \"$@\" >> ~/given");
    let ended = inject(&world, "simon", &key).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(
        std::fs::read_to_string(world.sshd.path("home/given")).unwrap(),
        format!("{key}-a simon -n\n")
    );

    for (name, key) in [
        ("simon", "no key"),
        ("a'b", key.as_str()),
        ("simon", "ssh-rsa 'x'"),
        ("simon", "ssh-rsa x\nssh-rsa y"),
    ] {
        assert_ne!(inject(&world, name, key).await.code, 0, "{name} {key}");
    }
}

#[tokio::test]
async fn fd_forward_carries_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = Fleet::with(&[]);
    let server = Server::unix(&directory.path().join("s"), move |request| fleet.answer(request));
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
    command.arg("fd-forward").arg(directory.path().join("s")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"GET /fleet/v1/units HTTP/1.1\r\n\r\n").await.unwrap();
    drop(stdin);
    let output = timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("\r\n\r\n{}"));
    assert_eq!((server.log(), output.status.code()), (vec!["GET /fleet/v1/units".to_owned()], Some(0)));
}
