//! A component that is a process of the agent: it is started, given up when it is silent, started again, and stopped.

mod life;

use std::io;
use std::process::ExitStatus;

use async_trait::async_trait;
use prost::Message;
use tokio::time::{Duration, Instant, timeout};
use tracing::{info, warn};

use super::process::{CommandLine, Process, REAP_MAX, Start, make_directory};
use super::runtime::{Context, Leave, Runtime, Turn, Units, describe, until};
use super::shared::metrics_socket;
use super::spec::CommandSpec;
use crate::unit::State;
use crate::wire;
pub(super) use life::grace;
use life::{Act, Life, Timing};

/// One process after the other.
pub(super) struct CommandRuntime {
    context: Context,
    spec: CommandSpec,
    life: Life,
    process: Option<Process>,
}

impl CommandRuntime {
    pub(super) fn new(context: Context, spec: CommandSpec) -> CommandRuntime {
        let life = Life::new(Timing::new(&spec), Instant::now());
        CommandRuntime { context, spec, life, process: None }
    }

    async fn carry_out(&mut self, act: Act) -> Option<Turn> {
        let pid = self.pid().unwrap_or_default();
        match act {
            Act::Spawn => return Some(self.spawn().await),
            Act::Missed(misses) => {
                let message = format!("Degraded: pid '{pid}' missed {misses} check-in(s)");
                return Some(Turn::new(State::Degraded, message, Units::AsTold));
            }
            Act::GiveUp(misses) => {
                let message = format!("Failed: pid '{pid}' missed {misses} check-ins and will be killed");
                warn!(
                    component = self.context.named.id,
                    pid, misses, "a component does not check in: it is killed"
                );
                self.process.iter().for_each(Process::kill);
                return Some(Turn::new(State::Failed, message, Units::Same));
            }
            Act::Terminate => self.process.iter().for_each(Process::terminate),
            Act::Kill => {
                warn!(
                    component = self.context.named.id,
                    pid, "a component does not stop in time: it is killed"
                );
                if let Some(process) = &mut self.process {
                    process.kill();
                    // One that cannot be killed waits in the kernel: nobody can wait for that.
                    let _ = timeout(REAP_MAX, process.wait()).await;
                }
                self.process = None;
                self.life.ended();
            }
        }
        None
    }

    async fn spawn(&mut self) -> Turn {
        // Streams of the process before are not this one's.
        self.context.endpoint.renew();
        let started = match self.start() {
            Ok(start) => self.context.shared.spawner.spawn(start).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(mut process) => {
                let pid = process.pid;
                info!(component = self.context.named.id, pid, "a component is started");
                process
                    .read(&self.context.reader(self.spec.log.clone()), &self.context.endpoint.process_gone());
                self.process = Some(process);
                self.life.spawned(Instant::now());
                Turn::new(State::Starting, format!("Starting: spawned pid '{pid}'"), Units::New)
            }
            Err(error) => {
                let pause = self.life.spawn_failed(Instant::now());
                warn!(component = self.context.named.id, %error, ?pause, "a component cannot be started: trying again");
                Turn::new(State::Failed, format!("Failed: cannot be started: {error}"), Units::Same)
            }
        }
    }

    fn start(&self) -> io::Result<Start> {
        if let Some(refusal) = super::spec::refuse(&self.context.program.binary) {
            return Err(io::Error::other(refusal));
        }
        let directory = self.context.shared.directory(&self.context.named.id);
        make_directory(&directory)?;
        let mut arguments: Vec<_> = self.spec.args.iter().map(Into::into).collect();
        if let Some(folder) = &self.context.shared.settings.metrics_sockets {
            let socket = metrics_socket(folder, &self.context.named.id);
            arguments.extend(["-E".into(), "http.enabled=true".into(), "-E".into()]);
            arguments.push(format!("http.host=unix://{}", socket.display()).into());
        }
        arguments.extend(["-E".into(), format!("path.data={}", directory.display()).into()]);
        let line = CommandLine {
            prefix: &self.context.shared.prefix,
            binary: &self.context.program.binary,
            arguments,
            environment: self.context.named.environment(&self.spec.env),
            directory: &directory,
        };
        let message = self.context.shared.start_up(&self.context.endpoint.identity).encode_to_vec();
        Ok(Start { command: line.command(), message })
    }

    fn exited(&mut self, exit: io::Result<ExitStatus>) -> Option<Turn> {
        let pid = self.process.take().map(|process| process.pid).unwrap_or_default();
        self.context.endpoint.renew();
        let how = exit.map_or_else(|error| format!("cannot be waited for: {error}"), describe);
        if self.life.is_stopping() {
            info!(component = self.context.named.id, pid, "a component has stopped: it {how}");
            self.life.ended();
            return None;
        }
        let exit = self.life.exited(Instant::now());
        warn!(component = self.context.named.id, pid, pause = ?exit.pause, "a component has ended by itself: it {how}");
        let (state, word) = if exit.is_allowed {
            (State::Stopped, "Suppressing FAILED state due to restart")
        } else {
            (State::Failed, "Failed")
        };
        Some(Turn::new(state, format!("{word}: pid '{pid}' {how}"), Units::Gone))
    }
}

#[async_trait]
impl Runtime for CommandRuntime {
    async fn act(&mut self) -> Option<Turn> {
        while let Some(act) = self.life.poll(Instant::now()) {
            if let Some(turn) = self.carry_out(act).await {
                return Some(turn);
            }
        }
        None
    }

    async fn wait(&mut self) -> Option<Turn> {
        tokio::select! {
            exit = exit(self.process.as_mut()) => self.exited(exit),
            () = until(self.life.deadline()) => None,
        }
    }

    fn checked_in(&mut self, _: &wire::Observed) -> Option<String> {
        self.life.checked_in(Instant::now());
        self.pid().map(|pid| format!("Healthy: communicating with pid '{pid}'"))
    }

    fn is_up(&self) -> bool {
        // What comes after the request to stop says nothing about whether that was heard.
        self.process.is_some() && !self.life.is_stopping()
    }

    fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Its process is the agent's: it ends in any case.
    fn stop(&mut self, _: Leave, grace: Duration) {
        self.life.stop(Instant::now(), grace);
    }

    fn is_ended(&self) -> bool {
        self.life.is_ended()
    }
}

async fn exit(process: Option<&mut Process>) -> io::Result<ExitStatus> {
    match process {
        Some(process) => process.wait().await,
        None => std::future::pending().await,
    }
}
