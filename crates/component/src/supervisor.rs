//! The half of an agent: it starts components, tells them what to do, watches them, and stops them.
//!
//! | module | what |
//! |---|---|
//! | [`spec`] | spec files: which components there are |
//! | [`plan`] | from the inputs and outputs of a policy to components and their units |
//! | `unit_config`, `prevention` | what a unit is configured with; when an input must not run |
//! | `authority`, `listener`, `server`, `endpoint` | certificates; who may connect; the streams |
//! | `tracker` | what a component should have against what it says it has: decisions alone |
//! | `runner` | one component: its streams, its tracker, and its runtime |
//! | `runtime` | what a runner needs of the two there are: `command`, a process, and `service`, a service of the system |
//! | [`process`], [`logs`], [`actions`] | processes; what they write; what they are asked to do at once |
//! | [`foreign`] | programs that speak no protocol |
//! | [`states`] | how all of it is |
//!
//! A component's certificate and token are its own as long as it is wanted, whatever process it has. All of it runs as
//! any user, but services.

pub mod actions;
mod authority;
mod checkins;
mod command;
mod endpoint;
pub mod foreign;
mod listener;
pub mod logs;
pub mod plan;
mod prevention;
pub mod process;
mod runner;
mod runtime;
mod server;
mod service;
mod shared;
pub mod spec;
pub mod states;
mod tracker;
mod unit_config;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, warn};

pub use actions::{ActionError, Diagnostic};
pub use authority::AuthorityError;
pub use listener::Listen;
pub use logs::{LogOrigin, LogRecord, LogSink, LogSource, OwnLog};
pub use plan::{Component, Program, Run, Unit, Wanted};
pub use process::{Launcher, launch};
pub use spec::{LogKeys, Platform, Spec, SpecError, Specs};
pub use states::{ComponentState, ComponentVersion, States, UnitStatus};

use crate::tls::{self, TlsError};
use crate::unit::{UnitKey, UnitKind};
use crate::wire;
use actions::Asked;
use authority::{Authority, Registry};
use endpoint::Endpoint;
use listener::Listener;
use process::Spawner;
use runner::{Command, Runner};
use runtime::Leave;
use shared::Shared;

/// So many commands may wait for a component's runner.
const MOST_COMMANDS: usize = 64;
/// Components that leave are waited for so long before others are started.
const LEAVE_MAX: Duration = Duration::from_secs(15);
/// What is killed at the end of its grace is gone after so long.
const END_MAX: Duration = Duration::from_secs(5);
/// How long components may take for their files.
const DIAGNOSTICS_MAX: Duration = Duration::from_secs(20);
/// The same if it is measured what the processor does.
const CPU_DIAGNOSTICS_MAX: Duration = Duration::from_secs(60);
/// The metrics that need that time.
const CPU: &str = "CPU";

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There are no certificates.
    #[error("components cannot prove themselves")]
    Authority(#[source] AuthorityError),
    /// There is no TLS.
    #[error("components cannot be served")]
    Tls(#[source] TlsError),
    /// The address cannot be listened on.
    #[error("components cannot be served at {listen:?}")]
    Bind {
        /// The address.
        listen: Listen,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no thread.
    #[error("no component can be started")]
    Thread(#[source] io::Error),
}

/// What components are told of their agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFacts {
    /// Its id; empty until it has enrolled.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Whether that is not a release.
    pub is_snapshot: bool,
    /// Whether nobody manages it.
    pub is_standalone: bool,
    /// Whether it runs without privileges.
    pub is_unprivileged: bool,
}

impl AgentFacts {
    fn to_wire(&self) -> wire::AgentInfo {
        let mode = if self.is_standalone { wire::Mode::Standalone } else { wire::Mode::Managed };
        wire::AgentInfo {
            id: self.id.clone(),
            version: self.version.clone(),
            is_snapshot: self.is_snapshot,
            mode: mode.into(),
            is_unprivileged: self.is_unprivileged,
        }
    }
}

/// How a supervisor works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Components work in `run/<id>` below it; what was installed is kept in `services`.
    pub home: PathBuf,
    /// Where services come to for their credentials, if their spec files do not say where that is.
    pub sockets: PathBuf,
    /// Where they connect to.
    pub listen: Listen,
    /// What they are told of their agent.
    pub agent: AgentFacts,
    /// Who sees to it that they die with it.
    pub launcher: Launcher,
    /// Where their lines go.
    pub logs: Arc<dyn LogSink>,
    /// The folder of the sockets where they are asked to serve their figures; `None`: they are not.
    pub metrics_sockets: Option<PathBuf>,
    /// The largest message in bytes.
    pub max_message_size: usize,
    /// Whether larger ones are sent in pieces.
    pub sends_chunks: bool,
}

impl Settings {
    /// On a free port of this machine, with their lines in the agent's own log.
    pub fn new(home: impl Into<PathBuf>, agent: AgentFacts) -> Settings {
        let home = home.into();
        Settings {
            sockets: home.clone(),
            home,
            listen: Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            agent,
            launcher: Launcher::default(),
            logs: Arc::new(OwnLog),
            metrics_sockets: None,
            max_message_size: crate::MAX_MESSAGE_SIZE,
            sends_chunks: true,
        }
    }
}

/// Runs components. When it is dropped, they are killed; [`Supervisor::stop`] lets them stop.
#[derive(Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    /// Held while what there should be changes.
    running: Mutex<Runs>,
    /// The same for those who ask for something at once.
    mailboxes: Lock<BTreeMap<String, mpsc::Sender<Command>>>,
    _end: DropGuard,
}

