//! Sends one webhook's events in their order, again and again until they are taken.
//!
//! The queue of a webhook is the events themselves, from where it stopped: what is not delivered is not copied, and
//! is there for the next keeper. An event that was sent and whose place was not written before its server ended is
//! sent again, under the same id.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_policy::events::{Event, EventId, Filter};
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Expect, LeaseId, WriteError};
use rand::Rng;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::post::{Message, PostError, Poster};
use super::signature::SigningKey;
use super::webhook::{Sensitive, Webhook, WebhookState};
use crate::fleet::Fleet;

/// Events that are read at a time.
const READ: usize = 100;
/// The state is written at most this often while all goes well. What was sent since is sent again if the keeper ends.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// The place is written at least this often while nothing that comes is asked for.
const PLACE_EVERY: Duration = Duration::from_secs(60);
/// After a failure the next attempt is made after this long, and twice that each time until [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// An event that nobody takes is given up when it is so old.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);
/// An event that the receiver refuses is given up after so many attempts.
pub const REFUSALS: u32 = 5;

/// One webhook's.
#[derive(Debug)]
pub struct Courier {
    fleet: Arc<Fleet>,
    lease: LeaseId,
    id: String,
    webhook: Webhook,
    filter: Filter,
    state: WebhookState,
    saved: Option<Instant>,
    is_dirty: bool,
}

/// The body of a delivery.
#[must_use]
pub fn body(event: &Event) -> Bytes {
    json!({"type": event.kind.as_str(), "timestamp": event.timestamp, "data": event}).to_string().into()
}

