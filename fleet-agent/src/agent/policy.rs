//! Taking a policy: whole, or not at all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_service::error::chain;
use serde_json::{Map, Value};

use super::core::{Agent, Refused};
use crate::fleet::Action;
use crate::fleet_server::{self, FleetServer};
use crate::machine::Machine;
use crate::monitoring;
use crate::policy::{Facts, Finding, Output, Plan, Redactor, plan, verify_successor, wants_full_name};
use crate::state::SavedPolicy;

/// When a refused policy comes again and again, the server is asked after a time that doubles up to this. Meanwhile
/// nothing else is heard of it: not long.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Agent {
    /// Takes a `POLICY_CHANGE`. Returns how long to wait before the server is asked again: one that is refused would
    /// come again at once.
    pub(super) async fn change_policy(&mut self, action: &Action) -> Duration {
        let Some(Value::Object(policy)) = action.data.get("policy") else {
            return self.refuse(action, &Map::new(), "data.policy is not a map");
        };
        if self.is_running(policy) {
            self.finish(action, Ok(()));
            return Duration::ZERO;
        }
        match self.try_policy(policy).await {
            Ok(()) => {
                tracing::info!(policy = self.plan.policy_id, revision = self.plan.revision, "policy applied");
                self.refused = None;
                self.finish(action, Ok(()));
                Duration::ZERO
            }
            Err(reason) => self.refuse(action, policy, &reason),
        }
    }

    fn is_running(&self, policy: &Map<String, Value>) -> bool {
        self.refused.is_none() && self.policy.as_deref() == Some(policy)
    }

    fn refuse(&mut self, action: &Action, policy: &Map<String, Value>, reason: &str) -> Duration {
        let reason = Redactor::of(policy).with(&self.facts).text(reason);
        let attempts = match &self.refused {
            Some(before) if before.policy == *policy => before.attempts.saturating_add(1),
            _ => 0,
        };
        // The server is told once: it would be the same again.
        if attempts == 0 {
            tracing::error!(action = action.id, reason, "the policy is not applied, the one before goes on");
            self.finish(action, Err(reason.clone()));
        }
        let policy = policy.clone();
        self.refused = Some(Refused { policy, reason, attempts });
        pause(attempts)
    }

    async fn try_policy(&mut self, policy: &Map<String, Value>) -> Result<(), String> {
        let protection = &self.plan.settings.protection;
        if protection.enabled && !protection.signing_key.is_empty() {
            verify_successor(&protection.signing_key, policy).map_err(|error| {
                format!("the agent is protected, and this policy is not by whom it is protected: {error}")
            })?;
        }
        let (machine, facts, problem) = self.named_for(policy).await;
        let mut made = self.make_plan(policy, &facts)?;
        made.findings.extend(problem);
        let connection = self.identity.connection_by(&made.fleet).map_err(|error| error.to_string())?;
        if connection != self.connection {
            self.reconnect(connection).await?;
        }
        let saved = SavedPolicy { policy: policy.clone() };
        self.context
            .store
            .save(SavedPolicy::NAME, &saved)
            .map_err(|error| format!("the policy cannot be kept: {}", chain(&error)))?;
        (self.machine, self.facts) = (machine, facts);
        self.carry_out(policy.clone(), made).await;
        Ok(())
    }

    /// The machine as a policy wants it to be called, and what is known of it then.
    async fn named_for(&self, policy: &Map<String, Value>) -> (Machine, Facts, Option<Finding>) {
        let (machine, problem) = self.machine.clone().called_by(policy).await;
        if machine.name() == self.machine.name() {
            return (machine, self.facts.clone(), problem);
        }
        let facts = machine.facts(&self.identity.id, &self.context.paths);
        // What is wrong with local variables was told at the start.
        let facts = facts.with_local(&self.context.local).unwrap_or(facts);
        (machine, facts, problem)
    }

    /// Reads again what the machine is. A full name that is known now, or another one, is taken over.
    pub(super) async fn read_machine(&mut self) {
        let before = self.machine.clone();
        self.machine = Machine::read().called(before.full_name.clone());
        let Some(policy) = self.policy.clone().filter(|policy| wants_full_name(policy)) else { return };
        let (machine, facts, problem) = self.named_for(&policy).await;
        // A resolver that is away takes no name away.
        if problem.is_some() || machine.name() == before.name() {
            return;
        }
        if let Ok(made) = self.make_plan(&policy, &facts) {
            (self.machine, self.facts) = (machine, facts);
            self.carry_out((*policy).clone(), made).await;
        }
    }

    pub(super) fn make_plan(&self, policy: &Map<String, Value>, facts: &Facts) -> Result<Plan, String> {
        let own_log = self.context.own_log.as_deref();
        let mut made = make_plan(policy, facts, own_log, self.identity.fleet_server.as_ref())?;
        self.context.workloads.name(&mut made);
        Ok(made)
    }

    pub(super) async fn carry_out(&mut self, policy: Map<String, Value>, made: Plan) {
        self.redactor = Redactor::of(&policy).with(&self.facts);
        self.rejected = self.context.workloads.apply(&made, self.level_by(&made)).await;
        self.progress.policy_id.clone_from(&made.policy_id);
        self.plan = made;
        self.policy = Some(Arc::new(policy));
        self.set_level();
        self.serve_monitoring().await;
        for broken in &self.plan.broken {
            tracing::warn!(unit = broken.id, reason = self.redactor.text(&broken.reason), "unit cannot run");
        }
    }

    /// Begins, ends or moves the monitoring over HTTP.
    async fn serve_monitoring(&mut self) {
        let told = || monitoring::Told {
            report: self.report.subscribe(),
            link: self.link.clone(),
            workloads: self.context.workloads.clone(),
        };
        let problem = self.monitoring.follow(self.plan.settings.http.as_ref(), told).await;
        self.plan.findings.extend(problem);
    }

    /// Carries out the policy that was kept: what ran before goes on, be the server there or not.
    pub(super) async fn resume_policy(&mut self, saved: SavedPolicy) {
        let (machine, facts, problem) = self.named_for(&saved.policy).await;
        match self.make_plan(&saved.policy, &facts) {
            Ok(mut made) => {
                made.findings.extend(problem);
                (self.machine, self.facts) = (machine, facts);
                self.carry_out(saved.policy, made).await;
            }
            Err(reason) => {
                tracing::error!(
                    reason,
                    "the policy that was kept cannot be applied, waiting for another one"
                );
                self.context.notes.push(format!("The policy that was kept cannot be applied: {reason}"));
            }
        }
    }
}

