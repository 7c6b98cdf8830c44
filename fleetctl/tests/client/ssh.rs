//! SSH against a real server, by the program as users run it.

use std::process::Stdio;

use tokio::time::timeout;

use crate::fleet::ONE;
use crate::sshd::{is_there, keygen, user};
use crate::world::{LIMIT, World};

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