impl Courier {
    /// Takes over where the last one stopped.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn begin(
        fleet: Arc<Fleet>,
        lease: LeaseId,
        id: String,
        webhook: Webhook,
    ) -> Result<Courier, WriteError> {
        let state = fleet.happenings.states.get(&id).await.map_err(WriteError::NotDone)?;
        let filter = webhook.filter();
        let state = state.map(|found| found.value).unwrap_or_default();
        Ok(Courier { fleet, lease, id, webhook, filter, state, saved: None, is_dirty: false })
    }

    /// Sends what comes, for ever.
    ///
    /// # Errors
    /// The state cannot be written: another server may send now.
    pub async fn run(mut self) -> Result<(), WriteError> {
        let mut news = self.fleet.happenings.log.subscribe();
        let mut poster = self.poster().await?;
        loop {
            // What comes from now on is seen by the next look.
            news.mark_unchanged();
            let after = self.cursor();
            let found = self.fleet.happenings.log.after(after, READ).await.map_err(WriteError::NotDone)?;
            let Some(reached) = found.reached else {
                self.save_if_due(SAVE_EVERY).await?;
                let pause = if self.is_dirty { SAVE_EVERY } else { PLACE_EVERY };
                // Woken or not, it is looked again.
                let _ = timeout(pause, news.changed()).await;
                continue;
            };
            for event in found.events {
                if self.filter.holds(&event) {
                    self.deliver(&mut poster, &event).await?;
                }
                self.state.cursor = Some(event.id);
            }
            self.state.cursor = Some(reached);
            self.save_if_due(PLACE_EVERY).await?;
        }
    }

    fn cursor(&self) -> EventId {
        self.state.cursor.map_or(self.webhook.since, |cursor| cursor.max(self.webhook.since))
    }

    /// What sends. A webhook whose secret cannot be opened, or that trusts nobody, says so and waits to be changed.
    async fn poster(&mut self) -> Result<Poster, WriteError> {
        loop {
            let trouble = match self.try_poster().await {
                Ok(poster) => return Ok(poster),
                Err(error) => error.to_string(),
            };
            self.failed(&trouble);
            self.save().await?;
            sleep(LONGEST_PAUSE).await;
        }
    }

    async fn try_poster(&self) -> Result<Poster, Box<dyn std::error::Error + Send + Sync>> {
        let keyring = &self.fleet.happenings.keyring;
        let sensitive = Sensitive::open(keyring, &self.id, &self.webhook.sealed).await?;
        let key = SigningKey::parse(&sensitive.secret)?;
        Ok(Poster::new(&self.webhook, &sensitive, key).await?)
    }

    async fn deliver(&mut self, poster: &mut Poster, event: &Event) -> Result<(), WriteError> {
        let body = body(event);
        loop {
            let now = self.fleet.clock.now();
            let message = Message { id: event.id.to_string(), timestamp: now.unix(), body: body.clone() };
            let sent = poster.post(&message).await;
            self.state.last_attempt = Some(now);
            self.is_dirty = true;
            let Err(error) = sent else {
                self.succeeded(now);
                self.state.cursor = Some(event.id);
                return self.save_if_due(SAVE_EVERY).await;
            };
            self.failed(&error.to_string());
            if self.gives_up(event, &error, now) {
                warn!(webhook = self.id, event = %event.id, error = %error, "an event is given up");
                self.state.given_up += 1;
                self.state.attempts = 0;
                self.state.cursor = Some(event.id);
                return self.save().await;
            }
            self.save().await?;
            sleep(pause(self.state.attempts, &error)).await;
        }
    }

    fn gives_up(&self, event: &Event, error: &PostError, now: Timestamp) -> bool {
        event.timestamp.until(now) > GIVE_UP_AFTER || (error.is_refusal() && self.state.attempts >= REFUSALS)
    }

    fn succeeded(&mut self, now: Timestamp) {
        if let Some(since) = self.state.failing_since.take() {
            info!(webhook = self.id, %since, "a webhook is taken again");
        }
        self.state.delivered += 1;
        self.state.attempts = 0;
        self.state.last_error = None;
        self.state.last_success = Some(now);
    }

    fn failed(&mut self, error: &str) {
        let now = self.fleet.clock.now();
        if self.state.failing_since.is_none() {
            warn!(webhook = self.id, error, "a webhook is not taken");
            self.state.failing_since = Some(now);
        }
        self.state.attempts = self.state.attempts.saturating_add(1);
        self.state.last_error = Some(error.to_owned());
        self.is_dirty = true;
    }

    /// Writes the state, if it was not for so long.
    async fn save_if_due(&mut self, every: Duration) -> Result<(), WriteError> {
        let is_due = self.saved.is_none_or(|saved| saved.elapsed() >= every);
        if is_due && (self.is_dirty || every == PLACE_EVERY) { self.save().await } else { Ok(()) }
    }

    async fn save(&mut self) -> Result<(), WriteError> {
        let states = &self.fleet.happenings.states;
        states.put(&self.id, &self.state, Expect::Any, None, Some(self.lease)).await?;
        (self.saved, self.is_dirty) = (Some(Instant::now()), false);
        Ok(())
    }
}

/// How long to wait after so many attempts: longer each time, and not the same for all.
fn pause(attempts: u32, error: &PostError) -> Duration {
    let doubled = SHORTEST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let asked = match error {
        PostError::Status { retry_after, .. } => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let longest = doubled.max(asked).min(LONGEST_PAUSE);
    longest.mul_f64(rand::rng().random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_heed_what_the_receiver_asks_for() {
        let mut last = Duration::ZERO;
        for attempts in 1..=9 {
            let pause = pause(attempts, &PostError::Slow);
            assert!(pause > last.mul_f64(1.2) && pause <= LONGEST_PAUSE, "{attempts}: {pause:?}");
            last = pause;
        }
        assert!(pause(u32::MAX, &PostError::Slow) <= LONGEST_PAUSE);
        let busy = |seconds| PostError::Status {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert!(pause(1, &busy(60)) >= Duration::from_secs(45));
        assert!(pause(1, &busy(u64::MAX)) <= LONGEST_PAUSE);
        assert!(!busy(1).is_refusal());
    }
}
