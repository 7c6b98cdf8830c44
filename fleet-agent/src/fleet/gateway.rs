//! The loop of check-ins: a request that the server holds until it has something to say, again and again.
//!
//! It knows when and how to ask. What is told is the newest [`Report`]; what is answered goes to whoever carries it
//! out, and the next check-in waits until that is done. When what people should see changes, the request that is held
//! is given up and begun again: whatever the server was about to say, it says again, for the ack token has not moved.

use std::sync::Arc;
use std::time::Duration;

use fleet_service::error::chain;
use rand::Rng;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, Unknown};
use super::client::{Call, CallError, FleetClient};
use super::wire::{CheckinAnswer, CheckinBody, ComponentReport, UpgradeDetails};
use crate::clock::Reading;

/// The longest time that a server may hold a check-in.
const HOLD_MAX: Duration = Duration::from_secs(600);
/// The pause after an answer, and the most that is added to it at random.
const PAUSE: Duration = Duration::from_millis(1000);
const PAUSE_JITTER: Duration = Duration::from_millis(500);
/// A check-in that is held is not given up sooner after it began: what changes often is told together.
const SETTLE: Duration = Duration::from_millis(250);
/// Given up again and again, it waits so long in between.
const EARLY_EVERY: Duration = Duration::from_secs(1);
/// The longest time for a server to say that it is there.
const STATUS_MAX: Duration = Duration::from_secs(60);
/// A server may ask for so long a wait.
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// What a check-in tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// `online`, `error`, `starting` or `DEGRADED`.
    pub status: String,
    /// The same for a person.
    pub message: String,
    /// The machine and the agent.
    pub local_metadata: Arc<Value>,
    /// The parts.
    pub components: Arc<Vec<ComponentReport>>,
    /// The policy that is running; empty: none.
    pub policy_id: String,
    /// Its revision.
    pub revision: Option<i64>,
    /// Where an upgrade stands.
    pub upgrade: Option<UpgradeDetails>,
    /// Versions that the agent can go back to: `{version, valid_until}`.
    pub rollbacks: Arc<Vec<Value>>,
    /// What was received. Changes of it alone are no reason to check in.
    pub ack_token: String,
}

impl Report {
    fn is_news(&self, before: &Report) -> bool {
        let without_token = |report: &Report| Report { ack_token: String::new(), ..report.clone() };
        without_token(self) != without_token(before)
    }

    fn body(&self) -> Vec<u8> {
        let upgrade =
            if self.rollbacks.is_empty() { json!({}) } else { json!({"rollbacks": *self.rollbacks}) };
        let body = CheckinBody {
            status: &self.status,
            message: &self.message,
            local_metadata: &self.local_metadata,
            components: &self.components,
            upgrade,
            ack_token: &self.ack_token,
            agent_policy_id: &self.policy_id,
            policy_revision_idx: self.revision,
            upgrade_details: self.upgrade.as_ref(),
        };
        // Texts and maps with text keys can be written.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// What a server answered. The next check-in waits until `done` is used or dropped.
#[derive(Debug)]
pub struct Delivery {
    /// What to send with the next check-in; empty: what was sent before.
    pub ack_token: String,
    /// What is to be done.
    pub actions: Vec<Value>,
    /// Says how long to wait before the next check-in, beside the usual pause.
    pub done: oneshot::Sender<Duration>,
}

/// How the connection to the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Whether the last check-in was answered.
    pub connected: bool,
    /// How often in a row it was not.
    pub failures: u32,
    /// Why, for a person.
    pub error: String,
    /// When one was answered last, seconds since 1970; 0: never.
    pub last_answer: i64,
    /// What its clock said last; `None`: no server has answered yet.
    pub time: Option<Reading>,
    /// Whether the server has said, so often that it is meant, that it does not know this agent's key.
    pub unknown: bool,
}

/// Checks in.
#[derive(Debug)]
pub struct Gateway {
    /// The agent's id.
    pub id: String,
    /// Its key.
    pub key: String,
    /// The server. It may change.
    pub client: watch::Receiver<FleetClient>,
    /// What is told.
    pub report: watch::Receiver<Arc<Report>>,
    /// Where answers go.
    pub deliveries: mpsc::Sender<Delivery>,
    /// How the connection is.
    pub link: watch::Sender<LinkState>,
}

/// How one check-in ended.
enum Outcome {
    Answered(CheckinAnswer, Reading),
    /// There is something new to say.
    GivenUp,
    Failed(CallError),
}

impl Gateway {
    /// Runs until it is cancelled, or nobody takes the answers any more.
    pub async fn run(mut self, token: CancellationToken) {
        token.clone().run_until_cancelled(self.turn()).await;
    }

