//! A remote command at a terminal.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::fleet::Fleet;
use crate::server::Server;
use crate::sshd::{Sshd, is_there, keygen, user};

/// A terminal: the side of the program, and the side of the person.
fn terminal() -> (OwnedFd, OwnedFd) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let program = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    fcntl_setfl(&person, OFlags::NONBLOCK).unwrap();
    (program, person)
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Reads what the person sees until `text` is there.
async fn until(person: &OwnedFd, seen: &mut String, text: &str) {
    let start = Instant::now();
    while !seen.contains(text) {
        assert!(start.elapsed() < Duration::from_secs(60), "{text:?} is not in {seen:?}");
        let mut buffer = [0; 4096];
        match rustix::io::read(person, &mut buffer) {
            Ok(count) => seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test]
async fn a_command_at_a_terminal_gets_one_of_the_same_size() {
    if !is_there() {
        return;
    }
    let sshd = Sshd::start().await;
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    let key = home.path().join(".ssh/id_ed25519");
    keygen(&key, "ed25519");
    sshd.authorize(&key);
    let fleet = Fleet::with(&[("hello.service", "launched")]).at("127.0.0.1");
    let server = Server::tcp(move |request| fleet.answer(request)).await;

    let (program, person) = terminal();
    tcsetwinsize(&program, size(33, 77)).unwrap();
    let cooked = tcgetattr(&program).unwrap().local_modes;
    assert!(cooked.contains(LocalModes::ICANON));
    let port = sshd.port.to_string();
    let script = "echo $TERM; stty size; echo ready; read line; echo got $line; \
                  until [ \"$(stty size)\" != \"33 77\" ]; do sleep 0.01; done; stty size; exit 9";
    let mut child = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .env_clear()
        .env("HOME", home.path())
        .args(["--endpoint", &server.endpoint, "--ssh-username", &user(), "--strict-host-key-checking=false"])
        .args(["ssh", "--ssh-port", &port, "hello", script])
        .stdin(Stdio::from(program.try_clone().unwrap()))
        .stdout(Stdio::from(program.try_clone().unwrap()))
        .stderr(Stdio::from(program.try_clone().unwrap()))
        .spawn()
        .unwrap();
    let mut seen = String::new();
    until(&person, &mut seen, "ready\r\n").await;
    assert!(seen.starts_with("xterm-256color\r\n33 77\r\n"), "{seen:?}");
    assert!(!tcgetattr(&program).unwrap().local_modes.contains(LocalModes::ICANON), "every key must go over");

    rustix::io::write(&person, b"one\r").unwrap();
    until(&person, &mut seen, "got one\r\n").await;
    tcsetwinsize(&program, size(40, 100)).unwrap();
    kill_process(Pid::from_child(&child), Signal::WINCH).unwrap();
    until(&person, &mut seen, "40 100\r\n").await;
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(9));
    assert_eq!(tcgetattr(&program).unwrap().local_modes, cooked, "the terminal is as it was");
}