/// What is run.
#[derive(Debug, Default)]
struct Runs {
    wanted: BTreeMap<String, Running>,
    /// What was told to stop and takes its time: one of the same id is not run beside it.
    leaving: BTreeMap<String, Running>,
    /// Whether what agents before this one have installed was looked at.
    is_inherited: bool,
}

/// A component that is run.
#[derive(Debug)]
struct Running {
    program: Arc<Program>,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
    grace: Duration,
}

impl Supervisor {
    /// Starts to listen. Nothing runs until [`Supervisor::apply`].
    ///
    /// # Errors
    /// The address cannot be listened on, or there are no certificates.
    pub async fn start(settings: Settings) -> Result<Supervisor, StartError> {
        let authority = Authority::make().map_err(StartError::Authority)?;
        let bind = |source| StartError::Bind { listen: settings.listen.clone(), source };
        let listener = Listener::bind(&settings.listen).await.map_err(bind)?;
        let address = listener.address(&settings.listen).map_err(bind)?;
        let registry = Arc::new(Registry::default());
        let tls =
            tls::server(authority.certificate(), Arc::clone(&registry) as _).map_err(StartError::Tls)?;
        let end = CancellationToken::new();
        server::serve(listener, Arc::new(tls), &registry, &settings, &end);
        let shared = Shared {
            spawner: Spawner::start().map_err(StartError::Thread)?,
            prefix: settings.launcher.prefix().await,
            facts: Lock::new(settings.agent.clone()),
            states: watch::Sender::new(Arc::default()),
            settings,
            authority,
            address,
        };
        if shared.prefix.is_empty() && shared.settings.launcher != Launcher::Nobody {
            warn!("components go on if this agent is killed: there is no setpriv that could see to it");
        }
        Ok(Supervisor {
            shared: Arc::new(shared),
            registry,
            running: Mutex::default(),
            mailboxes: Lock::default(),
            _end: end.drop_guard(),
        })
    }

