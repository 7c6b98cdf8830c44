//! Whose key it is.

use fleet_access::key::ApiKey;
use fleet_access::random::RandomError;
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

/// What stands between an agent's id and the rest in the id of its key. No agent's id has it.
const SEPARATOR: char = '/';
/// The length of that rest: it only tells the agent's keys apart.
const REST: usize = 8;

/// A new key for the agent with this id. The key's own id names the agent, so that a server that has not heard of
/// either can ask the store for it.
pub(super) fn new_key(agent_id: &str) -> Result<ApiKey, RandomError> {
    let key = ApiKey::generate()?;
    let pair = key.pair();
    let Some((rest, secret)) = pair.reveal().split_once(':') else { return Ok(key) };
    let rest = rest.get(..REST).unwrap_or(rest);
    // An id with a colon ends at it in a key: such an agent's key names nobody, as keys did before.
    if agent_id.contains(':') {
        return Ok(key);
    }
    Ok(ApiKey::parse_pair(&format!("{agent_id}{SEPARATOR}{rest}:{secret}")).unwrap_or(key))
}

/// The agent whose key this is, for requests that do not say which agent sends them. Asks the store when it is not
/// known here: the agent may just have enrolled, or got another key, at another server.
pub(super) async fn owner(fleet: &Fleet, key: &ApiKey) -> Result<Snapshot, ApiError> {
    let mut owner = fleet.agents.by_key(key.id());
    if owner.is_none()
        && let Some((agent_id, _)) = key.id().rsplit_once(SEPARATOR)
        && !agent_id.is_empty()
    {
        owner = fleet.agents.refresh(agent_id).await?;
    }
    match owner.filter(|owner| is_key_of(key, owner)) {
        Some(owner) if owner.agent.active => Ok(owner),
        Some(_) => Err(ApiError::AgentInactive),
        None => Err(ApiError::Unauthorized),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_agent_if_it_can() {
        let key = new_key("web-1").unwrap();
        let (agent, rest) = key.id().rsplit_once(SEPARATOR).unwrap();
        assert_eq!((agent, rest.len()), ("web-1", REST));
        assert_ne!(key.id(), new_key("web-1").unwrap().id());
        let again = ApiKey::parse(key.encode().reveal()).unwrap();
        assert!(again.id() == key.id() && again.matches(&key.digest()));
        assert!(!new_key("pod:7").unwrap().id().contains(SEPARATOR));
    }
}
