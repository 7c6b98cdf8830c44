//! An agent without a fleet: its policy is what the configuration file says of inputs and outputs.
//!
//! The file is looked at every second. One that cannot be used is told, and the policy before goes on.

mod file;
mod status;

use std::sync::Arc;
use std::time::Duration;

use fleet_service::drain::Drain;
use fleet_service::error::chain;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::agent::{components_shown, make_plan, write_diagnostics};
use crate::config::Config;
use crate::control::{Ask, Question, Questions, Told};
use crate::daemon::{After, Options};
use crate::diagnostics::Material;
use crate::fleet::{LinkState, Report};
use crate::machine::Machine;
use crate::monitoring::{self, Monitoring};
use crate::policy::{Facts, Plan, Redactor};
use crate::state::StateStore;
use crate::workload::{self, Rejected, Workloads};

pub(crate) use file::SECTIONS;
use file::Stamp;
pub use file::{ID, policy};

/// The file is looked at so often.
const LOOK: Duration = Duration::from_secs(1);
/// What runs has so long to end.
const STOP_MAX: Duration = Duration::from_secs(20);
const NO_UPGRADE: &str =
    "an agent without a fleet is upgraded by its new version: fleet-agent install --force";

/// Who the agent is, for events: the same over restarts.
#[derive(Debug, Serialize, Deserialize)]
struct Name {
    id: String,
}

impl Name {
    /// The document's name.
    const NAME: &'static str = "standalone";
}

/// The agent at work.
struct Standalone<'a> {
    options: &'a Options,
    id: String,
    machine: Machine,
    facts: Facts,
    workloads: Workloads,
    policy: Map<String, Value>,
    plan: Plan,
    redactor: Redactor,
    rejected: Rejected,
    /// What is wrong with the file, if the policy before goes on.
    wrong: Option<String>,
    notes: Vec<String>,
    seen: Option<Stamp>,
    report: watch::Sender<Arc<Report>>,
    link: watch::Sender<LinkState>,
    monitoring: Monitoring,
}

/// Runs until it is told to stop, or to start again: as the agent of a fleet, perhaps.
pub async fn run(
    options: &Options,
    store: &StateStore,
    notes: Vec<String>,
    questions: &mut Questions,
    drain: &Drain,
) -> After {
    let mut agent = Standalone::new(options, store, notes).await;
    agent.take_file().await;
    let after = agent.turn(questions, drain).await;
    agent.monitoring.end();
    agent.workloads.stop(STOP_MAX).await;
    after
}

/// The id that was kept, or a new one.
fn id_of(store: &StateStore) -> String {
    if let Ok((Some(Name { id }), _)) = store.load::<Name>(Name::NAME).map(crate::state::Found::split) {
        return id;
    }
    let name = Name { id: uuid::Uuid::new_v4().to_string() };
    if let Err(error) = store.save(Name::NAME, &name) {
        tracing::error!(error = &error as &dyn std::error::Error, "the agent's id cannot be kept");
    }
    name.id
}

