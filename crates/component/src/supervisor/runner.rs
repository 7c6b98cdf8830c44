//! Runs one component: its process, what it should have, and what it says.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::actions::{Actions, Asked, Reply};
use super::endpoint::{Endpoint, Event};
use super::life::{Act, Life, REAP_MAX, Timing};
use super::logs::{Levels, LogOrigin, LogReader, LogSource};
use super::plan::{Component, Program};
use super::process::{CommandLine, Process, Start, directory, make_directory};
use super::shared::Shared;
use super::states::ComponentState;
use super::tracker::Tracker;
use crate::unit::State;
use crate::wire;

/// What a process has written before its end is read for so long after it.
const REST_OF_OUTPUT: Duration = Duration::from_secs(1);

/// What a runner is told.
#[derive(Debug)]
pub(super) enum Command {
    /// This is what there should be.
    Want(Box<Component>),
    /// This is what the agent is.
    Agent(wire::AgentInfo),
    /// Ask the component.
    Ask(Asked, Reply),
    /// Stop within this time.
    Stop(Duration),
}

/// One component.
pub(super) struct Runner {
    component: Component,
    program: Arc<Program>,
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    tracker: Tracker,
    life: Life,
    process: Option<Process>,
    checkin: Option<(u64, watch::Sender<Option<Arc<wire::Expected>>>)>,
    actions: Actions,
    levels: Levels,
    state: (State, String),
    restarts: u64,
}

impl Runner {
    pub(super) fn new(
        component: Component,
        program: Arc<Program>,
        shared: Arc<Shared>,
        endpoint: Arc<Endpoint>,
    ) -> Runner {
        let mut tracker = Tracker::new(shared.agent(), shared.settings.max_message_size);
        tracker.want(&component);
        let levels = Levels::default();
        levels.set(tracker.levels());
        Runner {
            actions: Actions::new(&component.id),
            life: Life::new(Timing::new(&program.command), Instant::now()),
            state: (State::Starting, "Starting".to_owned()),
            process: None,
            checkin: None,
            restarts: 0,
            component,
            program,
            shared,
            endpoint,
            tracker,
            levels,
        }
    }

