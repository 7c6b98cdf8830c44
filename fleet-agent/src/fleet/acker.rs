//! Results of actions, sent until the server has heard of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, Unknown};
use super::client::{Call, CallError, FleetClient};
use super::wire::{AckAnswer, AckEvent};

/// The longest time for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How many go in one request.
const MOST: usize = 100;

/// What is to be sent, and with which client. Each change wakes the sender.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// In their order.
    pub events: Arc<Vec<AckEvent>>,
}

/// Sends what an outbox holds, and tells which were heard.
#[derive(Debug)]
pub struct Acker {
    /// The agent's id.
    pub id: String,
    /// Its key.
    pub key: String,
    /// The server.
    pub client: watch::Receiver<FleetClient>,
    /// What is to be sent.
    pub outbox: watch::Receiver<Outbox>,
    /// How many of the first events of the outbox were heard.
    pub heard: tokio::sync::mpsc::Sender<Vec<AckEvent>>,
}

impl Acker {
    /// Runs until it is cancelled.
    pub async fn run(mut self, token: CancellationToken) {
        token.clone().run_until_cancelled(self.send_all()).await;
    }

    async fn send_all(&mut self) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let mut unknown = Unknown::default();
        loop {
            let events = Arc::clone(&self.outbox.borrow_and_update().events);
            let batch = &events[..events.len().min(MOST)];
            if batch.is_empty() {
                if self.outbox.changed().await.is_err() {
                    return;
                }
                continue;
            }
            match self.send(batch).await {
                Ok(()) => {
                    backoff.reset();
                    unknown = Unknown::default();
                    let waits = self.outbox.changed();
                    if self.heard.send(batch.to_vec()).await.is_err() || waits.await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "results cannot be sent, trying again"
                    );
                    let wait = unknown.heard(&error).unwrap_or_else(|| backoff.wait());
                    // Another way to the server may be another server.
                    let _ = timeout(wait, self.client.changed()).await;
                }
            }
        }
    }

    async fn send(&self, events: &[AckEvent]) -> Result<(), CallError> {
        let client = self.client.borrow().clone();
        send_acks(&client, &self.id, &self.key, events).await
    }
}

/// Sends results once. Those that the server does not know are heard, too: it will not know them later.
///
/// # Errors
/// Nobody heard them.
pub async fn send_acks(
    client: &FleetClient,
    id: &str,
    key: &str,
    events: &[AckEvent],
) -> Result<(), CallError> {
    let path = format!("/api/fleet/agents/{id}/acks");
    let body = serde_json::json!({"events": events}).to_string().into_bytes();
    let answer = match client.send(&Call::post(&path, key, body, ANSWER_MAX).compressed()).await {
        // The body tells of each of them; 4xx is about what is in it.
        Err(CallError::Refused { status, message, .. })
            if status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 408 | 429) =>
        {
            tracing::warn!(%status, message, "the server does not want some results");
            return Ok(());
        }
        outcome => outcome?,
    };
    let told: AckAnswer = answer.read().unwrap_or_default();
    for (item, event) in told.items.iter().zip(events).filter(|(item, _)| item.status >= 400) {
        tracing::warn!(
            action = event.action_id,
            status = item.status,
            message = item.message,
            "result refused"
        );
    }
    Ok(())
}