    /// Where components connect to, as they are told.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Sees to it that these components run and no others. What is the same goes on untouched; those that leave have
    /// stopped, or had the time to, before others are started. A component that cannot be run is failed, with the
    /// reason, and stops no other. A service that leaves is uninstalled, also one that an agent before this one had.
    pub async fn apply(&self, components: Vec<Component>) {
        let components = plan::one_of_each(components);
        let mut runs = self.running.lock().await;
        runs.leaving.retain(|_, running| !running.task.is_finished());
        let wanted: BTreeMap<&str, &Component> =
            components.iter().map(|component| (component.id.as_str(), component)).collect();
        if !std::mem::replace(&mut runs.is_inherited, true) {
            self.inherit(&mut runs, &wanted);
        }
        let leaving = runs.wanted.extract_if(.., |id, running| {
            let program = wanted.get(id.as_str()).and_then(|component| component.program.as_ref().ok());
            program != Some(&running.program)
        });
        let leaving: Vec<(String, Running, Leave)> = leaving
            .map(|(id, running)| {
                let leave = if wanted.contains_key(id.as_str()) { Leave::Keep } else { Leave::Remove };
                (id, running, leave)
            })
            .collect();
        self.leave(&mut runs, leaving).await;
        self.forget_failed(&runs, &wanted);
        for component in components {
            self.apply_one(&mut runs, component).await;
        }
    }

    /// Runs what agents before this one have installed and nobody wants: it leaves with all that does.
    fn inherit(&self, runs: &mut Runs, wanted: &BTreeMap<&str, &Component>) {
        for component in service::left_behind(&self.shared.settings.home) {
            let id = component.id.clone();
            if wanted.contains_key(id.as_str()) {
                continue;
            }
            if let Err(reason) = self.run_if_allowed(runs, component) {
                warn!(component = id, reason, "a service is left behind");
            }
        }
    }

    /// What could not be run has nobody who says that it is gone.
    fn forget_failed(&self, runs: &Runs, wanted: &BTreeMap<&str, &Component>) {
        let states = self.shared.states.borrow().clone();
        let ids = states.components.keys();
        ids.filter(|id| !wanted.contains_key(id.as_str()) && !runs.leaving.contains_key(*id))
            .for_each(|id| self.shared.forget(id));
    }

    async fn apply_one(&self, runs: &mut Runs, component: Component) {
        if let Some(running) = runs.wanted.get(&component.id) {
            // Its task ends only when it is told to.
            let _ = running.commands.send(Command::Want(Box::new(component))).await;
            return;
        }
        let state = ComponentState::failed(&component);
        if let Err(reason) = self.run_if_allowed(runs, component) {
            self.shared.publish(state(&reason));
        }
    }

