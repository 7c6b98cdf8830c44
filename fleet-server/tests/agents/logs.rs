//! Where the log goes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::free_port;

/// The longest time for something to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
const RUNNING: &str = "fleet-server is running";

/// The program, with a data directory and a directory for its log.
struct Program {
    child: Child,
    management: u16,
}

impl Program {
    fn start(directory: &Path, settings: &[&str]) -> Program {
        let management = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-server"));
        command
            .current_dir(directory)
            .env_clear()
            .env("FLEET_DATA_DIR", directory.join("data"))
            .args(["-E", "inputs.0.server.host=127.0.0.1", "-E", "inputs.0.server.port=0"])
            .args(["-E", &format!("inputs.0.server.internal_port={}", free_port())])
            .args(["-E", &format!("management.port={management}")])
            .args(["-E", "inputs.0.server.timeouts.drain=10ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for setting in settings {
            command.args(["-E", setting]);
        }
        Program { child: command.spawn().expect("the program starts"), management }
    }

    /// Waits until `is_told`.
    fn wait_until(&mut self, is_told: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_told() {
            let ended = self.child.try_wait().expect("the program");
            assert!(ended.is_none(), "the server ended: {ended:?}");
            assert!(began.elapsed() < TOLD_WITHIN, "it is not told");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until it serves, log or no log.
    fn wait_until_ready(&mut self) {
        let management = self.management;
        self.wait_until(|| {
            let Ok(mut socket) = TcpStream::connect(("127.0.0.1", management)) else { return false };
            let asked =
                socket.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let mut answer = String::new();
            asked.is_ok() && socket.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
        });
    }

    /// What it writes to standard error up to the line that holds `text`. It ends, or the test does, before it
    /// could be silent for ever.
    fn read_until(&mut self, text: &str) -> String {
        let mut told = String::new();
        let mut stderr = self.child.stderr.take().expect("a pipe");
        // One byte at a time, so that nothing of what follows is taken.
        let mut byte = [0];
        while !told.ends_with('\n') || !told.lines().next_back().is_some_and(|line| line.contains(text)) {
            assert_eq!(stderr.read(&mut byte).expect("text"), 1, "it ended: {told}");
            told.push(char::from(byte[0]));
        }
        self.child.stderr = Some(stderr);
        told
    }

    /// Stops it. Returns what it wrote to standard error.
    fn stop(mut self) -> String {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
        let mut text = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut text).expect("text");
        assert!(self.child.wait().expect("the program").success(), "{text}");
        text
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The messages of lines of JSON, each of which must have what the schema asks for.
fn messages(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for name in ["@timestamp", "log.level", "log.logger", "service.name", "ecs.version"] {
            assert!(line[name].is_string(), "{line}");
        }
        line["message"].as_str().expect("a message").to_owned()
    };
    text.lines().map(line).collect()
}

#[test]
fn the_log_goes_to_files_that_follow_each_other() {
    let directory = TempDir::new().unwrap();
    let logs = directory.path().join("logs");
    let path = format!("logging.files.path={}", logs.display());
    let (newest, older) = (logs.join("fleet-server.log"), logs.join("fleet-server.log.1"));
    let settings = ["logging.to_files=true", &path, "logging.files.redirect_stderr=true"];
    let mut program = Program::start(directory.path(), &settings);
    program.wait_until(|| text(&newest).contains(RUNNING));
    let stderr = fs::read_link(format!("/proc/{}/fd/2", program.child.id())).unwrap();
    assert_eq!(stderr, newest, "what libraries write to standard error is in the file too");
    // The password is for whoever started it, and for nobody who reads the log.
    let told = program.stop();
    let password = told.lines().find_map(|line| line.trim().strip_prefix("Password")).unwrap().trim();
    assert!(!text(&newest).contains(password), "the password is in the log");
    assert!(messages(&text(&newest)).iter().any(|message| message == RUNNING));
    assert!(!older.exists());

    let mut again = Program::start(directory.path(), &settings);
    // A start begins a file.
    again.wait_until(|| text(&older).contains(RUNNING) && text(&newest).contains(RUNNING));
    again.stop();

    let settings = ["logging.to_files=true", &path, "logging.files.rotateeverybytes=100"];
    let mut small = Program::start(directory.path(), &settings);
    small.wait_until(|| fs::read_dir(&logs).is_ok_and(|files| files.count() > 3));
    small.stop();
    for file in fs::read_dir(&logs).unwrap() {
        messages(&text(&file.unwrap().path()));
    }
}

#[test]
fn the_log_goes_to_standard_error_as_json_or_nowhere() {
    let directory = TempDir::new().unwrap();
    let mut program = Program::start(directory.path(), &["logging.to_stderr=true", "logging.level=debug"]);
    let told = format!("{}{}", program.read_until(RUNNING), program.stop());
    let lines: String =
        told.lines().filter(|line| line.starts_with('{')).map(|line| format!("{line}\n")).collect();
    assert!(messages(&lines).iter().any(|message| message == RUNNING), "{told}");

    let nowhere = ["logging.to_stderr=false", "logging.to_files=false"];
    let mut program = Program::start(directory.path(), &nowhere);
    program.wait_until_ready();
    assert_eq!(program.stop(), "");
    // What keeps it from running is told all the same.
    let mut failing =
        Program::start(directory.path(), &[nowhere[0], nowhere[1], "inputs.0.server.host=192.0.2.1"]);
    let mut told = String::new();
    failing.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.starts_with("error: cannot listen on 192.0.2.1:0: "), "{told}");
}

#[test]
fn a_log_that_cannot_be_written_stops_the_start() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("logs"), "a file").unwrap();
    let mut program = Program::start(directory.path(), &["logging.files.path=logs"]);
    let mut told = String::new();
    program.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(program.child.wait().unwrap().code(), Some(1));
    assert!(told.contains("logging.files.path"), "{told}");
}
