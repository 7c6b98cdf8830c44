//! What an answer to a check-in asks for.

use std::time::Duration;

use fleet_service::error::chain;
use serde_json::Value;

use super::core::{Agent, Ended};
use super::job;
use crate::fleet::{Action, Delivery};
use crate::logs;
use crate::policy::verify_action;

/// What components may want to hear of before it is done.
const PASSED_ON: [&str; 3] = ["UNENROLL", "UPGRADE", "MIGRATE"];

impl Agent {
    /// Carries out an answer. The ack token is kept only when all in it is done, under way, or written down for later.
    pub(super) async fn deliver(&mut self, delivery: Delivery) {
        let mut actions = Vec::with_capacity(delivery.actions.len());
        for value in delivery.actions {
            match serde_json::from_value::<Action>(value) {
                Ok(action) => actions.push(action),
                Err(error) => tracing::warn!(%error, "an action cannot be read, and is passed over"),
            }
        }
        // What is taken back must not begin first.
        actions.sort_by_key(|action| action.kind != "CANCEL");
        let mut wait = Duration::ZERO;
        for action in actions {
            wait = wait.max(self.carry_out_action(action).await);
            if self.ended.is_some() {
                break;
            }
        }
        if !delivery.ack_token.is_empty() && delivery.ack_token != self.progress.ack_token {
            self.progress.ack_token = delivery.ack_token;
            self.save_progress();
        }
        self.publish();
        // The gateway may have been stopped meanwhile.
        let _ = delivery.done.send(wait);
    }

    async fn carry_out_action(&mut self, action: Action) -> Duration {
        if action.kind == "POLICY_CHANGE" {
            // It names a revision, and comes again until that runs: it is never done with.
            return self.change_policy(&action).await;
        }
        if !self.take(&action.id) {
            tracing::debug!(action = action.id, "this action was taken on before");
            return Duration::ZERO;
        }
        tracing::info!(action = action.id, kind = action.kind, "action received");
        if let Some(action) = self.keep_for_later(action) {
            self.begin(action).await;
        }
        Duration::ZERO
    }

    /// Begins an action that is due.
    pub(super) async fn begin(&mut self, action: Action) {
        if let Err(reason) = self.is_believed(&action) {
            return self.finish(&action, Err(reason));
        }
        if PASSED_ON.contains(&action.kind.as_str()) {
            self.context.workloads.pass_on(&action).await;
        }
        match action.kind.as_str() {
            "POLICY_REASSIGN" => self.finish(&action, Ok(())),
            "SETTINGS" => {
                let outcome = self.settings(&action).await;
                self.finish(&action, outcome);
            }
            "CANCEL" => self.cancel(&action),
            "UNENROLL" => self.unenroll(&action).await,
            "MIGRATE" => self.migrate(action),
            "RESTART" => {
                self.finish(&action, Ok(()));
                self.ended = Some(Ended::Restart);
            }
            "REQUEST_DIAGNOSTICS" => self.request_diagnostics(action),
            "INPUT_ACTION" => job::input_action(self, action),
            "PRIVILEGE_LEVEL_CHANGE" => self.change_privileges(action),
            "UPGRADE" => self.upgrade(action),
            // As existing agents do: the server may know more kinds than this agent, and asks in vain.
            kind => tracing::warn!(
                action = action.id,
                kind,
                "this kind of action is not known, and is passed over"
            ),
        }
    }

    /// Whether an action must be signed, and is. One that is signed must be so rightly, needed or not.
    fn is_believed(&self, action: &Action) -> Result<(), String> {
        let protection = &self.plan.settings.protection;
        let is_needed = match action.kind.as_str() {
            "MIGRATE" => true,
            "UNENROLL" | "UPGRADE" => protection.enabled,
            _ => false,
        };
        let key = Some(protection.signing_key.as_str()).filter(|key| !key.is_empty());
        if !is_needed && action.signed.is_none() {
            return Ok(());
        }
        verify_action(key, action).map_err(|error| format!("the action is not believed: {}", chain(&error)))
    }

    async fn settings(&mut self, action: &Action) -> Result<(), String> {
        let level = match action.data.get("log_level") {
            None | Some(Value::Null) => None,
            Some(Value::String(level)) if level.is_empty() => None,
            Some(Value::String(level)) => {
                logs::parse(level).map_err(|error| format!("data.log_level: {error}"))?;
                Some(level.clone())
            }
            Some(_) => return Err("data.log_level: this is not a text".to_owned()),
        };
        self.progress.log_level = level;
        self.set_level();
        if self.policy.is_some() {
            // Units that name no level have the agent's.
            self.rejected = self.context.workloads.apply(&self.plan, self.level()).await;
        }
        Ok(())
    }

    fn cancel(&mut self, action: &Action) {
        let Some(target) = action.data.get("target_id").and_then(Value::as_str) else {
            tracing::warn!(action = action.id, "a CANCEL names no data.target_id, and is passed over");
            return;
        };
        self.forget_queued(target);
    }
}
