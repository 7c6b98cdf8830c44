//! `POST /api/fleet/agents/{id}/checkin`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleet_policy::agents::{SaveError, Snapshot};
use fleet_policy::documents::CheckinStatus;
use fleet_policy::session::{self, Offer, Report};
use fleet_protocol::agent::{CheckinRequest, UpgradeDetails, UpgradeReport};
use fleet_service::config::value::duration;
use fleet_store::{ErrorKind, WriteError};
use rand::Rng;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::answer::Encoding;
use super::error::ApiError;
use super::report::Large;
use super::{AgentsApi, auth, object};
use crate::http::{Body, Outcome, Request, Response};
use crate::signing::{self, SignedAgain};

/// A state is decided again so often when it changes at the same moment.
const ATTEMPTS: usize = 5;
/// The longest message that is kept, in bytes.
const LONGEST_MESSAGE: usize = 2048;
/// An agent that says how long it waits is answered so long before.
const POLL_MARGIN: Duration = Duration::from_secs(120);
/// An engine that gave no key is asked again after so long.
pub(super) const KEYS_AGAIN: Duration = Duration::from_secs(10);
/// The shortest time that a check-in is held.
const SHORTEST_POLL: Duration = Duration::from_secs(60);

/// A check-in that waits. Small: there is one for each agent.
struct Waiting {
    api: Arc<AgentsApi>,
    agent_id: Arc<str>,
    token: Box<str>,
    encoding: Encoding,
    until: Instant,
    waits_for_keys: AtomicBool,
}

impl AgentsApi {
    pub(super) async fn checkin(
        self: &Arc<AgentsApi>,
        id: &str,
        request: &Request,
        body: &mut Body<'_>,
    ) -> Result<Outcome, ApiError> {
        let began = Instant::now();
        auth::agent_version(request)?;
        let agent = match auth::agent(&self.fleet, id, request).await {
            Ok(agent) => agent,
            Err(error) => return self.send_away(id, error).map(Outcome::Answer),
        };
        let body = self.read_body(&self.limits.checkin, request, body).await?;
        let said: CheckinRequest<'_> = object(&body)?;
        let status = match said.status.as_deref() {
            None | Some("") => return Err(ApiError::BadRequest("checkin status missing".to_owned())),
            Some(text) => CheckinStatus::parse(text).ok_or_else(|| {
                let text: String = text.chars().take(64).collect();
                ApiError::BadRequest(format!(
                    "status {text:?} is not one of online, error, degraded, starting, disconnected"
                ))
            })?,
        };
        let until = began + self.poll_time(said.poll_timeout.as_deref())?;
        let agent = self.take_report(agent, status, &said).await?;
        let waiting = Waiting {
            api: Arc::clone(self),
            agent_id: Arc::clone(&agent.id),
            token: said.ack_token.as_deref().unwrap_or_default().into(),
            encoding: Encoding {
                accepts_gzip: request.accepts_gzip(),
                threshold: self.settings.compression_threshold,
            },
            until,
            waits_for_keys: AtomicBool::new(false),
        };
        if let Some(response) = waiting.look(None).await {
            return Ok(Outcome::Answer(response));
        }
        Ok(Outcome::Hold(Box::pin(waiting.wait())))
    }

    /// How long this check-in may be held.
    fn poll_time(&self, poll_timeout: Option<&str>) -> Result<Duration, ApiError> {
        let poll = match poll_timeout.filter(|text| !text.is_empty()) {
            None => self.settings.long_poll,
            Some(text) => {
                let asked = duration(Duration::ZERO..=Duration::MAX)(text).map_err(|_| {
                    ApiError::BadRequest("poll_timeout is not a duration such as 5m".to_owned())
                })?;
                asked.saturating_sub(POLL_MARGIN).min(self.settings.max_poll).max(SHORTEST_POLL)
            }
        };
        let jitter = self.settings.jitter.min(poll / 2);
        let taken =
            if jitter.is_zero() { Duration::ZERO } else { rand::rng().random_range(Duration::ZERO..jitter) };
        Ok(poll - taken)
    }

