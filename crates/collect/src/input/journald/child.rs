//! journalctl as a child: what it writes, what it complains of, and how it ends.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::watch;

/// How much is read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;
/// Of a complaint, so much is kept.
const COMPLAINT: usize = 400;
/// Once its output has ended, so long the process may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// A running journalctl. Killed when it is dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    output: ChildStdout,
    /// The newest complaint.
    pub(super) complaints: watch::Receiver<String>,
}

impl Child {
    /// Starts it.
    pub(super) fn start(program: &Path, arguments: &[OsString]) -> Result<Child, String> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Complaints are looked at by their words.
        command.env("LC_ALL", "C").env("SYSTEMD_COLORS", "0").env("SYSTEMD_PAGER", "").kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| cannot_run(program, &error))?;
        let (Some(output), Some(errors)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(format!("{} was started without its output", program.display()));
        };
        let (sender, complaints) = watch::channel(String::new());
        tokio::spawn(listen(errors, sender));
        Ok(Child { process, output, complaints })
    }

    /// Waits for output. Cancel-safe. 0 at its end.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.reserve(CHUNK);
        (&mut self.output).take(CHUNK as u64).read_buf(buffer).await
    }

    /// Stops it.
    pub(super) async fn stop(mut self) {
        // It holds nothing that it would have to write down.
        let _ = self.process.kill().await;
    }

    /// How it has ended.
    pub(super) async fn end(mut self) -> End {
        let status = tokio::time::timeout(GRACE, self.process.wait()).await;
        // The task that listens ends with the process.
        let _ = tokio::time::timeout(GRACE, async { while self.complaints.changed().await.is_ok() {} }).await;
        let complaint = self.complaints.borrow().clone();
        let well = matches!(&status, Ok(Ok(status)) if status.success());
        let how = match status {
            Ok(Ok(status)) => format!("journalctl ended ({status})"),
            Ok(Err(error)) => format!("journalctl is lost: {error}"),
            Err(_) => {
                let _ = self.process.kill().await;
                "journalctl closed its output and went on".to_owned()
            }
        };
        End { well, words: if complaint.is_empty() { how } else { explained(&complaint, &how) } }
    }
}

/// How a child has ended.
#[derive(Debug)]
pub(super) struct End {
    /// By itself, with all done.
    pub(super) well: bool,
    /// In words.
    pub(super) words: String,
}

/// A complaint with what it means.
pub(super) fn explained(complaint: &str, otherwise: &str) -> String {
    format!("{} (journalctl: {complaint})", hint(complaint).unwrap_or(otherwise))
}

fn cannot_run(program: &Path, error: &io::Error) -> String {
    let program = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{program} is not there: this input reads the journal through it; install systemd, or say where it is in \
             journalctl_path"
        ),
        io::ErrorKind::PermissionDenied => format!("{program} may not be run by the agent's user: {error}"),
        _ => format!("{program} cannot be run: {error}"),
    }
}

/// What a complaint means, where that is known.
fn hint(complaint: &str) -> Option<&'static str> {
    let complaint = complaint.to_ascii_lowercase();
    let rights =
        ["permission", "not seeing messages from other users", "can see all messages", "-q to turn off"];
    if rights.iter().any(|words| complaint.contains(words)) {
        return Some(
            "the agent's user may not read all of the journal: run the agent as root, or add its user to the group \
             systemd-journal",
        );
    }
    None
}

/// Keeps the newest complaint until the process has none any more.
async fn listen(errors: ChildStderr, sender: watch::Sender<String>) {
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    while let Ok(byte) = errors.read_u8().await {
        if byte != b'\n' {
            if line.len() < COMPLAINT {
                line.push(byte);
            }
            continue;
        }
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        line.clear();
        if !text.is_empty() {
            tracing::debug!(complaint = text, "journalctl complains");
            // The first that tells of rights says more than those after it.
            sender.send_if_modified(|last| {
                let better = hint(last).is_none();
                if better {
                    *last = text;
                }
                better
            });
        }
    }
}
