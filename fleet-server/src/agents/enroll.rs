//! `POST /api/fleet/agents/enroll`

mod take;

use std::borrow::Cow;
use std::sync::Arc;

use fleet_access::documents::{EnrollmentKey, EnrollmentKeyRefusal};
use fleet_access::key::ApiKey;
use fleet_policy::agents::{SaveError, Snapshot};
use fleet_policy::documents::{Agent, AgentDetails, AgentState};
use fleet_protocol::agent::{EnrollMetadata, EnrollRequest, EnrollResponse, EnrolledAgent};
use fleet_store::{Expect, WriteError};
use http::StatusCode;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::info;

use super::error::ApiError;
use super::report::Large;
use super::{AgentsApi, auth, object};
use crate::http::{Body, Request, Response};
use take::Take;

/// The longest id of an agent in bytes.
const LONGEST_ID: usize = 128;
/// The most tags of an agent, and the longest of them in bytes.
const MOST_TAGS: usize = 100;
const LONGEST_TAG: usize = 256;

/// What an enrolment key allows.
struct Grant {
    key_id: String,
    policy_id: String,
    /// Each use is counted.
    is_counted: bool,
}

impl AgentsApi {
    pub(super) async fn enroll(&self, request: &Request, body: &mut Body<'_>) -> Result<Response, ApiError> {
        let version = auth::agent_version(request)?;
        let grant = self.grant(&auth::key(request)?).await?;
        let body = self.read_body(&self.limits.enroll, request, body).await?;
        let asked: EnrollRequest<'_> = object(&body)?;
        check(&asked)?;
        let take = self.take(&asked, &grant.policy_id).await?;
        self.forget_attempt(asked.enrollment_id.as_deref(), take.id()).await?;
        if grant.is_counted {
            self.count_use(&grant.key_id).await?;
        }
        let replace_token = self.hash_of(asked.replace_token.as_deref()).await?;

        let id = take.id().to_owned();
        let metadata = asked.metadata.as_ref();
        let local = metadata.and_then(|metadata| metadata.local).map(|local| with_id(local, &id));
        let large = Large::new(local.as_deref(), None);
        let key = auth::new_key(&id).map_err(|error| ApiError::Internal(Box::new(error)))?;
        let mut agent = Agent {
            active: true,
            policy_id: Arc::from(grant.policy_id.as_str()),
            enrolled_at: self.fleet.clock.now(),
            tags: tags(metadata),
            access_api_key_id: key.id().into(),
            access_api_key_digest: key.digest(),
            enrollment_key_id: Some(Arc::from(grant.key_id.as_str())),
            enrollment_id: asked.enrollment_id.as_deref().filter(|id| !id.is_empty()).map(Into::into),
            replace_token,
            ..Agent::default()
        };
        agent.agent.version = Arc::from(version.to_string());
        large.describe(&mut agent);
        let user_provided =
            metadata.and_then(|metadata| metadata.user_provided).filter(|value| value.get() != "null");
        let details = large.details(user_provided.map(ToOwned::to_owned));
        let agent = self.store(&id, agent, &details, take).await?;
        info!(
            agent = id,
            policy = &*agent.agent.policy_id,
            host = &*agent.agent.host.hostname,
            "an agent has enrolled"
        );
        Ok(answer(&agent, &key, user_provided, large.local_metadata))
    }

    /// What `key` allows, if it lets agents enrol: one that the configuration names, or one of the store.
    async fn grant(&self, key: &ApiKey) -> Result<Grant, ApiError> {
        let fixed = self.settings.static_tokens.iter().find(|token| key.matches(&token.digest));
        if let Some(token) = fixed {
            let key_id = key.id().to_owned();
            return Ok(Grant { key_id, policy_id: token.policy_id.clone(), is_counted: false });
        }
        match self.find_enrollment_key(key).await? {
            (found, None) => {
                let is_counted = found.max_uses.is_some();
                Ok(Grant { key_id: found.id, policy_id: found.policy_id, is_counted })
            }
            (_, Some(refusal)) => Err(ApiError::EnrollmentKey(refusal)),
        }
    }

    /// The enrolment key that `key` is, and why it lets nobody enrol, if it does not.
    pub(super) async fn find_enrollment_key(
        &self,
        key: &ApiKey,
    ) -> Result<(EnrollmentKey, Option<EnrollmentKeyRefusal>), ApiError> {
        let found = self.fleet.enrollment.find(key.id()).await.map_err(WriteError::NotDone)?;
        let found = found.filter(|found| key.matches(&found.value.digest)).ok_or(ApiError::Unauthorized)?;
        let refusal = found.value.check(self.fleet.clock.now()).err();
        Ok((found.value.clone(), refusal))
    }

