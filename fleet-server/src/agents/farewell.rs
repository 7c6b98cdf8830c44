//! Sending agents away in good order whose key is not good any more (`graceful_force_unenroll`).
//!
//! An agent that is only told 401 goes on with what it runs, and knocks for ever. With the first check-in that is
//! refused it is handed an empty policy, with the second it is asked to leave; those that follow within
//! [`SILENCE`] get their 401. Only what the store said about a key leads here, never trouble in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleet_protocol::agent::{Action, ActionType, Signed, policy_action_id};
use http::StatusCode;
use ring::digest::{SHA256, digest};
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::AgentsApi;
use super::error::ApiError;
use crate::http::Response;
use crate::signing;

/// An agent that has been sent away is refused for so long, then sent away again.
const SILENCE: Duration = Duration::from_secs(3600);
/// What an agent may cost here in bytes: what the setting's description says.
const COST: u64 = 250;
/// The id of the empty policy.
const EMPTY_POLICY: &str = "unenrolled";
/// Agents take only policies that have a revision.
const EMPTY_REVISION: u64 = 1;

/// What of an agent's id is kept: ids may be long, and come from anybody.
type Mark = [u8; 16];

/// What an agent that is refused is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// To do nothing.
    EmptyPolicy,
    /// To leave.
    Unenroll,
    /// That it is refused.
    Refuse,
}

/// How far an agent has been sent away.
#[derive(Debug)]
struct Farewell {
    /// Its place in [`State::by_age`].
    number: u64,
    is_asked_to_leave: bool,
    until: Instant,
}

#[derive(Debug, Default)]
struct State {
    by_agent: HashMap<Mark, Farewell>,
    by_age: BTreeMap<u64, Mark>,
    next: u64,
}

/// The agents that are being sent away. When there are too many, those that were heard of longest ago are
/// forgotten: they are sent away once more.
#[derive(Debug)]
pub(super) struct Farewells {
    most: usize,
    state: Mutex<State>,
}

impl Farewells {
    /// For as many agents as `bytes` are enough for.
    pub(super) fn new(bytes: u64) -> Farewells {
        let most = usize::try_from(bytes / COST).unwrap_or(usize::MAX).max(1);
        Farewells { most, state: Mutex::default() }
    }

    fn next(&self, agent_id: &str, now: Instant) -> Step {
        let mut mark = Mark::default();
        let hash = digest(&SHA256, agent_id.as_bytes());
        mark.iter_mut().zip(hash.as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { by_agent, by_age, next } = &mut *state;
        let before = by_agent.remove(&mark);
        if let Some(before) = &before {
            by_age.remove(&before.number);
        }
        let (step, until) = match before.filter(|before| before.until > now) {
            None => (Step::EmptyPolicy, now + SILENCE),
            Some(before) if before.is_asked_to_leave => (Step::Refuse, before.until),
            Some(_) => (Step::Unenroll, now + SILENCE),
        };
        let is_asked_to_leave = step != Step::EmptyPolicy;
        by_agent.insert(mark, Farewell { number: *next, is_asked_to_leave, until });
        by_age.insert(*next, mark);
        *next += 1;
        while by_agent.len() > self.most {
            let Some((_, oldest)) = by_age.pop_first() else { break };
            by_agent.remove(&oldest);
        }
        step
    }
}

impl AgentsApi {
    /// What a check-in is answered that is refused for `error`.
    pub(super) fn send_away(&self, agent_id: &str, error: ApiError) -> Result<Response, ApiError> {
        let Some(farewells) = &self.farewells else { return Err(error) };
        // The key is that agent's, and was good once.
        let is_known = matches!(error, ApiError::AgentInactive);
        if !is_known && !matches!(error, ApiError::Unauthorized) {
            return Err(error);
        }
        match farewells.next(agent_id, Instant::now()) {
            Step::EmptyPolicy => self.hand_empty_policy(agent_id),
            Step::Unenroll => self.ask_to_leave(agent_id, is_known),
            Step::Refuse => Err(error),
        }
    }

    /// A policy with nothing in it. It names no servers, so that the agent goes on to come here.
    fn hand_empty_policy(&self, agent_id: &str) -> Result<Response, ApiError> {
        let id = policy_action_id(EMPTY_POLICY, EMPTY_REVISION);
        let policy = json!({
            "id": EMPTY_POLICY,
            "revision": EMPTY_REVISION,
            "outputs": {},
            "output_permissions": {},
            "inputs": [],
        });
        let data = to_raw_value(&json!({"policy": policy})).map_err(internal)?;
        self.hand(agent_id, &id, ActionType::PolicyChange, &data, None)
    }

    /// Agents that are protected leave only when that is signed. Whoever comes with a key that is nobody's gets no
    /// signature.
    fn ask_to_leave(&self, agent_id: &str, is_known: bool) -> Result<Response, ApiError> {
        let id = uuid::Uuid::new_v4().to_string();
        let signed = if is_known {
            let text = json!({"action_id": id, "type": ActionType::Unenroll, "data": null}).to_string();
            let signature = signing::sign_for(&self.fleet, agent_id, text.as_bytes()).map_err(internal)?;
            let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
            Some(Signed { data, signature })
        } else {
            None
        };
        info!(agent = agent_id, "an agent whose key is not good any more is asked to leave");
        let data = to_raw_value(&json!({})).map_err(internal)?;
        self.hand(agent_id, &id, ActionType::Unenroll, &data, signed.as_ref())
    }

    fn hand(
        &self,
        agent_id: &str,
        id: &str,
        kind: ActionType,
        data: &serde_json::value::RawValue,
        signed: Option<&Signed>,
    ) -> Result<Response, ApiError> {
        let action = Action {
            agent_id,
            created_at: &self.fleet.clock.now().to_string(),
            id,
            kind,
            data: Some(data),
            input_type: "",
            start_time: None,
            expiration: None,
            timeout: None,
            traceparent: None,
            signed,
        };
        let answer = json!({"action": "checkin", "ack_token": "", "actions": [action]});
        Ok(Response::json(StatusCode::OK, answer.to_string()))
    }
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> ApiError {
    warn!(error = &error as &dyn std::error::Error, "an agent cannot be sent away in good order");
    ApiError::Internal(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_sent_away_in_two_steps_and_then_refused_for_an_hour() {
        let (farewells, now) = (Farewells::new(1_000_000), Instant::now());
        let next = |seconds: u64| farewells.next("a", now + Duration::from_secs(seconds));
        assert_eq!(next(0), Step::EmptyPolicy);
        assert_eq!(next(10), Step::Unenroll);
        assert_eq!(farewells.next("b", now), Step::EmptyPolicy);
        // Coming again does not make it longer.
        assert_eq!((next(20), next(3600)), (Step::Refuse, Step::Refuse));
        assert_eq!((next(3611), next(3612), next(3613)), (Step::EmptyPolicy, Step::Unenroll, Step::Refuse));
    }

    #[test]
    fn no_more_agents_are_remembered_than_there_is_room_for() {
        let (farewells, now) = (Farewells::new(COST * 3), Instant::now());
        for agent in ["a", "b", "a", "c", "d"] {
            farewells.next(agent, now);
        }
        let state = farewells.state.lock().unwrap();
        assert_eq!((state.by_agent.len(), state.by_age.len()), (3, 3));
        drop(state);
        assert_eq!(farewells.next("a", now), Step::Refuse, "it was heard of after b");
        assert_eq!(farewells.next("b", now), Step::EmptyPolicy, "it was forgotten");
    }
}
