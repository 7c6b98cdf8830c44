//! Whose key it is.

use fleet_access::key::ApiKey;
use fleet_policy::agents::Snapshot;
use fleet_protocol::agent::Version;
use http::header::{AUTHORIZATION, USER_AGENT};

use super::error::ApiError;
use crate::fleet::Fleet;
use crate::http::Request;

/// The key of a request.
pub(super) fn key(request: &Request) -> Result<ApiKey, ApiError> {
    let mut values = request.headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(ApiError::NoAuthorization)?;
    if values.next().is_some() {
        return Err(ApiError::MalformedHeader);
    }
    let text = value.to_str().map_err(|_| ApiError::MalformedHeader)?;
    let token = text.strip_prefix("ApiKey ").ok_or(ApiError::MalformedHeader)?;
    ApiKey::parse(token.trim()).map_err(|error| ApiError::MalformedToken(error.to_string()))
}

/// The version of the agent that sends a request.
pub(super) fn agent_version(request: &Request) -> Result<Version, ApiError> {
    Ok(Version::of_user_agent(request.header(&USER_AGENT).unwrap_or_default())?)
}

/// Whether `key` is the agent's.
pub(super) fn is_key_of(key: &ApiKey, agent: &Snapshot) -> bool {
    *agent.agent.access_api_key_id == *key.id() && key.matches(&agent.agent.access_api_key_digest)
}

/// The agent with this id, if the request has its key and it has not left.
///
/// What the store does not tell is never taken for a wrong key: an agent that is refused seven times stays
/// away for an hour.
pub(super) async fn agent(fleet: &Fleet, id: &str, request: &Request) -> Result<Snapshot, ApiError> {
    let key = key(request)?;
    let mut agent = fleet.agents.find(id).await?;
    // It may have got another key, at another server, a moment ago.
    if agent.as_ref().is_some_and(|agent| *agent.agent.access_api_key_id != *key.id()) {
        agent = fleet.agents.refresh(id).await?;
    }
    match agent {
        Some(agent) if is_key_of(&key, &agent) => {
            if agent.agent.active {
                Ok(agent)
            } else {
                Err(ApiError::AgentInactive)
            }
        }
        other => {
            let owner = fleet.agents.by_key(key.id()).filter(|owner| is_key_of(&key, owner));
            match (owner, other) {
                (Some(_), Some(_)) => Err(ApiError::AgentIdentity),
                (Some(_), None) => Err(ApiError::AgentNotFound),
                (None, _) => Err(ApiError::Unauthorized),
            }
        }
    }
}

/// The agent whose key this is, for requests that do not say which agent sends them. It must be known here.
pub(super) fn owner(fleet: &Fleet, key: &ApiKey) -> Result<Snapshot, ApiError> {
    match fleet.agents.by_key(key.id()).filter(|owner| is_key_of(key, owner)) {
        Some(owner) if owner.agent.active => Ok(owner),
        Some(_) => Err(ApiError::AgentInactive),
        None => Err(ApiError::Unauthorized),
    }
}