/// What a policy asks of an agent with this log, and this server if it runs one.
pub(crate) fn make_plan(
    policy: &Map<String, Value>,
    facts: &Facts,
    own_log: Option<&Path>,
    server: Option<&FleetServer>,
) -> Result<Plan, String> {
    let mut made = plan(policy, facts).map_err(|refusal| chain(&refusal))?;
    made.add_own(own_log);
    match server {
        Some(server) => server.lay_over(&mut made),
        None => fleet_server::refuse(&mut made),
    }
    let unused: Vec<Finding> = made.unused_outputs().filter_map(about_unused).collect();
    made.findings.extend(unused);
    Ok(made)
}

/// How long to wait before a server is asked again that sent a refused policy, for the first time or once more. The
/// first time it has something to hear: how the agent is now.
fn pause(attempts: u32) -> Duration {
    match attempts {
        0 => Duration::ZERO,
        again => Duration::from_secs(1 << (again - 1).min(6)).min(LONGEST_WAIT),
    }
}

/// What is wrong with an output that no input goes to.
fn about_unused(output: &Output) -> Option<Finding> {
    let Output { name, kind, config } = output.clone();
    let mistake = fleet_collect::mistake_of_output(&fleet_collect::OutputUnit { name, kind, config })?;
    let message = format!("no input uses this output yet, and none could: {mistake}");
    Some(Finding { about: format!("outputs.{}", output.name), message })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_policy_delays_only_its_own_return() {
        let seconds: Vec<u64> = (0..6).map(|attempts| pause(attempts).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 10]);
        assert_eq!(pause(u32::MAX), LONGEST_WAIT);
    }

    #[test]
    fn what_is_wrong_with_an_output_is_told_before_it_is_used() {
        let output = |kind: &str, config: Value| {
            let Value::Object(config) = config else { panic!("a map") };
            about_unused(&Output { name: "o".to_owned(), kind: kind.to_owned(), config })
        };
        assert_eq!(output("file", json!({"type": "file", "path": "/tmp"})), None);
        let hosts = output("elasticsearch", json!({"type": "elasticsearch", "hosts": 7})).unwrap();
        assert!(hosts.about == "outputs.o" && hosts.message.contains("hosts"), "{hosts:?}");
        assert!(output("kafka", json!({"type": "kafka"})).unwrap().message.contains("type"));
    }
}
