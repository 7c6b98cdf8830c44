//! An agent that does not run: what it keeps, for people, without its secrets. Nothing is changed by looking.

use fleet_service::error::chain;
use serde_json::{Map, Value, json};

use crate::agent::{components_shown, make_plan};
use crate::config::Config;
use crate::diagnostics::Material;
use crate::health::Status;
use crate::machine::Machine;
use crate::paths::Paths;
use crate::policy::{Facts, Plan, Redactor};
use crate::state::{Identity, Progress, SavedPolicy, StateError, StateStore};
use crate::workload::{State, Workloads};

/// What an agent keeps that does not run.
#[derive(Debug)]
pub struct AtRest {
    identity: Option<Identity>,
    progress: Progress,
    policy: Option<Map<String, Value>>,
    /// What the policy would become now.
    plan: Plan,
    redactor: Redactor,
    facts: Facts,
    machine: Machine,
    notes: Vec<String>,
}

impl AtRest {
    /// Reads it, with the configuration, or why there is none. `None`: nothing is kept, or it is sealed with a credential of the agent's service.
    ///
    /// # Errors
    /// What is kept cannot be read.
    pub fn read(paths: &Paths, config: Result<&Config, &str>) -> Result<Option<AtRest>, StateError> {
        let Some(store) = StateStore::at_rest(&paths.state()) else { return Ok(None) };
        let identity = store.peek::<Identity>(Identity::NAME)?;
        let progress = store.peek::<Progress>(Progress::NAME)?.unwrap_or_default();
        let policy = store.peek::<SavedPolicy>(SavedPolicy::NAME)?.map(|saved| saved.policy);
        let mut notes = vec!["the agent does not run: this is what it keeps".to_owned()];
        let policy = if identity.is_none() && policy.is_none() {
            crate::standalone::policy(&paths.config_file, 1).unwrap_or_else(|problem| {
                notes.push(problem);
                None
            })
        } else {
            policy
        };
        let machine = Machine::read();
        let id = identity.as_ref().map(|identity| identity.id.as_str()).unwrap_or_default();
        let facts = machine.facts(id, paths);
        let none = Config::default();
        let config = config.unwrap_or_else(|problem| {
            notes.push(problem.to_owned());
            &none
        });
        let facts = facts.with_local(&config.local).unwrap_or_else(|error| {
            notes.push(chain(&error));
            facts
        });
        let server = identity.as_ref().and_then(|identity| identity.fleet_server.as_ref());
        let made = policy.as_ref().map(|policy| make_plan(policy, &facts, None, server));
        let plan = made.unwrap_or_else(|| Ok(Plan::default())).unwrap_or_else(|reason| {
            notes.push(format!("the policy that was kept cannot be applied: {reason}"));
            Plan::default()
        });
        let redactor = policy.as_ref().map(|policy| Redactor::of(policy).with(&facts)).unwrap_or_default();
        Ok(Some(AtRest { identity, progress, policy, plan, redactor, facts, machine, notes }))
    }

    /// The policy; `None`: there is none.
    #[must_use]
    pub fn policy(&self) -> Option<Value> {
        self.policy.as_ref().map(|policy| Value::Object(self.redactor.policy(policy)))
    }

    /// What it would become on this machine now.
    #[must_use]
    pub fn components(&self) -> Value {
        components_shown(&self.plan, &self.redactor)
    }

    /// What diagnostics are made of.
    #[must_use]
    pub fn material(&self, paths: &Paths) -> Material {
        let status = self.status();
        let level = self.progress.log_level.as_deref().unwrap_or("info");
        Material {
            status: json!(status),
            policy: self.policy().unwrap_or_default(),
            components: self.components(),
            metadata: self.machine.metadata(&status.id, level, false),
            variables: self.facts.clone(),
            redactor: self.redactor.clone(),
            logs: paths.logs.clone(),
            workloads: Workloads::default(),
        }
    }

    fn status(&self) -> Status {
        let policy_id = self.policy.as_ref().and_then(|policy| policy.get("id")?.as_str());
        Status {
            id: self.identity.as_ref().map(|identity| identity.id.clone()).unwrap_or_default(),
            version: crate::version::current().to_owned(),
            pid: 0,
            state: State::Stopped,
            message: "The agent does not run".to_owned(),
            fleet_state: State::Stopped,
            fleet_message: if self.identity.is_some() { "Not connected" } else { "Not enrolled" }.to_owned(),
            policy_id: policy_id.unwrap_or_default().to_owned(),
            policy_revision: self.policy.as_ref().and_then(|policy| policy.get("revision")?.as_i64()),
            components: Vec::new(),
            notes: self.notes.iter().map(|note| self.redactor.text(note)).collect(),
            upgrade_details: self.progress.upgrade.clone(),
        }
    }
}
