//! Every command against a scripted cluster: what is printed, what is asked for, and the exit code.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails, fails its test; a test that cannot run says so"
)]

mod create;
mod errors;
mod etcd;
mod fleet;
mod help;
mod lists;
mod server;
mod ssh;
mod ssh_machines;
mod sshd;
mod terminal;
mod tls;
mod transport;
mod units;
mod world;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fleetctl::{Host, Streams, run};

use fleet::Fleet;
use server::Server;

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

/// Runs the client with these words.
pub(crate) async fn fleetctl_with(words: &[&str], variables: &[(&str, &str)]) -> Run {
    let arguments: Vec<OsString> =
        std::iter::once("fleetctl").chain(words.iter().copied()).map(OsString::from).collect();
    let (out, err) = (Buffer::default(), Buffer::default());
    let streams = Streams { out: Box::new(out.clone()), err: Box::new(err.clone()), err_is_terminal: false };
    let host = Host {
        environment: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        machine_id_file: PathBuf::from("/nonexistent"),
    };
    let code = run(&arguments, &host, streams).await;
    Run { out: out.text(), err: err.text(), code }
}

/// Runs the client with these words.
pub(crate) async fn fleetctl(words: &[&str]) -> Run {
    fleetctl_with(words, &[]).await
}

/// Runs the client against a cluster.
pub(crate) async fn on(fleet: &Fleet, words: &[&str]) -> Run {
    let served = fleet.clone();
    let server = Server::tcp(move |request| served.answer(request)).await;
    let endpoint = format!("--endpoint={}", server.endpoint);
    let words: Vec<&str> = std::iter::once(endpoint.as_str()).chain(words.iter().copied()).collect();
    fleetctl(&words).await
}

/// A directory with these files.
pub(crate) fn files(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// The path of a file as an argument.
pub(crate) fn path(directory: &tempfile::TempDir, name: &str) -> String {
    let path: &Path = directory.path();
    path.join(name).display().to_string()
}
