//! `POST /api/fleet/agents/{id}/acks`

use fleet_policy::agents::{SaveError, Snapshot};
use fleet_policy::session::{self, Acknowledged, Effect, Said};
use fleet_protocol::agent::{AckRequest, AckResponse, is_policy_action};
use fleet_store::WriteError;
use futures_util::future::try_join_all;
use http::StatusCode;
use tracing::info;

use super::error::ApiError;
use super::{AgentsApi, auth, object};
use crate::http::{Body, Request, Response};

/// A state is decided again so often when it changes at the same moment.
const ATTEMPTS: usize = 5;
/// The most events of a request.
const MOST_EVENTS: usize = 1000;
/// Results that are written at a time.
pub(super) const RESULTS_AT_A_TIME: usize = 16;

impl AgentsApi {
    pub(super) async fn acks(
        &self,
        id: &str,
        request: &Request,
        body: &mut Body<'_>,
    ) -> Result<Response, ApiError> {
        let agent = auth::agent(&self.fleet, id, request).await?;
        let body = self.read_body(&self.limits.ack, request, body).await?;
        let asked: AckRequest<'_> = object(&body)?;
        if asked.events.len() > MOST_EVENTS {
            return Err(ApiError::BadRequest(format!("events may be {MOST_EVENTS} at a time")));
        }
        let mut said: Vec<Said<'_>> = Vec::with_capacity(asked.events.len());
        for event in asked.events {
            let action = match event.action_id.as_deref() {
                Some(id) if !is_policy_action(id) => self.fleet.actions.find_of_agent(id, &agent.id).await?,
                _ => None,
            };
            said.push(Said { event, action });
        }
        let done = self.acknowledge(agent, &said).await?;
        let status = done.items.iter().map(|item| item.status).max().unwrap_or(200);
        let answer = AckResponse { action: "acks", errors: status != 200, items: done.items };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Ok(Response::json(status, serde_json::to_vec(&answer).unwrap_or_default()))
    }

    /// Decides what an acknowledgement changes, and stores it.
    async fn acknowledge(&self, mut agent: Snapshot, said: &[Said<'_>]) -> Result<Acknowledged, ApiError> {
        for _ in 0..ATTEMPTS {
            let done = session::acknowledge(&agent, said, self.fleet.clock.now());
            let saved = match self.keep(&agent, &done).await {
                Ok(()) => true,
                Err(SaveError::Changed) => false,
                Err(SaveError::Store(error)) => return Err(error.into()),
            };
            if !saved {
                agent = self.fleet.agents.get(&agent.id).ok_or(ApiError::AgentNotFound)?;
                continue;
            }
            if let Some(Effect::Unenroll) = done.effect {
                self.unenroll(&agent).await?;
            }
            return Ok(done);
        }
        Err(ApiError::Busy)
    }

    /// Stores results and state at the same time. If either fails, the agent is told, and tells both again.
    async fn keep(&self, agent: &Snapshot, done: &Acknowledged) -> Result<(), SaveError> {
        let results = async {
            for results in done.results.chunks(RESULTS_AT_A_TIME) {
                try_join_all(results.iter().map(|result| self.fleet.actions.record(result))).await?;
            }
            Ok::<(), WriteError>(())
        };
        let state = async {
            match done.state.clone() {
                Some(state) => self.fleet.agents.save_state(agent, state).await.map(drop),
                None => Ok(()),
            }
        };
        let (results, state) = tokio::join!(results, state);
        results.map_err(SaveError::Store)?;
        state
    }

    /// The agent has left: its key is no longer good.
    pub(super) async fn unenroll(&self, agent: &Snapshot) -> Result<(), WriteError> {
        let now = self.fleet.clock.now();
        self.fleet
            .agents
            .change(&agent.id, |agent| {
                let was_active = agent.active;
                agent.active = false;
                agent.unenrolled_at = agent.unenrolled_at.or(Some(now));
                was_active
            })
            .await?;
        info!(agent = &*agent.id, "an agent has left");
        Ok(())
    }
}
