//! Questions at a terminal.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::json;

use crate::User;
use crate::api::{Api, refused};
use crate::http::Answer;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A program and the terminal that a person sits at.
struct Terminal {
    child: Child,
    program: OwnedFd,
    person: OwnedFd,
    seen: String,
}

impl Terminal {
    fn run(user: &User, words: &[&str]) -> Terminal {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let program = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        fcntl_setfl(&person, OFlags::NONBLOCK).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
            .env_clear()
            .env("HOME", user.home.path())
            .args(words)
            .stdin(Stdio::from(program.try_clone().unwrap()))
            .stdout(Stdio::from(program.try_clone().unwrap()))
            .stderr(Stdio::from(program.try_clone().unwrap()))
            .spawn()
            .unwrap();
        Terminal { child, program, person, seen: String::new() }
    }

    /// Reads what the person sees until `text` is there and `is_ready`.
    async fn until(&mut self, text: &str, is_ready: impl Fn(&OwnedFd) -> bool) {
        let start = Instant::now();
        while !(self.seen.contains(text) && is_ready(&self.program)) {
            assert!(start.elapsed() < LIMIT, "{text:?} is not in {:?}", self.seen);
            let mut buffer = [0; 4096];
            match rustix::io::read(&self.person, &mut buffer) {
                Ok(count) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    fn types(&self, text: &str) {
        rustix::io::write(&self.person, text.as_bytes()).unwrap();
    }

    async fn end(mut self) -> (Option<i32>, String) {
        let code = tokio::task::spawn_blocking(move || self.child.wait().unwrap().code()).await.unwrap();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = rustix::io::read(&self.person, &mut buffer) {
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        (code, self.seen)
    }
}

fn echoes(terminal: &OwnedFd) -> bool {
    tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_and_not_seen() {
    let api = Api::default();
    api.hook(|_, request| {
        let known = request.header("authorization") == Some("Basic YWRtaW46cmlnaHQ=");
        match request.path.as_str() {
            "/api/status" => None,
            _ if known => Some(Answer::json(200, &json!({"isReady": true}))),
            _ => Some(refused(401, "unauthorized")),
        }
    });
    let server = api.serve().await;
    let user = User::new();
    let mut terminal = Terminal::run(&user, &["login", &server.url]);
    terminal.until("Password of admin: ", |terminal| !echoes(terminal)).await;
    terminal.types("right\r");
    terminal.until("Signed in at ", echoes).await;
    let (code, seen) = terminal.end().await;
    assert!(code == Some(0) && !seen.contains("right"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_irrevocable_is_asked_about() {
    let api = Api::default();
    api.add("agent_policies", json!({"id": "web", "name": "Web"}));
    let server = api.serve().await;
    let user = User::new();
    for (answer, code) in [("no\r", 1), ("yes\r", 0)] {
        assert!(api.object("agent_policies", "web").is_some());
        let mut terminal = Terminal::run(&user, &["policy", "delete", "web", "--server", &server.url]);
        terminal.until("Delete agent policy web (Web)? (yes/no) ", |_| true).await;
        terminal.types(answer);
        let (ended, seen) = terminal.end().await;
        assert_eq!(ended, Some(code), "{seen}");
    }
    assert!(api.object("agent_policies", "web").is_none());
}
