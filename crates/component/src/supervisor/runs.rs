//! The components that run: which are started, which leave, and which have to wait for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{error, warn};

use super::authority::{AuthorityError, Registry};
use super::endpoint::Endpoint;
use super::plan::{Component, Program, Run, one_of_each};
use super::runner::{Command, Runner};
use super::runtime::Leave;
use super::shared::Shared;
use super::states::ComponentState;
use super::{command, service};

/// So many commands may wait for a component's runner.
const MOST_COMMANDS: usize = 64;
/// Components that leave are waited for so long before others are started.
const LEAVE_MAX: Duration = Duration::from_secs(15);
/// What is killed at the end of its grace is gone after so long.
const END_MAX: Duration = Duration::from_secs(5);

/// Where components that run are told something.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(Mutex<BTreeMap<String, mpsc::Sender<Command>>>);

impl Mailboxes {
    pub(super) fn of(&self, component: &str) -> Option<mpsc::Sender<Command>> {
        self.all().get(component).cloned()
    }

    fn add(&self, component: &str, commands: mpsc::Sender<Command>) {
        self.all().insert(component.to_owned(), commands);
    }

    fn remove(&self, component: &str) {
        self.all().remove(component);
    }

    fn clear(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<Command>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A component that is run.
#[derive(Debug)]
struct Running {
    program: Arc<Program>,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
    grace: Duration,
}

/// What is run.
#[derive(Debug)]
pub(super) struct Runs {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    mailboxes: Arc<Mailboxes>,
    wanted: BTreeMap<String, Running>,
    /// What was told to stop and takes its time: one of the same id is not run beside it.
    leaving: BTreeMap<String, Running>,
    /// Whether what agents before this one have installed was looked at.
    is_inherited: bool,
}

impl Runs {
    pub(super) fn new(shared: Arc<Shared>, registry: Arc<Registry>, mailboxes: Arc<Mailboxes>) -> Runs {
        let (wanted, leaving) = (BTreeMap::new(), BTreeMap::new());
        Runs { shared, registry, mailboxes, wanted, leaving, is_inherited: false }
    }

    /// Where those that are wanted are told something.
    pub(super) fn commands(&self) -> impl Iterator<Item = &mpsc::Sender<Command>> {
        self.wanted.values().map(|running| &running.commands)
    }

    /// Those whose input units want to hear of an action of the agent.
    pub(super) fn proxying(&self, action: &str) -> Vec<String> {
        let wants = |running: &Running| running.program.proxied_actions.iter().any(|known| known == action);
        self.wanted.iter().filter(|(_, running)| wants(running)).map(|(id, _)| id.clone()).collect()
    }

    /// Has these run and no others.
    pub(super) async fn apply(&mut self, components: Vec<Component>) {
        let components = one_of_each(components);
        self.leaving.retain(|_, running| !running.task.is_finished());
        let wanted: BTreeMap<&str, &Component> =
            components.iter().map(|component| (component.id.as_str(), component)).collect();
        if !std::mem::replace(&mut self.is_inherited, true) {
            self.inherit(&wanted);
        }
        let leaving = self.wanted.extract_if(.., |id, running| {
            let program = wanted.get(id.as_str()).and_then(|component| component.program.as_ref().ok());
            program != Some(&running.program)
        });
        let leaving: Vec<(String, Running, Leave)> = leaving
            .map(|(id, running)| {
                let leave = if wanted.contains_key(id.as_str()) { Leave::Keep } else { Leave::Remove };
                (id, running, leave)
            })
            .collect();
        self.leave(leaving).await;
        self.forget_failed(&wanted);
        for component in components {
            self.apply_one(component).await;
        }
    }

    /// Runs what agents before this one have installed and nobody wants: it leaves with all that does.
    fn inherit(&mut self, wanted: &BTreeMap<&str, &Component>) {
        for component in service::left_behind(&self.shared.settings.home) {
            let id = component.id.clone();
            if wanted.contains_key(id.as_str()) {
                continue;
            }
            if let Err(reason) = self.run_if_allowed(component) {
                warn!(component = id, reason, "a service is left behind");
            }
        }
    }

    /// What could not be run has nobody who says that it is gone.
    fn forget_failed(&self, wanted: &BTreeMap<&str, &Component>) {
        let states = self.shared.states.borrow().clone();
        let ids = states.components.keys();
        ids.filter(|id| !wanted.contains_key(id.as_str()) && !self.leaving.contains_key(*id))
            .for_each(|id| self.shared.forget(id));
    }

    async fn apply_one(&mut self, component: Component) {
        if let Some(running) = self.wanted.get(&component.id) {
            // Its task ends only when it is told to.
            let _ = running.commands.send(Command::Want(Box::new(component))).await;
            return;
        }
        let state = ComponentState::failed(&component);
        if let Err(reason) = self.run_if_allowed(component) {
            self.shared.publish(state(&reason));
        }
    }

    /// Runs it. Returns why it must not be, or cannot.
    fn run_if_allowed(&mut self, component: Component) -> Result<(), String> {
        let program = component.program.clone()?;
        let is_service = matches!(program.run, Run::Service(_));
        if is_service && self.shared.facts().is_unprivileged {
            return Err(format!(
                "{} is a service of the system, which only root can install: run the agent as root \
                 (fleet-agent privileged)",
                component.kind
            ));
        }
        let id = component.id.clone();
        let before = self.leaving.remove(&id);
        match self.run(component, program, before) {
            Ok(running) => {
                self.wanted.insert(id, running);
                Ok(())
            }
            Err(error) => {
                error!(component = id, error = &error as &dyn std::error::Error, "a component cannot be run");
                Err(error.to_string())
            }
        }
    }

    /// `before`: one of the same id, whose end is waited for.
    fn run(
        &self,
        component: Component,
        program: Arc<Program>,
        before: Option<Running>,
    ) -> Result<Running, AuthorityError> {
        let (endpoint, events) = Endpoint::new(self.shared.authority.identity()?);
        self.registry.add(Arc::clone(&endpoint));
        let (commands, waiting) = mpsc::channel(MOST_COMMANDS);
        self.mailboxes.add(&component.id, commands.clone());
        let grace = match &program.run {
            Run::Command(command) => command::grace(command),
            Run::Service(_) => service::GRACE,
        };
        let (shared, registry, of_runner) =
            (Arc::clone(&self.shared), Arc::clone(&self.registry), Arc::clone(&program));
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.task.await;
            }
            let name = endpoint.identity.server_name.clone();
            Runner::new(component, of_runner, shared, endpoint).run(waiting, events).await;
            registry.remove(&name);
        });
        Ok(Running { program, commands, task, grace })
    }

    /// Lets go of components side by side. Those that take too long go on with that by themselves.
    async fn leave(&mut self, leaving: Vec<(String, Running, Leave)>) {
        let mailboxes = Arc::clone(&self.mailboxes);
        let leaving = leaving.into_iter().map(async |(id, mut running, leave)| {
            mailboxes.remove(&id);
            let _ = running.commands.send(Command::Stop(leave, running.grace)).await;
            let is_late = timeout(LEAVE_MAX, &mut running.task).await.is_err();
            is_late.then_some((id, running))
        });
        self.leaving.extend(join_all(leaving).await.into_iter().flatten());
    }

    /// Has none run, and no service installed. Returns those that are there still after `most`.
    pub(super) async fn remove_all(&mut self, most: Duration) -> Vec<String> {
        let end = Instant::now() + most;
        self.apply(Vec::new()).await;
        for running in self.leaving.values_mut() {
            let _ = timeout_at(end, &mut running.task).await;
        }
        self.leaving.retain(|_, running| !running.task.is_finished());
        let left = service::left_behind(&self.shared.settings.home).into_iter().map(|component| component.id);
        left.chain(self.leaving.keys().cloned()).collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// Tells all to stop within `grace`, or what their own spec files give them. Returns what waits for that.
    pub(super) fn let_go(&mut self, grace: Duration) -> impl Future<Output = ()> + use<> {
        self.mailboxes.clear();
        let (wanted, leaving) = (std::mem::take(&mut self.wanted), std::mem::take(&mut self.leaving));
        let stopping = wanted.into_values().chain(leaving.into_values()).map(move |running| async move {
            let grace = running.grace.min(grace);
            let _ = running.commands.send(Command::Stop(Leave::Keep, grace)).await;
            // One that waits for another one of its id to be uninstalled does not hear.
            let _ = timeout(grace + END_MAX, running.task).await;
        });
        async {
            join_all(stopping).await;
        }
    }
}