    /// Stores what the agent says, as far as it is new.
    async fn take_report(
        &self,
        mut agent: Snapshot,
        status: CheckinStatus,
        said: &CheckinRequest<'_>,
    ) -> Result<Snapshot, ApiError> {
        let large = Large::new(said.local_metadata, said.components);
        let digest = large.digest();
        let is_new = digest != agent.state.details_digest;
        if is_new {
            self.keep_details(&agent, &large).await?;
        }
        if agent.agent.audit_unenrolled_reason.is_some() {
            let changed = self.fleet.agents.change(&agent.id, |agent| {
                agent.audit_unenrolled_time = None;
                agent.audit_unenrolled_reason.take().is_some()
            });
            agent = changed.await?.ok_or(ApiError::AgentNotFound)?;
        }
        let received = match said.ack_token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => self.fleet.actions.seq_no(token).await?,
            None => None,
        };
        let running = self.running(said);
        self.catch_up(running.as_ref()).await?;
        for _ in 0..ATTEMPTS {
            let unhealthy =
                if is_new { large.unhealthy_reason() } else { agent.state.unhealthy_reason.clone() };
            let report = Report {
                status,
                message: session::shorten(said.message.as_deref().unwrap_or_default(), LONGEST_MESSAGE)
                    .into(),
                unhealthy_reason: unhealthy,
                running: running.clone(),
                received,
                upgrade_details: upgrade_details(&agent, said),
                rollbacks: said
                    .upgrade
                    .and_then(|upgrade| serde_json::from_str::<UpgradeReport>(upgrade.get()).ok())
                    .unwrap_or_default()
                    .rollbacks,
                details_digest: digest.clone(),
            };
            let is_over = |seq_no| self.fleet.actions.is_over(seq_no);
            let Some(state) = session::apply(&agent.state, report, is_over, self.fleet.clock.now()) else {
                return Ok(agent);
            };
            match self.fleet.agents.save_state(&agent, state).await {
                Ok(agent) => return Ok(agent),
                Err(SaveError::Changed) => {
                    agent = self.fleet.agents.get(&agent.id).ok_or(ApiError::AgentNotFound)?;
                }
                Err(SaveError::Store(error)) => return Err(error.into()),
            }
        }
        Err(ApiError::Busy)
    }

    /// The large part goes first: a state whose digest is stored has its details stored.
    async fn keep_details(&self, agent: &Snapshot, large: &Large<'_>) -> Result<(), ApiError> {
        for (field, reason) in &large.rejected {
            warn!(agent = &*agent.id, field, reason, "what an agent says is not kept");
        }
        let before = match self.fleet.agents.details(&agent.id).await {
            Ok(before) => before,
            // What cannot be read is replaced; what was not read for another reason stays.
            Err(error) if error.kind == ErrorKind::Corrupt => None,
            Err(error) => return Err(ApiError::Store(WriteError::NotDone(error))),
        };
        let user_provided = before.and_then(|details| details.user_provided_metadata);
        self.fleet.agents.put_details(&agent.id, &large.details(user_provided)).await?;
        if large.describe(&mut (*agent.agent).clone()) {
            self.fleet.agents.change(&agent.id, |agent| large.describe(agent)).await?;
        }
        Ok(())
    }

    /// An agent that runs a newer revision than is known here was given it by another server, or the store was
    /// set back: only the store knows.
    async fn catch_up(&self, running: Option<&(Arc<str>, u64)>) -> Result<(), ApiError> {
        let Some((policy_id, revision)) = running else { return Ok(()) };
        let head = self.fleet.policies.head(policy_id);
        if head.is_none_or(|head| head.rendered.revision < *revision) {
            self.fleet.policies.refresh(policy_id).await.map_err(WriteError::NotDone)?;
        }
        Ok(())
    }

    fn running(&self, said: &CheckinRequest<'_>) -> Option<(Arc<str>, u64)> {
        if self.settings.ignore_checkin_policy_id {
            return None;
        }
        let policy_id = said.agent_policy_id.as_deref().filter(|id| !id.is_empty())?;
        let revision = said.policy_revision_idx?;
        Some((Arc::from(policy_id), u64::try_from(revision).unwrap_or(0)))
    }
}

impl Waiting {
    /// The answer, if there is something to say. Up to the action `seen` there was nothing when this check-in
    /// began to wait.
    async fn look(&self, seen: Option<u64>) -> Option<Response> {
        let offer = match self.offer() {
            Ok(offer) if offer.is_empty() => return None,
            Ok(offer) => offer,
            Err(error) => return Some(self.refused(error)),
        };
        // What came while the agent waits here, nobody else has handed to it.
        if offer.actions.iter().all(|due| seen.is_some_and(|seen| due.action.seq_no > seen)) {
            return self.answer_with_keys(offer).await;
        }
        // Of anything else it may have told another server a moment ago that it is done.
        if let Err(error) = Box::pin(self.api.fleet.agents.refresh(&self.agent_id)).await {
            return Some(ApiError::from(error).response());
        }
        match self.offer() {
            Ok(offer) if offer.is_empty() => None,
            Ok(offer) => self.answer_with_keys(offer).await,
            Err(error) => Some(self.refused(error)),
        }
    }