    /// Runs it until it is told to stop, and has.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::Receiver<Event>,
    ) {
        loop {
            while let Some(act) = self.life.poll(Instant::now()) {
                self.act(act).await;
            }
            self.publish();
            if self.life.is_ended() {
                break;
            }
            tokio::select! {
                command = commands.recv() => self.command(command.unwrap_or(Command::Stop(Duration::ZERO))),
                Some(event) = events.recv() => self.event(event),
                exit = wait(self.process.as_mut()) => self.exited(&exit),
                () = until(self.life.deadline()) => {}
            }
        }
        self.endpoint.renew();
        self.actions.lost();
        self.set(State::Stopped, "Stopped");
        self.tracker.force(State::Stopped, "Stopped");
        self.publish();
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Want(component) => {
                let changed = self.tracker.want(&component);
                self.component = *component;
                self.levels.set(self.tracker.levels());
                if changed {
                    self.tell();
                }
            }
            Command::Agent(agent) => {
                if self.tracker.set_agent(agent) {
                    self.tell();
                }
            }
            Command::Ask(asked, reply) => self.actions.ask(&asked, reply, self.process.is_some()),
            Command::Stop(grace) => {
                self.endpoint.stop();
                self.life.stop(Instant::now(), grace);
                self.set(State::Stopping, "Stopping");
                self.tracker.force(State::Stopping, "Stopping");
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::CheckinOpened { stream, latest } => {
                self.checkin = Some((stream, latest));
                self.tracker.stream_opened();
            }
            Event::Observed { stream, observed } => {
                let is_current = self.checkin.as_ref().is_some_and(|(open, _)| *open == stream);
                // What comes after the request to stop says nothing about whether that was heard.
                if is_current && self.process.is_some() && !self.life.is_stopping() {
                    self.observed(observed);
                }
            }
            Event::CheckinClosed { stream } => {
                self.checkin.take_if(|(open, _)| *open == stream);
            }
            Event::ActionsOpened { stream, requests } => self.actions.opened(stream, requests),
            Event::Response { response } => self.actions.answered(response),
            Event::ActionsClosed { stream } => self.actions.closed(stream),
        }
    }

    fn observed(&mut self, observed: wire::Observed) {
        self.life.checked_in(Instant::now());
        let pid = self.process.as_ref().map(|process| process.pid).unwrap_or_default();
        self.set(State::Healthy, &format!("Healthy: communicating with pid '{pid}'"));
        if self.tracker.observed(observed) {
            self.tell();
        }
    }

    /// Says what it should have, if it can hear that; else it is told when it connects.
    fn tell(&mut self) {
        if let Some((_, latest)) = &self.checkin {
            latest.send_replace(Some(Arc::new(self.tracker.expected())));
        }
    }

    async fn act(&mut self, act: Act) {
        let pid = self.process.as_ref().map(|process| process.pid).unwrap_or_default();
        match act {
            Act::Spawn => self.spawn().await,
            Act::Missed(misses) => {
                self.set(State::Degraded, &format!("Degraded: pid '{pid}' missed {misses} check-in(s)"));
            }
            Act::GiveUp(misses) => {
                let message = format!("Failed: pid '{pid}' missed {misses} check-ins and will be killed");
                warn!(
                    component = self.component.id,
                    pid, misses, "a component does not check in: it is killed"
                );
                self.set(State::Failed, &message);
                self.tracker.force(State::Failed, &message);
                self.process.iter().for_each(Process::kill);
            }
            Act::Terminate => self.process.iter().for_each(Process::terminate),
            Act::Kill => {
                warn!(component = self.component.id, pid, "a component does not stop in time: it is killed");
                if let Some(process) = &mut self.process {
                    process.kill();
                    // One that cannot be killed waits in the kernel: nobody can wait for that.
                    let _ = timeout(REAP_MAX, process.wait()).await;
                }
                self.process = None;
                self.life.ended();
            }
        }
    }

    async fn spawn(&mut self) {
        self.endpoint.renew();
        self.checkin = None;
        let started = match self.start() {
            Ok(start) => self.shared.spawner.spawn(start).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(process) => {
                let message = format!("Starting: spawned pid '{}'", process.pid);
                info!(component = self.component.id, pid = process.pid, "a component is started");
                self.process = Some(process);
                self.life.spawned(Instant::now());
                self.tracker.process_started("Starting");
                self.set(State::Starting, &message);
                self.read_output();
            }
            Err(error) => {
                let pause = self.life.spawn_failed(Instant::now());
                warn!(component = self.component.id, %error, ?pause, "a component cannot be started: trying again");
                let message = format!("Failed: cannot be started: {error}");
                self.tracker.force(State::Failed, &message);
                self.set(State::Failed, &message);
            }
        }
    }

    fn start(&self) -> io::Result<Start> {
        if let Some(refusal) = super::spec::refuse(&self.program.binary) {
            return Err(io::Error::other(refusal));
        }
        let directory = directory(&self.shared.settings.home, &self.component.id);
        make_directory(&directory)?;
        let settings = &self.shared.settings;
        let mut arguments: Vec<_> = self.program.command.args.iter().map(Into::into).collect();
        if let Some(folder) = &settings.metrics_sockets {
            let socket = super::shared::metrics_socket(folder, &self.component.id);
            arguments.extend(["-E".into(), "http.enabled=true".into(), "-E".into()]);
            arguments.push(format!("http.host=unix://{}", socket.display()).into());
        }
        arguments.extend(["-E".into(), format!("path.data={}", directory.display()).into()]);
        let mut environment: Vec<_> =
            self.program.command.env.iter().map(|v| (v.name.clone(), v.value.clone())).collect();
        environment.push(("AGENT_COMPONENT_ID".to_owned(), self.component.id.clone()));
        environment.push(("AGENT_COMPONENT_TYPE".to_owned(), self.component.kind.clone()));
        let line = CommandLine {
            prefix: &self.shared.prefix,
            binary: &self.program.binary,
            arguments,
            environment,
            directory: &directory,
        };
        let message = self.shared.start_up(&self.endpoint.identity).encode_to_vec();
        Ok(Start { command: line.command(), message })
    }

    fn read_output(&mut self) {
        let Some(process) = &mut self.process else { return };
        let (stdout, stderr) = (process.output.0.take(), process.output.1.take());
        let origin = LogOrigin {
            component: self.component.id.clone(),
            kind: self.component.kind.clone(),
            binary: self.program.name.clone(),
        };
        let reader = LogReader {
            origin: Arc::new(origin),
            keys: Arc::new(self.program.command.log.clone()),
            levels: self.levels.clone(),
            sink: Arc::clone(&self.shared.settings.logs),
        };
        let gone = self.endpoint.process_gone();
        if let Some(stdout) = stdout {
            let reading = reader.clone().run(stdout, LogSource::Stdout);
            tokio::spawn(until_gone(reading, gone.clone()));
        }
        if let Some(stderr) = stderr {
            tokio::spawn(until_gone(reader.run(stderr, LogSource::Stderr), gone));
        }
    }

    fn exited(&mut self, exit: &io::Result<ExitStatus>) {
        let pid = self.process.take().map(|process| process.pid).unwrap_or_default();
        self.endpoint.renew();
        self.checkin = None;
        self.actions.lost();
        let how = match exit {
            Ok(status) => describe(*status),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        if self.life.is_stopping() {
            info!(component = self.component.id, pid, "a component has stopped: it {how}");
            self.life.ended();
            return;
        }
        self.restarts += 1;
        let exit = self.life.exited(Instant::now());
        warn!(component = self.component.id, pid, pause = ?exit.pause, "a component has ended by itself: it {how}");
        let (state, word) = if exit.is_allowed {
            (State::Stopped, "Suppressing FAILED state due to restart")
        } else {
            (State::Failed, "Failed")
        };
        let message = format!("{word}: pid '{pid}' {how}");
        self.set(state, &message);
        self.tracker.force(state, &message);
    }

    fn set(&mut self, state: State, message: &str) {
        if self.state.0 != state || self.state.1 != message {
            self.state = (state, message.to_owned());
        }
    }

    fn publish(&self) {
        self.shared.publish(ComponentState {
            id: self.component.id.clone(),
            kind: self.component.kind.clone(),
            output: self.component.output.clone(),
            state: self.state.0,
            message: self.state.1.clone(),
            pid: self.process.as_ref().map(|process| process.pid),
            restarts: self.restarts,
            version: self.tracker.version().cloned(),
            units: self.tracker.units(),
        });
    }
}

/// What a process leaves behind in its pipes is read; a grandchild that keeps them open is not waited for.
async fn until_gone(reading: impl Future<Output = ()>, gone: tokio_util::sync::CancellationToken) {
    let rest = async {
        gone.cancelled().await;
        sleep(REST_OF_OUTPUT).await;
    };
    tokio::select! {
        () = reading => {}
        () = rest => {}
    }
}

async fn wait(process: Option<&mut Process>) -> io::Result<ExitStatus> {
    match process {
        Some(process) => process.wait().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code '{code}'"),
        (None, Some(signal)) => format!("was ended by signal '{signal}'"),
        (None, None) => "exited".to_owned(),
    }
}