    /// Runs it. Returns why it must not be, or cannot.
    fn run_if_allowed(&self, runs: &mut Runs, component: Component) -> Result<(), String> {
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
        let before = runs.leaving.remove(&id);
        match self.run(component, program, before) {
            Ok(running) => {
                runs.wanted.insert(id, running);
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
        self.mailboxes().insert(component.id.clone(), commands.clone());
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
    async fn leave(&self, runs: &mut Runs, leaving: Vec<(String, Running, Leave)>) {
        let leaving = leaving.into_iter().map(async |(id, mut running, leave)| {
            self.mailboxes().remove(&id);
            let _ = running.commands.send(Command::Stop(leave, running.grace)).await;
            let is_late = timeout(LEAVE_MAX, &mut running.task).await.is_err();
            is_late.then_some((id, running))
        });
        runs.leaving.extend(join_all(leaving).await.into_iter().flatten());
    }

    /// Tells components what the agent is now: after it has enrolled, it has an id.
    pub async fn set_agent(&self, facts: AgentFacts) {
        let agent = facts.to_wire();
        *self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
        for running in self.running.lock().await.wanted.values() {
            let _ = running.commands.send(Command::Agent(agent.clone())).await;
        }
    }

    /// How all components are, now and from now on.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<Arc<States>> {
        self.shared.states.subscribe()
    }

    /// Asks a unit to do something. Returns what came of it.
    ///
    /// # Errors
    /// The component is not there, does not answer in time, or could not do it.
    pub async fn action(
        &self,
        component: &str,
        unit: UnitKey,
        name: &str,
        params: Map<String, Value>,
        most: Duration,
    ) -> Result<Map<String, Value>, ActionError> {
        let asked = Asked::Custom { unit, name: name.to_owned(), params };
        let response = self.ask(component, asked, most).await?;
        actions::result(component, &response)
    }

    /// The first input unit of this type and its component: it is asked when an action names the type alone.
    #[must_use]
    pub fn input_unit(&self, kind: &str) -> Option<(String, UnitKey)> {
        let states = self.shared.states.borrow();
        let component = states.components.values().find(|component| component.kind == kind)?;
        let unit = component.units.keys().find(|unit| unit.kind == UnitKind::Input)?;
        Some((component.id.clone(), unit.clone()))
    }

    /// The input units that want to hear of an action of the agent, such as `UPGRADE`, and their components.
    pub async fn proxied_units(&self, action: &str) -> Vec<(String, UnitKey)> {
        let running = self.running.lock().await;
        let states = self.states().borrow().clone();
        let interested = running
            .wanted
            .iter()
            .filter(|(_, running)| running.program.proxied_actions.iter().any(|known| known == action));
        interested
            .filter_map(|(id, _)| states.components.get(id))
            .flat_map(|component| {
                let inputs = component.units.keys().filter(|unit| unit.kind == UnitKind::Input);
                inputs.map(|unit| (component.id.clone(), unit.clone()))
            })
            .collect()
    }

    /// The files of a component. `metrics`: what is to be measured for them, such as `CPU` and `CONN`.
    ///
    /// # Errors
    /// The component is not there, does not answer in time, or has none.
    pub async fn diagnostics(
        &self,
        component: &str,
        metrics: &[&str],
    ) -> Result<Vec<Diagnostic>, ActionError> {
        let most = if metrics.contains(&CPU) { CPU_DIAGNOSTICS_MAX } else { DIAGNOSTICS_MAX };
        let metrics = metrics.iter().map(|metric| (*metric).to_owned()).collect();
        let response = self.ask(component, Asked::ComponentDiagnostics { metrics }, most).await?;
        actions::diagnostics(component, response)
    }

    /// The files of a unit.
    ///
    /// # Errors
    /// The component is not there, does not answer in time, or has none.
    pub async fn unit_diagnostics(
        &self,
        component: &str,
        unit: UnitKey,
    ) -> Result<Vec<Diagnostic>, ActionError> {
        let response = self.ask(component, Asked::UnitDiagnostics { unit }, DIAGNOSTICS_MAX).await?;
        actions::diagnostics(component, response)
    }

    async fn ask(
        &self,
        component: &str,
        asked: Asked,
        most: Duration,
    ) -> Result<wire::ActionResponse, ActionError> {
        let gone = || ActionError::NoComponent { component: component.to_owned() };
        let commands = self.mailboxes().get(component).cloned().ok_or_else(gone)?;
        let (reply, answer) = oneshot::channel();
        let asking = async {
            commands.send(Command::Ask(asked, reply)).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        let late = |_| ActionError::Timeout { component: component.to_owned(), after: most };
        timeout(most, asking).await.map_err(late)?
    }

    /// Sees to it that no component runs and no service is installed, also none of an agent before this one. Waits no longer
    /// than `most` for that. Returns those that are there still.
    pub async fn remove_all(&self, most: Duration) -> Vec<String> {
        let end = Instant::now() + most;
        self.apply(Vec::new()).await;
        let mut runs = self.running.lock().await;
        for running in runs.leaving.values_mut() {
            let _ = timeout_at(end, &mut running.task).await;
        }
        runs.leaving.retain(|_, running| !running.task.is_finished());
        let left = service::left_behind(&self.shared.settings.home).into_iter().map(|component| component.id);
        left.chain(runs.leaving.keys().cloned()).collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// Lets go of all components, each within `grace` or what its own spec file gives it, whichever is shorter. Processes
    /// are stopped; services go on.
    pub async fn stop(&self, grace: Duration) {
        let runs = std::mem::take(&mut *self.running.lock().await);
        self.mailboxes().clear();
        let stopping = runs.wanted.into_values().chain(runs.leaving.into_values()).map(async |running| {
            let grace = running.grace.min(grace);
            let _ = running.commands.send(Command::Stop(Leave::Keep, grace)).await;
            // One that waits for another one of its id to be uninstalled does not hear.
            let _ = timeout(grace + END_MAX, running.task).await;
        });
        join_all(stopping).await;
    }

    fn mailboxes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, mpsc::Sender<Command>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