    async fn turn(&mut self) {
        let mut unreachable = Backoff::new(Duration::from_secs(1), Duration::from_secs(600));
        let mut refused = Backoff::new(Duration::from_secs(60), Duration::from_secs(600));
        let mut unknown = Unknown::default();
        loop {
            let began = Instant::now();
            match self.check_in().await {
                Outcome::Answered(answer, time) => {
                    unreachable.reset();
                    refused.reset();
                    unknown = Unknown::default();
                    self.link.send_replace(LinkState {
                        connected: true,
                        last_answer: crate::clock::now_seconds(),
                        time: Some(time),
                        ..LinkState::default()
                    });
                    let Some(extra) = self.deliver(answer).await else { return };
                    let jitter = rand::rng().random_range(Duration::ZERO..=PAUSE_JITTER);
                    sleep(PAUSE + jitter + extra).await;
                }
                Outcome::GivenUp => sleep_until(began + EARLY_EVERY).await,
                Outcome::Failed(error) => {
                    let meant = unknown.heard(&error);
                    let wait = match &error {
                        _ if let Some(beat) = meant => beat,
                        CallError::Unreachable { .. } => unreachable.wait(),
                        CallError::Refused { retry_after: Some(asked), .. } => {
                            (*asked).min(RETRY_MAX) + rand::rng().random_range(Duration::ZERO..=PAUSE)
                        }
                        _ => refused.wait(),
                    };
                    self.tell_failure(&error, meant.is_some(), wait);
                    self.wait_or_changed_client(wait).await;
                }
            }
        }
    }

    fn tell_failure(&self, error: &CallError, unknown: bool, wait: Duration) {
        let text = chain(error);
        let wait = wait.as_secs_f32();
        tracing::warn!(error = text, "check-in failed, next attempt in {wait:.1} s");
        self.link.send_modify(|link| {
            link.connected = false;
            link.failures = link.failures.saturating_add(1);
            link.error = text;
            link.unknown = unknown;
        });
    }

    async fn wait_or_changed_client(&mut self, wait: Duration) {
        let changed = async {
            if self.client.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = changed => {}
        }
    }

    async fn check_in(&mut self) -> Outcome {
        let client = self.client.borrow_and_update().clone();
        let told = Arc::clone(&self.report.borrow_and_update());
        let path = format!("/api/fleet/agents/{}/checkin", self.id);
        let call = Call::post(&path, &self.key, told.body(), HOLD_MAX).compressed();
        let asked = client.send(&call);
        let is_there = self.say_when_there(&client);
        let news = async {
            sleep(SETTLE).await;
            let report = &mut self.report;
            if report.wait_for(|report| report.is_news(&told)).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            answer = asked => match answer.and_then(|answer| Ok((read_answer(&answer)?, answer.time))) {
                Ok((answer, time)) => Outcome::Answered(answer, time),
                Err(error) => Outcome::Failed(error),
            },
            () = news => Outcome::GivenUp,
            () = is_there => Outcome::GivenUp,
        }
    }

    /// A check-in may be held for minutes. Until one was answered, something else tells whether the server is there.
    /// It never ends.
    fn say_when_there(&self, client: &FleetClient) -> impl Future<Output = ()> + use<> {
        let (client, link, key) = (client.clone(), self.link.clone(), self.key.clone());
        async move {
            if !link.borrow().connected {
                let call = Call::get("/api/status", &key, STATUS_MAX);
                if let Ok(answer) = client.send(&call).await {
                    link.send_modify(|link| {
                        link.connected = true;
                        link.time = Some(answer.time);
                        link.failures = 0;
                        link.error.clear();
                    });
                }
            }
            std::future::pending::<()>().await;
        }
    }

    /// `None`: nobody takes answers any more.
    async fn deliver(&self, answer: CheckinAnswer) -> Option<Duration> {
        let (done, is_done) = oneshot::channel();
        let actions = answer.actions.unwrap_or_default();
        let ack_token = answer.ack_token.unwrap_or_default();
        self.deliveries.send(Delivery { ack_token, actions, done }).await.ok()?;
        is_done.await.ok()
    }
}

/// An empty answer is one, too.
fn read_answer(answer: &super::client::Answer) -> Result<CheckinAnswer, CallError> {
    if answer.body.is_empty() { Ok(CheckinAnswer::default()) } else { answer.read() }
}
