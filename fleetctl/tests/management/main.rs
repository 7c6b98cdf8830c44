//! The commands that ask a fleet-server, against a scripted management API: what is printed, what is asked for,
//! what is kept, and the exit code.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails, fails its test; a test that cannot run says so"
)]

mod agents;
mod api;
mod at_terminal;
mod completing;
mod editing;
mod files;
mod happenings;
mod http;
mod keys;
mod policies;
mod profiles;
mod real;
mod requests;
mod watching;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fleetctl::{Host, Streams, run};
use tempfile::TempDir;

use http::Server;

/// What a run printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: u8,
}

impl std::fmt::Display for Run {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.out)?;
        for line in self.err.lines() {
            writeln!(formatter, "err| {line}")?;
        }
        write!(formatter, "exit {}", self.code)
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A user with a home of their own.
pub(crate) struct User {
    pub(crate) home: TempDir,
    variables: Vec<(String, String)>,
}

impl User {
    pub(crate) fn new() -> User {
        User::in_home(tempfile::tempdir().unwrap())
    }

    /// A user who has a home, and nothing else in the environment.
    pub(crate) fn in_home(home: TempDir) -> User {
        let path = home.path().display().to_string();
        let variables = ["HOME", "TMPDIR"].map(|name| (name.to_owned(), path.clone())).to_vec();
        User { home, variables }
    }

    /// A user whose server is this.
    pub(crate) fn of(server: &Server) -> User {
        User::new().with("FLEET_SERVER_URL", &server.url)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> User {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file in the user's home.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs the client with these words.
    pub(crate) async fn run(&self, words: &[&str]) -> Run {
        self.run_at(words, false).await
    }

    /// The same where a person looks at standard error.
    pub(crate) async fn run_at(&self, words: &[&str], err_is_terminal: bool) -> Run {
        let arguments: Vec<OsString> =
            std::iter::once("fleetctl").chain(words.iter().copied()).map(OsString::from).collect();
        let (out, err) = (Buffer::default(), Buffer::default());
        let streams = Streams { out: Box::new(out.clone()), err: Box::new(err.clone()), err_is_terminal };
        let host = Host {
            environment: self.variables.iter().cloned().collect(),
            machine_id_file: PathBuf::from("/nonexistent"),
        };
        let code = run(&arguments, &host, streams).await;
        Run { out: out.text(), err: err.text(), code }
    }
}
