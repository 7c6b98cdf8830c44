//! Leaving a fleet.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::core::{Agent, Ended};
use crate::fleet::{AckEvent, Action, Call, FleetClient, send_acks};
use crate::state::{Identity, Progress, SavedPolicy};

/// What runs has so long to end.
const STOP_MAX: Duration = Duration::from_secs(15);
/// The last word to a server may take so long.
pub(super) const FAREWELL_MAX: Duration = Duration::from_secs(15);

impl Agent {
    /// Stops all, says so, and forgets who it was.
    pub(super) async fn unenroll(&mut self, action: &Action) {
        tracing::info!("the agent was told to leave its fleet");
        self.context.workloads.leave().await;
        self.context.workloads.stop(STOP_MAX).await;
        let event = AckEvent::of(&self.identity.id, action, Ok(()));
        let mut events: Vec<AckEvent> = self.progress.acks.iter().map(|ack| ack.event.clone()).collect();
        events.push(event);
        let client = self.client.borrow().clone();
        let said = timeout(
            FAREWELL_MAX,
            send_acks(&client, &self.identity.id, &self.identity.access_api_key, &events),
        );
        match said.await {
            Ok(Ok(())) => {}
            // It leaves all the same: the server ends its key by itself, or its people force it.
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the server was not told");
            }
            Err(_) => tracing::warn!("the server was not told in time"),
        }
        self.forget();
        self.ended = Some(Ended::Left);
    }

    fn forget(&mut self) {
        let store = &self.context.store;
        let removed = store.remove(SavedPolicy::NAME).and_then(|()| store.remove(Identity::NAME));
        if let Err(error) = removed {
            tracing::error!(error = &error as &dyn std::error::Error, "the agent's keys cannot be removed");
        }
        self.progress = Progress { unenrolled: true, ..Progress::default() };
        self.save_progress();
    }
}

/// Tells a server why an agent has gone.
///
/// # Errors
/// It did not hear.
pub(crate) async fn audit(
    client: &FleetClient,
    id: &str,
    key: &str,
    reason: &str,
) -> Result<(), crate::fleet::CallError> {
    let path = format!("/api/fleet/agents/{id}/audit/unenroll");
    let body = json!({"reason": reason, "timestamp": crate::clock::now_text()}).to_string();
    client.send(&Call::post(&path, key, body.into_bytes(), FAREWELL_MAX)).await.map(drop)
}
