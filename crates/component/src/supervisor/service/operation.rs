//! Calls of a service's program: to check, install and uninstall it.

use std::io;
use std::process::ExitStatus;

use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::is_ours;
use super::place::Place;
use crate::supervisor::logs::LogReader;
use crate::supervisor::process::{CommandLine, Process, REAP_MAX, Start, make_directory};
use crate::supervisor::runtime::{Context, describe};
use crate::supervisor::spec::{self, Operation, OperationSpec, ServiceSpec};

/// The variable that has where the service will have to come.
const SOCKET: &str = "AGENT_COMPONENT_SOCKET";

/// A call that is under way. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    operation: Operation,
    process: Process,
    good_codes: Vec<i32>,
    most: Duration,
    deadline: Instant,
    /// Why it was, if it was.
    killed: Option<String>,
    gone: CancellationToken,
    _gone: DropGuard,
}

/// Begins a call, which must be there.
pub(super) async fn begin(
    operation: Operation,
    service: &ServiceSpec,
    context: &Context,
) -> io::Result<Running> {
    let Context { named, program, shared, .. } = context;
    if let Some(refusal) = spec::refuse(&program.binary) {
        return Err(io::Error::other(refusal));
    }
    // It changes the system: the user whose it is would be who does.
    if !is_ours(&std::fs::metadata(&program.binary)?) {
        let refusal = format!("{} is not root's: chown it to root", program.binary.display());
        return Err(io::Error::other(refusal));
    }
    let none = OperationSpec::default();
    let call = service.operations.get(operation).unwrap_or(&none);
    let directory = shared.directory(&named.id);
    make_directory(&directory)?;
    let mut environment = named.environment(&call.env);
    let place = Place::of(service, &shared.settings.sockets);
    environment.push((SOCKET.to_owned(), place.to_string()));
    let line = CommandLine {
        prefix: &shared.prefix,
        binary: &program.binary,
        arguments: call.args.iter().map(Into::into).collect(),
        environment,
        directory: &directory,
    };
    let process = shared.spawner.spawn(Start { command: line.command(), message: Vec::new() }).await?;
    let most = if call.timeout.is_zero() { operation.default_timeout() } else { call.timeout };
    let gone = CancellationToken::new();
    Ok(Running {
        operation,
        process,
        good_codes: call.non_fatal_exit_codes.clone(),
        most,
        deadline: Instant::now() + most,
        killed: None,
        _gone: gone.clone().drop_guard(),
        gone,
    })
}

/// Waits for the end of a call, if there is one. Returns why it has failed. May be dropped and called again.
pub(super) async fn end(running: Option<&mut Running>) -> Result<(), String> {
    match running {
        Some(running) => running.end().await,
        None => std::future::pending().await,
    }
}

impl Running {
    pub(super) fn operation(&self) -> Operation {
        self.operation
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Has what it writes read.
    pub(super) fn read(&mut self, reader: &LogReader) {
        self.process.read(reader, &self.gone);
    }

    /// Ends it.
    pub(super) fn abort(&mut self) {
        self.kill("was ended with the agent".to_owned());
    }

    fn kill(&mut self, why: String) {
        // With what it waits for itself: a script would leave that behind.
        self.process.kill_group();
        self.killed = Some(why);
        self.deadline = Instant::now() + REAP_MAX;
    }

    async fn end(&mut self) -> Result<(), String> {
        loop {
            tokio::select! {
                exit = self.process.wait() => return self.judge(exit),
                () = sleep_until(self.deadline) => match &self.killed {
                    None => self.kill(format!("took longer than {:?}", self.most)),
                    // It waits in the kernel: nobody can wait for that.
                    Some(why) => return Err(format!("{why}, and cannot be ended")),
                },
            }
        }
    }

    fn judge(&self, exit: io::Result<ExitStatus>) -> Result<(), String> {
        if let Some(why) = &self.killed {
            return Err(why.clone());
        }
        let status = exit.map_err(|error| format!("cannot be waited for: {error}"))?;
        let is_good = status.success() || status.code().is_some_and(|code| self.good_codes.contains(&code));
        if is_good { Ok(()) } else { Err(describe(status)) }
    }
}
