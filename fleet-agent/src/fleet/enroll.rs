//! Becoming one of a fleet's agents.

use std::time::Duration;

use fleet_service::error::chain;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::client::{Call, CallError, FleetClient};
use super::wire::{EnrolAnswer, EnrolledItem};

/// The longest time for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(90);
/// Waits between attempts.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What an agent says to become one of a fleet's.
#[derive(Clone, Debug, Default)]
pub struct Enrolment {
    /// The key that names the policy, as it was given.
    pub token: String,
    /// The id that it wants; empty: a new one.
    pub id: String,
    /// Proves that it may take the place of the agent with that id.
    pub replace_token: String,
    /// Names this enrolment, so that repetitions make no second agent.
    pub enrollment_id: String,
    /// Its first tags.
    pub tags: Vec<String>,
    /// The machine and the agent.
    pub metadata: Value,
}

/// Is told of each attempt that failed and is made again.
pub type Told<'a> = &'a (dyn Fn(&CallError) + Send + Sync);

/// Why there is no enrolment.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The request itself is wrong: it would be the same again.
    #[error("the server does not take the enrolment: check the enrollment token and the address")]
    Request(#[source] CallError),
    /// The server's certificate is not trusted.
    #[error(
        "the server is not trusted: name its authority (--certificate-authorities or --ca-trusted-fingerprint)"
    )]
    Untrusted(#[source] CallError),
    /// The token is none, or not known.
    #[error("the enrollment token is refused: take a valid one from the policy (--enrollment-token)")]
    Token(#[source] CallError),
    /// The agent with that id may not be replaced.
    #[error(
        "the agent id is refused: another agent has it (--id), and --replace-token does not prove that this is it"
    )]
    Id(#[source] CallError),
    /// Nothing came of it in time.
    #[error("the enrolment did not succeed within {} s", within.as_secs())]
    TimedOut {
        /// How long was tried.
        within: Duration,
        /// What came of the last attempt.
        #[source]
        source: CallError,
    },
}

/// Enrols, and tries again for so long if that may help; `told` hears why.
///
/// # Errors
/// [`EnrolError`].
pub async fn enrol(
    client: &FleetClient,
    enrolment: &Enrolment,
    within: Duration,
    told: Told<'_>,
) -> Result<EnrolledItem, EnrolError> {
    let body = json!({
        "type": "PERMANENT",
        "id": enrolment.id,
        "replace_token": enrolment.replace_token,
        "enrollment_id": enrolment.enrollment_id,
        "metadata": {
            "local": enrolment.metadata,
            "user_provided": {},
            "tags": enrolment.tags,
        },
    });
    let deadline = Instant::now() + within;
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let call = Call::post(
            "/api/fleet/agents/enroll",
            &enrolment.token,
            body.to_string().into_bytes(),
            ANSWER_MAX,
        );
        let error = match client.send(&call).await.and_then(|answer| answer.read::<EnrolAnswer>()) {
            Ok(answer) => return Ok(answer.item),
            Err(error) => error,
        };
        match error.status() {
            Some(StatusCode::UNAUTHORIZED) => return Err(EnrolError::Token(error)),
            Some(StatusCode::BAD_REQUEST) => return Err(EnrolError::Request(error)),
            None if chain(&error).contains("invalid peer certificate") => {
                return Err(EnrolError::Untrusted(error));
            }
            Some(StatusCode::FORBIDDEN) if !enrolment.id.is_empty() => return Err(EnrolError::Id(error)),
            _ => {}
        }
        let asked = match &error {
            CallError::Refused { retry_after, .. } => retry_after.map(|wait| wait.min(LONGEST_WAIT)),
            _ => None,
        };
        let next = Instant::now() + asked.unwrap_or_default().max(backoff.wait());
        if next >= deadline {
            return Err(EnrolError::TimedOut { within, source: error });
        }
        told(&error);
        sleep_until(next).await;
    }
}

/// Writes an attempt that failed into the log.
pub fn log_attempt(error: &CallError) {
    tracing::warn!(error = error as &dyn std::error::Error, "enrolment failed, trying again");
}
