//! Programs that speak no protocol: they are started, their lines are taken, and they die with the agent.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::logs::{Levels, LogOrigin, LogReader, LogSink};
use super::process::{CommandLine, Launcher, Process, Spawner, Start};
use super::spec::LogKeys;

/// Starts programs that speak no protocol.
#[derive(Debug)]
pub struct Starter {
    spawner: Spawner,
    prefix: Vec<OsString>,
}

/// A program that is to be started.
#[derive(Clone, Debug)]
pub struct Foreign<'a> {
    /// Its file, which nobody but its owner may be able to write.
    pub binary: &'a Path,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its working directory, which must be there.
    pub directory: &'a Path,
    /// Who its lines are of.
    pub origin: LogOrigin,
    /// What is what in lines of JSON.
    pub keys: LogKeys,
    /// Where its lines go.
    pub logs: Arc<dyn LogSink>,
}

/// A program that runs. It is killed when this is dropped.
pub struct Running {
    process: Process,
    /// What it has left in its pipes is read for a moment after its end.
    _gone: DropGuard,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Running").field(&self.process.pid).finish()
    }
}

impl Starter {
    /// Sees who can have them die with this process.
    ///
    /// # Errors
    /// There is no thread.
    pub async fn new(launcher: &Launcher) -> io::Result<Starter> {
        Ok(Starter { spawner: Spawner::start()?, prefix: launcher.prefix().await })
    }

    /// Starts a program.
    ///
    /// # Errors
    /// It cannot be started, or must not.
    pub async fn start(&self, program: Foreign<'_>) -> io::Result<Running> {
        if let Some(refusal) = super::spec::refuse(program.binary) {
            return Err(io::Error::other(refusal));
        }
        let line = CommandLine {
            prefix: &self.prefix,
            binary: program.binary,
            arguments: program.arguments,
            environment: Vec::new(),
            directory: program.directory,
        };
        let mut process = self.spawner.spawn(Start { command: line.command(), message: Vec::new() }).await?;
        let reader = LogReader {
            origin: Arc::new(program.origin),
            keys: Arc::new(program.keys),
            levels: Levels::default(),
            sink: program.logs,
        };
        let gone = CancellationToken::new();
        process.read(&reader, &gone);
        Ok(Running { process, _gone: gone.drop_guard() })
    }
}

impl Running {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Waits for its end. May be dropped and called again.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Ends it.
    pub fn kill(&self) {
        self.process.kill();
    }
}
