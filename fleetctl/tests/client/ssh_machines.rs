//! What goes through SSH: the API, commands on machines, keys for them.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::fleet::Fleet;
use crate::server::Server;
use crate::sshd::{Sshd, install, is_there, keygen, user};
use crate::world::{Ended, LIMIT, World, run_command};

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