    /// The agent was unenrolled while it waited, or something is wrong.
    fn refused(&self, error: ApiError) -> Response {
        self.api.send_away(&self.agent_id, error).unwrap_or_else(|error| error.response())
    }

    /// What the agent is to get, as far as is known here.
    fn offer(&self) -> Result<Offer, ApiError> {
        let fleet = &self.api.fleet;
        let agent = fleet.agents.get(&self.agent_id).ok_or(ApiError::AgentNotFound)?;
        if !agent.agent.active {
            return Err(ApiError::AgentInactive);
        }
        let head = fleet.policies.head(&agent.agent.policy_id);
        Ok(session::offer(&agent, head, &fleet.actions, fleet.clock.now()))
    }

    /// The answer, with the keys that the agent has for itself. A policy without them waits: an agent that got
    /// it so would not be sent it again, and could ship nothing. `None`: all there is to say waits.
    async fn answer_with_keys(&self, mut offer: Offer) -> Option<Response> {
        let fleet = &self.api.fleet;
        self.waits_for_keys.store(false, Ordering::Relaxed);
        let mut own = None;
        let keyed = offer.policy.as_ref().and_then(|head| head.rendered.keyed.as_ref());
        if let Some(head) = &offer.policy
            && (keyed.is_some() || fleet.output_keys.has_any(&self.agent_id))
        {
            let outputs = keyed.map_or(&[][..], |keyed| &keyed.outputs);
            match Box::pin(fleet.output_keys.ensure(fleet, &self.agent_id, &head.rendered, outputs)).await {
                Ok(keys) => own = keyed.map(|keyed| keyed.fill(&keys)),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    warn!(agent = &*self.agent_id, error, "a policy waits for the keys of its agent");
                    self.waits_for_keys.store(true, Ordering::Relaxed);
                    offer.policy = None;
                }
            }
        }
        if offer.is_empty() {
            return None;
        }
        let signed = match offer.actions.iter().any(|due| due.action.action.signed.is_some()) {
            true => Box::pin(signing::sign_again(fleet, &self.agent_id, &offer.actions)).await,
            false => SignedAgain::new(),
        };
        Some(self.answer(&offer, own.as_deref(), &signed))
    }

    fn answer(&self, offer: &Offer, own: Option<&[u8]>, signed: &SignedAgain) -> Response {
        self.api.answers.answer(&self.agent_id, offer, own, signed, &self.token, self.encoding)
    }

    fn nothing(&self) -> Response {
        self.answer(&Offer { policy: None, actions: Vec::new() }, None, &SignedAgain::new())
    }

    /// Over when keys that could not be had may be asked for again.
    async fn keys_are_due(&self) {
        if self.waits_for_keys.load(Ordering::Relaxed) {
            sleep(KEYS_AGAIN).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    async fn wait(self) -> Response {
        loop {
            let fleet = &self.api.fleet;
            let policy_id = fleet.agents.get(&self.agent_id).map(|agent| Arc::clone(&agent.agent.policy_id));
            let Some(policy_id) = policy_id else { return ApiError::AgentNotFound.response() };
            let mut place = fleet.sessions.hold(&self.agent_id, &policy_id);
            let seen = fleet.actions.newest();
            // What came before the place was taken told nobody.
            if let Some(response) = self.look(None).await {
                return response;
            }
            let turn = tokio::select! {
                turn = place.turn() => turn,
                () = sleep_until(self.until) => return self.nothing(),
                () = self.keys_are_due() => continue,
                () = self.api.drain.cancelled() => return self.nothing(),
            };
            // Another check-in of this agent is held now: this one's client is most likely gone.
            let Some(turn) = turn else { return self.nothing() };
            drop(place);
            if let Some(mut response) = self.look(Some(seen)).await {
                response.turn = Some(turn);
                return response;
            }
        }
    }
}

/// What the agent says of its upgrade. What cannot be read changes nothing: an agent that is refused for it
/// would not be heard of again.
fn upgrade_details(agent: &Snapshot, said: &CheckinRequest<'_>) -> Option<Box<UpgradeDetails>> {
    let text = said.upgrade_details.filter(|details| details.get() != "null")?;
    match serde_json::from_str::<UpgradeDetails>(text.get()) {
        Ok(details) => Some(Box::new(details)),
        Err(error) => {
            warn!(agent = &*agent.id, %error, "the upgrade_details of an agent cannot be read: they are not kept");
            agent.state.upgrade_details.clone()
        }
    }
}
