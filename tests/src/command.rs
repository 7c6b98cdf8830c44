//! Running programs, bounded in time.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::error::HarnessError;

/// How a program ended and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Demands exit status 0.
    ///
    /// # Errors
    /// [`HarnessError::Failed`] with both outputs.
    pub fn success(self) -> Result<Self, HarnessError> {
        if self.status.success() { Ok(self) } else { Err(self.failed()) }
    }

    /// Demands an exit status other than 0.
    ///
    /// # Errors
    /// [`HarnessError::Failed`] with both outputs.
    pub fn failure(self) -> Result<Self, HarnessError> {
        if self.status.success() { Err(self.failed()) } else { Ok(self) }
    }

    fn failed(self) -> HarnessError {
        let Self { command, status, stdout, stderr } = self;
        HarnessError::Failed { command, status: status.to_string(), stdout, stderr }
    }
}

/// A program to run: with an environment of its own, so that the caller's never leaks into a test.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    shown: String,
    input: Vec<u8>,
    bound: Duration,
}

impl Run {
    /// A program with its arguments.
    pub(crate) fn new(argv: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let argv: Vec<_> = argv.into_iter().map(|word| word.as_ref().to_os_string()).collect();
        let shown = argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut words = argv.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear().kill_on_drop(true);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/root").env("LANG", "C.UTF-8").env("TERM", "dumb");
        Self { command, shown, input: Vec::new(), bound: Duration::from_secs(60) }
    }

    /// More arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        for word in args {
            self.shown.push(' ');
            self.shown.push_str(&word.as_ref().to_string_lossy());
            self.command.arg(word);
        }
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Text for its standard input.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// How long it may take; 60 s without this.
    pub(crate) fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Runs it to its end.
    pub(crate) async fn output(mut self) -> Result<Output, HarnessError> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = self.shown;
        let mut child =
            self.command.spawn().map_err(|source| HarnessError::Spawn { command: shown.clone(), source })?;
        let stdin = child.stdin.take();
        let input = self.input;
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A program that ends without reading its input is not an error of ours.
                stdin.write_all(&input).await.ok();
            }
        };
        let run = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = match tokio::time::timeout(self.bound, run).await {
            Ok(output) => output.map_err(|source| HarnessError::Spawn { command: shown.clone(), source })?,
            Err(_) => {
                let last = "still running".to_owned();
                return Err(HarnessError::TimedOut {
                    what: format!("`{shown}` ends"),
                    bound: self.bound,
                    last,
                });
            }
        };
        Ok(Output {
            command: shown,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
