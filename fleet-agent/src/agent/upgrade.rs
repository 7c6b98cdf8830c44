//! Upgrades, as the agent sees them.

use serde_json::json;

use super::core::Agent;
use super::schedule::{metadata, version_of};
use crate::fleet::{Action, UpgradeDetails};
use crate::upgrade::{self, Step};

impl Agent {
    pub(super) fn upgrade(&mut self, action: Action) {
        if !upgrade::is_possible(&self.context.paths) {
            let reason =
                "this agent was not installed by fleet-agent install: upgrade it as it was installed";
            return self.upgrade_step(action, Step::Failed(reason.to_owned()));
        }
    }

    pub(super) fn upgrade_step(&mut self, action: Action, step: Step) {
        let Step::Failed(reason) = step;
        self.progress.upgrade = Some(UpgradeDetails {
            target_version: version_of(&action),
            state: "UPG_FAILED".to_owned(),
            action_id: action.id.clone(),
            metadata: metadata(json!({"failed_state": "UPG_REQUESTED", "error_msg": reason})),
        });
        self.finish(&action, Err(reason));
    }

    pub(super) fn resume_upgrade(&mut self) {}

    pub(super) async fn watch_upgrade(&mut self) {}
}