    async fn count_use(&self, key_id: &str) -> Result<(), ApiError> {
        if self.fleet.enrollment.count_use(key_id).await? {
            return Ok(());
        }
        let found = self.fleet.enrollment.find(key_id).await.map_err(WriteError::NotDone)?;
        let used = found.map_or(0, |found| found.value.used);
        Err(ApiError::EnrollmentKey(EnrollmentKeyRefusal::UsedUp(used)))
    }

    async fn hash_of(&self, replace_token: Option<&str>) -> Result<Option<Box<str>>, ApiError> {
        match replace_token.filter(|token| !token.is_empty()) {
            Some(token) => Ok(Some(self.replace_tokens.hash(token).await?.as_str().into())),
            None => Ok(None),
        }
    }

    async fn store(
        &self,
        id: &str,
        agent: Agent,
        details: &AgentDetails,
        take: Take,
    ) -> Result<Snapshot, ApiError> {
        let agents = &self.fleet.agents;
        let expect = match &take {
            Take::New(_) => Expect::Absent,
            Take::Over(before) => Expect::Revision(before.agent_revision),
        };
        if let Take::Over(before) = &take {
            // What it has done stays done; what it runs is not known any more.
            let state = AgentState {
                action_seq_no: before.state.action_seq_no,
                acked_actions: before.state.acked_actions.clone(),
                ..AgentState::default()
            };
            match agents.save_state(before, state).await {
                Ok(_) => {}
                Err(SaveError::Changed) => return Err(ApiError::Busy),
                Err(SaveError::Store(error)) => return Err(error.into()),
            }
        }
        let (agent, ()) = tokio::try_join!(agents.put(id, agent, expect), agents.put_details(id, details))
            .map_err(|error| match error {
                WriteError::Conflict { .. } => ApiError::Busy,
                error => ApiError::Store(error),
            })?;
        Ok(agent)
    }
}

fn check(asked: &EnrollRequest<'_>) -> Result<(), ApiError> {
    let bad = |text: &str| Err(ApiError::BadRequest(text.to_owned()));
    match asked.kind.as_deref() {
        Some("PERMANENT" | "EPHEMERAL" | "TEMPORARY") => {}
        _ => return bad("type must be PERMANENT"),
    }
    if asked.metadata.is_none() {
        return bad("metadata is missing");
    }
    let id = asked.id.as_deref().unwrap_or_default();
    if id.len() > LONGEST_ID
        || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte))
    {
        return bad("id may have 128 letters, digits and any of - _ . : @");
    }
    let enrollment_id = asked.enrollment_id.as_deref().unwrap_or_default();
    if enrollment_id.len() > LONGEST_ID {
        return bad("enrollment_id may have 128 bytes");
    }
    let tags = asked.metadata.as_ref().and_then(|metadata| metadata.tags.as_deref()).unwrap_or_default();
    if tags.len() > MOST_TAGS || tags.iter().any(|tag| tag.len() > LONGEST_TAG) {
        return bad("metadata.tags may be 100 tags of 256 bytes each");
    }
    Ok(())
}

fn tags(metadata: Option<&EnrollMetadata<'_>>) -> Vec<Arc<str>> {
    let tags = metadata.and_then(|metadata| metadata.tags.as_deref()).unwrap_or_default();
    tags.iter().map(|tag: &Cow<'_, str>| Arc::from(&**tag)).collect()
}

/// The metadata with the agent's id where it has a place for it.
fn with_id(local: &RawValue, id: &str) -> Box<RawValue> {
    let Ok(mut value) = serde_json::from_str::<Value>(local.get()) else { return local.to_owned() };
    match value.pointer_mut("/elastic/agent") {
        Some(Value::Object(agent)) => agent.insert("id".to_owned(), id.into()),
        _ => return local.to_owned(),
    };
    serde_json::value::to_raw_value(&value).unwrap_or_else(|_| local.to_owned())
}

fn answer(
    agent: &Snapshot,
    key: &ApiKey,
    user_provided_metadata: Option<&RawValue>,
    local_metadata: Option<&RawValue>,
) -> Response {
    let tags: Vec<String> = agent.agent.tags.iter().map(ToString::to_string).collect();
    let access_api_key = key.encode();
    let answer = EnrollResponse {
        action: "created",
        item: EnrolledAgent {
            id: &agent.id,
            active: true,
            policy_id: &agent.agent.policy_id,
            kind: "PERMANENT",
            enrolled_at: &agent.agent.enrolled_at.to_string(),
            user_provided_metadata,
            local_metadata,
            actions: [],
            access_api_key_id: key.id(),
            access_api_key: access_api_key.reveal(),
            status: "online",
            tags: &tags,
        },
    };
    Response::json(StatusCode::OK, serde_json::to_vec(&answer).unwrap_or_default())
}
