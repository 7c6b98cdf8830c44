//! What the agent knows while it works.

use std::collections::VecDeque;
use std::sync::Arc;

use fleet_service::error::chain;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::job::JobDone;
use crate::clock::{self, Reading};
use crate::config::UpgradePolicy;
use crate::fleet::{AckEvent, Action, ConnectionSettings, FleetClient, LinkState, Outbox, Report};
use crate::health::{self, Status};
use crate::logs::LogLevel;
use crate::machine::Machine;
use crate::paths::Paths;
use crate::policy::{Facts, Plan, Redactor};
use crate::state::{Identity, PendingAck, Progress, StateError, StateStore};
use crate::workload::{Rejected, State, Workloads};

/// So many results are kept for a server that is away; the oldest go first.
const MOST_ACKS: usize = 1000;
/// So many actions are remembered.
const MOST_TAKEN: usize = 200;

/// Why the agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It is to start again.
    Restart,
    /// It has left its fleet.
    Left,
}

/// What the agent is given.
#[derive(Debug)]
pub struct Context {
    /// Where its files lie.
    pub paths: Paths,
    /// What survives.
    pub store: StateStore,
    /// Its log's level.
    pub log_level: LogLevel,
    /// The level that the configuration file names.
    pub default_level: String,
    /// Local variables of the configuration file.
    pub local: Map<String, Value>,
    /// The file of its own log; `None`: it logs elsewhere.
    pub own_log: Option<std::path::PathBuf>,
    /// How long certificates of its own server hold.
    pub certificate_lifetime: std::time::Duration,
    /// How upgrades are made.
    pub upgrade: UpgradePolicy,
    /// What carries out inputs.
    pub workloads: Workloads,
    /// Something that people should know: a file that was set aside.
    pub notes: Vec<String>,
}

/// The enrolled agent.
#[derive(Debug)]
pub struct Agent {
    pub(super) context: Context,
    pub(super) identity: Identity,
    pub(super) progress: Progress,
    pub(super) machine: Machine,
    pub(super) facts: Facts,
    /// The policy that runs.
    pub(super) policy: Option<Arc<Map<String, Value>>>,
    pub(super) plan: Plan,
    pub(super) redactor: Redactor,
    pub(super) rejected: Rejected,
    /// What is wrong with the agent's disk.
    pub(super) disk_trouble: Option<String>,
    /// What is wrong with the way to the server.
    pub(super) link_trouble: Option<String>,
    /// A policy that was refused: its revision's action and the reason.
    pub(super) refused: Option<Refused>,
    /// How the server is reached now.
    pub(super) connection: ConnectionSettings,
    /// How it was reached before, until the new way has worked.
    pub(super) before: Option<(ConnectionSettings, FleetClient)>,
    pub(super) client: watch::Sender<FleetClient>,
    pub(super) report: watch::Sender<Arc<Report>>,
    pub(super) outbox: watch::Sender<Outbox>,
    pub(super) link: watch::Receiver<LinkState>,
    pub(super) jobs: mpsc::Sender<JobDone>,
    /// Where programs of the machine ask how it is, and what ends that.
    pub(super) monitoring: crate::monitoring::Monitoring,
    /// When diagnostics were made.
    pub(super) diagnosed: VecDeque<Instant>,
    /// How often actions that are tried again were tried, by their ids.
    pub(super) attempts: std::collections::BTreeMap<String, u32>,
    /// Stops an upgrade that is under way.
    pub(super) watching: Option<super::upgrade::Watching>,
    pub(super) proving_level: Option<super::privileges::ProvingLevel>,
    pub(super) upgrading: Option<tokio_util::sync::CancellationToken>,
    pub(super) migrating: Option<super::migrate::Migrating>,
    pub(super) ended: Option<Ended>,
}

/// A policy that was refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) policy: Map<String, Value>,
    pub(super) reason: String,
    pub(super) attempts: u32,
}

impl Agent {
    /// Writes down how far the agent has come. What cannot be written is told and tried again with the next change:
    /// a full disk must not stop what runs.
    pub(super) fn save_progress(&mut self) {
        match self.context.store.save(Progress::NAME, &self.progress) {
            Ok(()) => self.disk_trouble = None,
            Err(error) => self.tell_disk(&error),
        }
    }

    pub(super) fn tell_disk(&mut self, error: &StateError) {
        tracing::error!(error = error as &dyn std::error::Error, "the agent's state cannot be written");
        self.disk_trouble = Some(chain(error));
    }

    /// Remembers the result of an action until the server has heard of it.
    pub(super) fn acknowledge(&mut self, event: AckEvent) {
        let acks = &mut self.progress.acks;
        acks.push(PendingAck { event });
        if acks.len() > MOST_ACKS {
            let over = acks.len() - MOST_ACKS;
            tracing::warn!(dropped = over, "too many results wait for the server, the oldest are dropped");
            acks.drain(..over);
        }
        self.save_progress();
        self.publish_outbox();
    }

    /// The result of an action, without anything special.
    pub(super) fn finish(&mut self, action: &Action, outcome: Result<(), String>) {
        if let Err(reason) = &outcome {
            tracing::warn!(action = action.id, kind = action.kind, reason, "action failed");
        }
        let event = AckEvent::of(&self.identity.id, action, outcome);
        self.acknowledge(event);
    }