impl<'a> Standalone<'a> {
    async fn new(options: &'a Options, store: &StateStore, notes: Vec<String>) -> Standalone<'a> {
        let id = id_of(store);
        let machine = Machine::read();
        let who = workload::Who { id: id.clone(), is_standalone: true, platform: options.platform.clone() };
        Standalone {
            options,
            facts: machine.facts(&id, &options.paths),
            machine,
            workloads: workload::start(&options.paths, &who, options.config.otelcol.clone()).await,
            id,
            policy: Map::new(),
            plan: Plan::default(),
            redactor: Redactor::default(),
            rejected: Rejected::new(),
            wrong: None,
            notes,
            seen: None,
            report: watch::Sender::new(Arc::default()),
            link: watch::Sender::new(LinkState { connected: true, ..LinkState::default() }),
            monitoring: Monitoring::default(),
        }
    }

    async fn turn(&mut self, questions: &mut Questions, drain: &Drain) -> After {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut states = Vec::new();
        let workloads = self.workloads.clone();
        loop {
            tokio::select! {
                biased;
                () = drain.token().cancelled() => return After::Exit,
                asked = questions.recv() => {
                    let Some(question) = asked else { return After::Exit };
                    if self.answer(question) {
                        return After::StartAgain;
                    }
                }
                () = workloads.changed(&mut states) => self.publish(),
                _ = look.tick() => {
                    if Stamp::of(&self.options.paths.config_file) != self.seen {
                        self.take_file().await;
                    }
                }
            }
        }
    }

    /// Answers a question; whether the agent is to start again.
    fn answer(&self, Question { ask, answer }: Question) -> bool {
        let mut is_over = false;
        let told = match ask {
            Ask::Status => Told::Done(json!(self.status())),
            Ask::Inspect => Told::Done(Value::Object(self.redactor.policy(&self.policy))),
            Ask::Components => Told::Done(components_shown(&self.plan, &self.redactor)),
            Ask::MayUninstall { .. } => Told::Done(Value::Null),
            Ask::Restart => {
                is_over = true;
                Told::Done(Value::Null)
            }
            Ask::Upgrade { .. } => Told::Refused(NO_UPGRADE.to_owned()),
            Ask::Diagnostics { path } => {
                let material = self.material();
                tokio::spawn(async move { answer.send(write_diagnostics(material, path).await) });
                return false;
            }
        };
        // Who asked may have gone.
        let _ = answer.send(told);
        is_over
    }

    fn material(&self) -> Material {
        Material {
            status: json!(self.status()),
            policy: Value::Object(self.redactor.policy(&self.policy)),
            components: components_shown(&self.plan, &self.redactor),
            metadata: self.machine.metadata(&self.id, &self.options.config.log_level, false),
            variables: self.facts.clone(),
            redactor: self.redactor.clone(),
            logs: self.options.paths.logs.clone(),
            workloads: self.workloads.clone(),
        }
    }

    /// Takes the policy of the file: whole, or not at all.
    async fn take_file(&mut self) {
        let path = self.options.paths.config_file.clone();
        self.seen = Stamp::of(&path);
        self.wrong = self.try_file().await.err();
        match &self.wrong {
            None => tracing::info!(file = %path.display(), revision = self.plan.revision, "policy applied"),
            Some(reason) => tracing::error!(reason, "the file is not applied, the policy before goes on"),
        }
        self.publish();
    }

    async fn try_file(&mut self) -> Result<(), String> {
        let path = &self.options.paths.config_file;
        // What else it says must be right, too: the agent would not start again with it.
        let config = Config::read(path, &self.options.overrides, true);
        let config = config.map_err(|error| chain(&error))?;
        let revision = self.plan.revision + 1;
        let policy = policy(path, revision)?
            .ok_or_else(|| format!("{} says nothing of inputs and outputs any more", path.display()))?;
        let (machine, problem) = Machine::read().called_by(&policy).await;
        let facts = machine.facts(&self.id, &self.options.paths);
        let facts = facts.with_local(&config.local).map_err(|error| chain(&error))?;
        let made = make_plan(&policy, &facts, self.options.own_log.as_deref(), None);
        let redactor = Redactor::of(&policy).with(&facts);
        let mut made = made.map_err(|reason| redactor.text(&reason))?;
        made.findings.extend(problem);
        (self.machine, self.facts) = (machine, facts);
        self.redactor = redactor;
        self.workloads.name(&mut made);
        let level = made.settings.log_level.clone().unwrap_or(config.log_level);
        let level = if level.is_empty() { "info" } else { &level };
        self.rejected = self.workloads.apply(&made, level).await;
        (self.plan, self.policy) = (made, policy);
        if let Err(error) = self.options.log_level.set(level) {
            tracing::warn!(%error, "the log level stays");
        }
        self.serve_monitoring().await;
        Ok(())
    }

    async fn serve_monitoring(&mut self) {
        let told = || monitoring::Told {
            report: self.report.subscribe(),
            link: self.link.subscribe(),
            workloads: self.workloads.clone(),
        };
        let problem = self.monitoring.follow(self.plan.settings.http.as_ref(), told).await;
        self.plan.findings.extend(problem);
    }
}
