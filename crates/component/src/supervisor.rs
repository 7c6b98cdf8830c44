//! The half of an agent: it starts components, tells them what to do, watches them, and stops them.
//!
//! | module | what |
//! |---|---|
//! | [`spec`] | spec files: which components there are |
//! | [`plan`] | from the inputs and outputs of a policy to components and their units |
//! | `unit_config`, `prevention` | what a unit is configured with; when an input must not run |
//! | `authority`, `listener`, `server`, `endpoint` | certificates; who may connect; the streams |
//! | `tracker` | what a component should have against what it says it has: decisions alone |
//! | `life` | when a process is started, given up, stopped: decisions alone |
//! | `runner` | carries both out, for one component |
//! | [`process`], [`logs`], [`actions`] | processes; what they write; what they are asked to do at once |
//! | [`foreign`] | programs that speak no protocol |
//! | [`states`] | how all of it is |
//!
//! A component's certificate and token are its own as long as it is wanted, whatever process it has. All of it runs as
//! any user.

pub mod actions;
mod authority;
mod endpoint;
pub mod foreign;
mod life;
mod listener;
pub mod logs;
pub mod plan;
mod prevention;
pub mod process;
mod runner;
mod server;
mod shared;
pub mod spec;
pub mod states;
mod tracker;
mod unit_config;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, warn};

pub use actions::{ActionError, Diagnostic};
pub use authority::AuthorityError;
pub use listener::Listen;
pub use logs::{LogOrigin, LogRecord, LogSink, LogSource, OwnLog};
pub use plan::{Component, Program, Unit, Wanted};
pub use process::{Launcher, launch};
pub use spec::{LogKeys, Platform, Spec, SpecError, Specs};
pub use states::{ComponentState, ComponentVersion, States, UnitStatus};

use crate::tls::{self, TlsError};
use crate::unit::{State, UnitKey, UnitKind};
use crate::wire;
use actions::Asked;
use authority::{Authority, Registry};
use endpoint::Endpoint;
use listener::Listener;
use process::Spawner;
use runner::{Command, Runner};
use shared::Shared;

/// So many commands may wait for a component's runner.
const MOST_COMMANDS: usize = 64;
/// Components that leave are waited for so long before others are started.
const LEAVE_MAX: Duration = Duration::from_secs(15);
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
    /// Components work in `run/<id>` below it.
    pub home: PathBuf,
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
        Settings {
            home: home.into(),
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
    running: Mutex<BTreeMap<String, Running>>,
    /// The same for those who ask for something at once.
    mailboxes: Lock<BTreeMap<String, mpsc::Sender<Command>>>,
    _end: DropGuard,
}

/// A component that is run.
#[derive(Debug)]
struct Running {
    program: Arc<Program>,
    commands: mpsc::Sender<Command>,
    endpoint: Arc<Endpoint>,
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
    /// reason, and stops no other.
    pub async fn apply(&self, components: Vec<Component>) {
        let mut running = self.running.lock().await;
        let wanted: BTreeMap<&str, &Component> =
            components.iter().map(|component| (component.id.as_str(), component)).collect();
        let leaving: Vec<String> = running
            .iter()
            .filter(|(id, running)| {
                let program = wanted.get(id.as_str()).and_then(|component| component.program.as_ref().ok());
                program != Some(&running.program)
            })
            .map(|(id, _)| id.clone())
            .collect();
        let leaving = leaving.into_iter().filter_map(|id| running.remove(&id).map(|it| (id, it))).collect();
        self.leave(leaving).await;
        let gone: Vec<String> = {
            let states = self.shared.states.borrow();
            states.components.keys().filter(|id| !wanted.contains_key(id.as_str())).cloned().collect()
        };
        for id in gone {
            self.shared.forget(&id);
            let directory = process::directory(&self.shared.settings.home, &id);
            if let Err(error) = std::fs::remove_dir_all(&directory)
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(component = id, %error, "the directory of a component that is gone cannot be removed");
            }
        }
        for component in components {
            self.apply_one(&mut running, component).await;
        }
    }

    async fn apply_one(&self, running: &mut BTreeMap<String, Running>, component: Component) {
        let id = component.id.clone();
        if let Some(running) = running.get(&id) {
            // Its task ends only when it is told to.
            let _ = running.commands.send(Command::Want(Box::new(component))).await;
            return;
        }
        let program = match &component.program {
            Ok(program) => Arc::clone(program),
            Err(problem) => return self.shared.publish(failed(&component, problem)),
        };
        match self.run(component, program) {
            Ok(started) => drop(running.insert(id, started)),
            Err((component, error)) => {
                error!(component = id, error = &error as &dyn std::error::Error, "a component cannot be run");
                self.shared.publish(failed(&component, &error.to_string()));
            }
        }
    }

    fn run(
        &self,
        component: Component,
        program: Arc<Program>,
    ) -> Result<Running, (Box<Component>, AuthorityError)> {
        let identity = match self.shared.authority.identity() {
            Ok(identity) => identity,
            Err(error) => return Err((Box::new(component), error)),
        };
        let (endpoint, events) = Endpoint::new(identity);
        self.registry.add(Arc::clone(&endpoint));
        let (commands, waiting) = mpsc::channel(MOST_COMMANDS);
        self.mailboxes().insert(component.id.clone(), commands.clone());
        let grace = life::grace(&program.command);
        let shared = Arc::clone(&self.shared);
        let runner = Runner::new(component, Arc::clone(&program), shared, Arc::clone(&endpoint));
        let task = tokio::spawn(runner.run(waiting, events));
        Ok(Running { program, commands, endpoint, task, grace })
    }

    /// Stops components side by side. Those that take too long go on stopping by themselves.
    async fn leave(&self, leaving: Vec<(String, Running)>) {
        let leaving = leaving.into_iter().map(async |(id, running)| {
            self.mailboxes().remove(&id);
            let _ = running.commands.send(Command::Stop(running.grace)).await;
            let _ = timeout(LEAVE_MAX, running.task).await;
            self.registry.remove(&running.endpoint.identity.server_name);
        });
        join_all(leaving).await;
    }

    /// Tells components what the agent is now: after it has enrolled, it has an id.
    pub async fn set_agent(&self, facts: AgentFacts) {
        let agent = facts.to_wire();
        *self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
        for running in self.running.lock().await.values() {
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

    /// Stops all components, each within `grace` or what its own spec file gives it, whichever is shorter.
    pub async fn stop(&self, grace: Duration) {
        let running = std::mem::take(&mut *self.running.lock().await);
        self.mailboxes().clear();
        let stopping = running.into_values().map(async |running| {
            let _ = running.commands.send(Command::Stop(running.grace.min(grace))).await;
            // It ends: what does not stop is killed, and what cannot be killed is left.
            let _ = running.task.await;
            self.registry.remove(&running.endpoint.identity.server_name);
        });
        join_all(stopping).await;
    }

    fn mailboxes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, mpsc::Sender<Command>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A component that nothing is run for.
fn failed(component: &Component, problem: &str) -> ComponentState {
    let message = format!("Failed: {problem}");
    let units = component.units.iter().map(|unit| {
        let status = UnitStatus { state: State::Failed, message: message.clone(), payload: None };
        (unit.key.clone(), status)
    });
    ComponentState {
        id: component.id.clone(),
        kind: component.kind.clone(),
        output: component.output.clone(),
        state: State::Failed,
        units: units.collect(),
        message,
        ..ComponentState::default()
    }
}
