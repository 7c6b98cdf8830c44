//! The half of an agent: it starts components, tells them what to do, watches them, and stops them.
//!
//! | module | what |
//! |---|---|
//! | [`spec`] | spec files: which components there are |
//! | [`plan`] | from the inputs and outputs of a policy to components and their units |
//! | `unit_config`, `prevention` | what a unit is configured with; when an input must not run |
//! | `authority`, `listener`, `server`, `endpoint` | certificates; who may connect; the streams |
//! | `tracker` | what a component should have against what it says it has: decisions alone |
//! | `runs` | which components run, which leave, and which were left behind |
//! | `runner` | one component: its streams, its tracker, and its runtime |
//! | `runtime` | what a runner needs of the two there are: `command`, a process, and `service`, a service of the system |
//! | `checkins` | whether a component checks in: decisions alone |
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
mod file_name;
pub mod foreign;
mod listener;
pub mod logs;
pub mod plan;
mod prevention;
pub mod process;
mod runner;
mod runs;
mod runtime;
mod server;
mod service;
mod settings;
mod shared;
pub mod spec;
pub mod states;
mod tracker;
mod unit_config;

use std::io;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

pub use actions::{ActionError, Diagnostic};
pub use authority::AuthorityError;
pub use listener::Listen;
pub use logs::{LogOrigin, LogRecord, LogSink, LogSource, OwnLog};
pub use plan::{Component, Program, Run, Unit, Wanted};
pub use process::{Launcher, launch};
pub use settings::{AgentFacts, Settings};
pub use spec::{LogKeys, Platform, Spec, SpecError, Specs};
pub use states::{ComponentState, ComponentVersion, States, UnitStatus};

use crate::tls::{self, TlsError};
use crate::unit::{UnitKey, UnitKind};
use crate::wire;
use actions::Asked;
use authority::{Authority, Registry};
use listener::Listener;
use process::Spawner;
use runner::Command;
use runs::{Mailboxes, Runs};
use shared::Shared;

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

/// Runs components. When it is dropped, they are killed; [`Supervisor::stop`] lets them stop.
#[derive(Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
    /// Held while what there should be changes.
    runs: Mutex<Runs>,
    /// Not held by that: who asks for something does not wait for what stops.
    mailboxes: Arc<Mailboxes>,
    _end: DropGuard,
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
        let (shared, mailboxes) = (Arc::new(shared), Arc::new(Mailboxes::default()));
        let runs = Runs::new(Arc::clone(&shared), registry, Arc::clone(&mailboxes));
        Ok(Supervisor { shared, runs: Mutex::new(runs), mailboxes, _end: end.drop_guard() })
    }

    /// Where components connect to, as they are told.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Tells components what the agent is now: after it has enrolled, it has an id.
    pub async fn set_agent(&self, facts: AgentFacts) {
        let agent = facts.to_wire();
        *self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
        for commands in self.runs.lock().await.commands() {
            let _ = commands.send(Command::Agent(agent.clone())).await;
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
        let interested = self.runs.lock().await.proxying(action);
        let states = self.states().borrow().clone();
        interested
            .iter()
            .filter_map(|id| states.components.get(id))
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
        let commands = self.mailboxes.of(component).ok_or_else(gone)?;
        let (reply, answer) = oneshot::channel();
        let asking = async {
            commands.send(Command::Ask(asked, reply)).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        let late = |_| ActionError::Timeout { component: component.to_owned(), after: most };
        timeout(most, asking).await.map_err(late)?
    }

    /// Sees to it that these components run and no others. What is the same goes on untouched; those that leave have
    /// stopped, or had the time to, before others are started. A component that cannot be run is failed, with the
    /// reason, and stops no other. A service that leaves is uninstalled, also one that an agent before this one had.
    pub async fn apply(&self, components: Vec<Component>) {
        self.runs.lock().await.apply(components).await;
    }

    /// Sees to it that no component runs and no service is installed, also none of an agent before this one. Waits no longer
    /// than `most` for that. Returns those that are there still.
    pub async fn remove_all(&self, most: Duration) -> Vec<String> {
        self.runs.lock().await.remove_all(most).await
    }

    /// Lets go of all components, each within `grace` or what its own spec file gives it, whichever is shorter. Processes
    /// are stopped; services go on.
    pub async fn stop(&self, grace: Duration) {
        // Whoever applies something meanwhile begins with nothing.
        let stopping = self.runs.lock().await.let_go(grace);
        stopping.await;
    }
}
