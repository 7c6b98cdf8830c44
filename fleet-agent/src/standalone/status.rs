//! How an agent without a fleet is.

use std::sync::Arc;

use super::{ID, Standalone};
use crate::fleet::Report;
use crate::health::{self, Status};
use crate::workload::State;

impl Standalone<'_> {
    pub(super) fn status(&self) -> Status {
        let states = self.workloads.states();
        let components = health::components(&self.plan, &states, &self.rejected, &self.redactor);
        let trouble = self.wrong.as_ref().map(|reason| (State::Failed, self.redactor.text(reason)));
        let (state, message) = health::overall(&components, trouble.as_ref());
        let findings =
            self.plan.findings.iter().map(|finding| format!("{}: {}", finding.about, finding.message));
        let notes = self.notes.iter().cloned().chain(findings);
        let file = self.options.paths.config_file.display();
        Status {
            id: self.id.clone(),
            version: crate::version::current().to_owned(),
            pid: std::process::id(),
            state,
            message,
            fleet_state: State::Stopped,
            fleet_message: format!("Standalone: the policy is in {file}"),
            policy_id: ID.to_owned(),
            policy_revision: Some(self.plan.revision),
            components,
            notes: notes.map(|note| self.redactor.text(&note)).take(100).collect(),
            upgrade_details: None,
        }
    }

    /// Tells whoever asks over HTTP, and systemd.
    pub(super) fn publish(&self) {
        let status = self.status();
        fleet_service::notify::status(&format!("standalone: {}", status.message));
        let report = Report {
            status: health::wire_status(status.state).to_owned(),
            message: status.message,
            components: Arc::new(status.components),
            policy_id: status.policy_id,
            revision: status.policy_revision,
            ..Report::default()
        };
        self.report.send_replace(Arc::new(report));
    }
}