    pub(super) fn publish_outbox(&self) {
        let events = self.progress.acks.iter().map(|ack| ack.event.clone()).collect();
        self.outbox.send_replace(Outbox { events: Arc::new(events) });
    }

    /// Whether an action comes for the first time; it is remembered.
    pub(super) fn take(&mut self, id: &str) -> bool {
        if self.progress.taken.iter().any(|taken| taken == id) {
            return false;
        }
        self.progress.taken.push(id.to_owned());
        if self.progress.taken.len() > MOST_TAKEN {
            self.progress.taken.remove(0);
        }
        true
    }

    /// The level that counts: the one that somebody chose for this agent, that of the policy, that of the file.
    pub(super) fn level(&self) -> &str {
        self.level_by(&self.plan)
    }

    pub(super) fn level_by<'a>(&'a self, plan: &'a Plan) -> &'a str {
        let chosen = self.progress.log_level.as_deref();
        chosen.or(plan.settings.log_level.as_deref()).unwrap_or(&self.context.default_level)
    }

    pub(super) fn set_level(&self) {
        if let Err(error) = self.context.log_level.set(self.level()) {
            tracing::warn!(%error, "the log level stays");
        }
    }

    /// The time of day by the server's clock: what it has put off is due by that, and over, whatever the machine's own
    /// is set to. `None`: no server has answered since the agent started.
    pub(super) fn server_now(&self) -> Option<i64> {
        self.link.borrow().time.map(Reading::now)
    }

    /// The same, by the machine's clock as long as there is no better one.
    pub(super) fn now(&self) -> i64 {
        self.server_now().unwrap_or_else(clock::now_seconds)
    }

    /// How the agent is now.
    pub(super) fn status(&self) -> Status {
        let states = self.context.workloads.states();
        let components = health::components(&self.plan, &states, &self.rejected, &self.redactor);
        let (state, message) = match &self.refused {
            Some(refused) => {
                let trouble = (State::Failed, self.redactor.text(&refused.reason));
                health::overall(&components, Some(&trouble))
            }
            None if self.policy.is_none() => (State::Starting, "Waiting for the first policy".to_owned()),
            None => {
                let trouble = self.disk_trouble.as_ref().or(self.link_trouble.as_ref());
                let trouble = trouble.map(|message| (State::Degraded, message.clone()));
                health::overall(&components, trouble.as_ref())
            }
        };
        let link = self.link.borrow();
        let (fleet_state, fleet_message) = match (link.connected, link.failures) {
            (true, _) => (State::Healthy, "Connected".to_owned()),
            (false, 0) => (State::Starting, "Connecting".to_owned()),
            _ if link.unknown => {
                (State::Failed, format!("The server does not know this agent: {}", link.error))
            }
            (false, failures) => (State::Degraded, format!("{failures} check-ins failed: {}", link.error)),
        };
        Status {
            id: self.identity.id.clone(),
            version: crate::version::current().to_owned(),
            pid: std::process::id(),
            state,
            message,
            fleet_state,
            fleet_message,
            policy_id: if self.policy.is_some() { self.plan.policy_id.clone() } else { String::new() },
            policy_revision: self.policy.is_some().then_some(self.plan.revision),
            components,
            notes: self.notes(),
            upgrade_details: self.progress.upgrade.clone(),
        }
    }

    fn notes(&self) -> Vec<String> {
        let findings =
            self.plan.findings.iter().map(|finding| format!("{}: {}", finding.about, finding.message));
        let notes = self.context.notes.iter().cloned().chain(findings);
        notes.map(|note| self.redactor.text(&note)).take(100).collect()
    }

    /// The policy that the server is told of. Without one that runs, its revision is 0: what was acknowledged before is
    /// not here any more, and has to be sent again.
    fn told_policy(&self) -> &str {
        if self.progress.policy_id.is_empty() { &self.identity.policy_id } else { &self.progress.policy_id }
    }

    /// Tells the server, with the next check-in or at once.
    pub(super) fn publish(&self) {
        let status = self.status();
        let upgradeable = crate::upgrade::is_possible(&self.context.paths);
        let metadata = self.machine.metadata(&self.identity.id, self.level(), upgradeable);
        let before = self.report.borrow().clone();
        let report = Report {
            status: health::wire_status(status.state).to_owned(),
            message: status.message,
            local_metadata: if *before.local_metadata == metadata {
                Arc::clone(&before.local_metadata)
            } else {
                Arc::new(metadata)
            },
            components: if *before.components == status.components {
                Arc::clone(&before.components)
            } else {
                Arc::new(status.components)
            },
            policy_id: self.told_policy().to_owned(),
            revision: Some(status.policy_revision.unwrap_or(0)),
            upgrade: self.progress.upgrade.clone(),
            rollbacks: Arc::new(crate::upgrade::rollbacks(&self.context.paths, self.now())),
            ack_token: self.progress.ack_token.clone(),
        };
        if report != *before {
            self.report.send_replace(Arc::new(report));
        }
    }
}
