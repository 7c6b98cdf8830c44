//! Runs one component: what it should have, what it says, and whatever carries it out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::actions::{Actions, Asked, Reply};
use super::command::CommandRuntime;
use super::endpoint::{Endpoint, Event};
use super::logs::Levels;
use super::plan::{Component, Program, Run};
use super::runtime::{Context, Leave, Runtime, Turn, Units};
use super::service::ServiceRuntime;
use super::shared::{Named, Shared};
use super::states::ComponentState;
use super::tracker::Tracker;
use crate::unit::State;
use crate::wire;

/// What a runner is told.
#[derive(Debug)]
pub(super) enum Command {
    /// This is what there should be.
    Want(Box<Component>),
    /// This is what the agent is.
    Agent(wire::AgentInfo),
    /// Ask the component.
    Ask(Asked, Reply),
    /// Let go of it within this time.
    Stop(Leave, Duration),
}

/// One component.
pub(super) struct Runner {
    component: Component,
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    runtime: Box<dyn Runtime>,
    tracker: Tracker,
    checkin: Option<(u64, watch::Sender<Option<Arc<wire::Expected>>>)>,
    actions: Actions,
    levels: Levels,
    state: (State, String),
    restarts: u64,
    leave: Leave,
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
        let named = Named { id: component.id.clone(), kind: component.kind.clone() };
        let run = program.run.clone();
        let (of_runtime, at) = (Arc::clone(&shared), Arc::clone(&endpoint));
        let context = Context { named, program, shared: of_runtime, endpoint: at, levels: levels.clone() };
        let runtime: Box<dyn Runtime> = match run {
            Run::Command(spec) => Box::new(CommandRuntime::new(context, spec)),
            Run::Service(spec) => Box::new(ServiceRuntime::new(context, spec)),
        };
        Runner {
            actions: Actions::new(&component.id),
            state: (State::Starting, "Starting".to_owned()),
            checkin: None,
            restarts: 0,
            leave: Leave::Keep,
            component,
            shared,
            endpoint,
            runtime,
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
            while let Some(turn) = self.runtime.act().await {
                self.turn(turn);
            }
            if self.runtime.is_ended() {
                break;
            }
            self.publish();
            tokio::select! {
                command = commands.recv() => {
                    self.command(command.unwrap_or(Command::Stop(Leave::Keep, Duration::ZERO)));
                }
                Some(event) = events.recv() => self.event(event),
                turn = self.runtime.wait() => turn.into_iter().for_each(|turn| self.turn(turn)),
            }
        }
        self.finish();
    }

    fn finish(mut self) {
        self.endpoint.renew();
        self.actions.lost();
        if self.leave == Leave::Keep {
            self.state = (State::Stopped, "Stopped".to_owned());
            self.tracker.force(State::Stopped, "Stopped");
            return self.publish();
        }
        let directory = self.shared.directory(&self.component.id);
        if let Err(error) = std::fs::remove_dir_all(&directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            warn!(component = self.component.id, %error, "the directory of a component that is gone cannot be removed");
        }
        self.shared.forget(&self.component.id);
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
            Command::Ask(asked, reply) => self.actions.ask(&asked, reply, self.runtime.is_up()),
            Command::Stop(leave, grace) => {
                self.leave = leave;
                self.endpoint.stop();
                self.runtime.stop(leave, grace);
                self.state = (State::Stopping, "Stopping".to_owned());
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
                if is_current && self.runtime.is_up() {
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
        if let Some(message) = self.runtime.checked_in(&observed) {
            self.state = (State::Healthy, message);
        }
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

    fn turn(&mut self, Turn { state, message, units }: Turn) {
        match units {
            Units::AsTold => {}
            Units::Same => self.tracker.force(state, &message),
            Units::New => {
                self.checkin = None;
                self.tracker.process_started("Starting");
            }
            Units::Gone => {
                self.restarts += 1;
                self.checkin = None;
                self.actions.lost();
                self.tracker.force(state, &message);
            }
        }
        self.state = (state, message);
    }

    fn publish(&self) {
        self.shared.publish(ComponentState {
            id: self.component.id.clone(),
            kind: self.component.kind.clone(),
            output: self.component.output.clone(),
            state: self.state.0,
            message: self.state.1.clone(),
            pid: self.runtime.pid(),
            is_connected: self.checkin.is_some() && self.runtime.is_up(),
            restarts: self.restarts,
            version: self.tracker.version().cloned(),
            units: self.tracker.units(),
        });
    }
}
