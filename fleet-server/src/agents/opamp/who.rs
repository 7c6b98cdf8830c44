//! Which collector a message is from, or that it is a new one.

use std::sync::Arc;

use fleet_access::documents::{EnrollmentKey, EnrollmentKeyRefusal};
use fleet_access::key::ApiKey;
use fleet_policy::agents::Snapshot;
use fleet_policy::documents::{Agent, AgentKind};
use fleet_policy::opamp::{Description, SERVER_CAPABILITIES};
use fleet_protocol::opamp::{
    AgentFlag, AgentIdentification, AgentToServer, INSTANCE_UID_LENGTH, ServerFlag, ServerToAgent, has,
};
use fleet_store::{Expect, WriteError};
use tracing::{info, warn};
use uuid::Uuid;

use crate::agents::AgentsApi;
use crate::agents::error::ApiError;

/// Who says a message.
pub(super) enum Who {
    /// A collector that is known.
    Known(Snapshot),
    /// Somebody who must take another id first, and is told so.
    Renamed(ServerToAgent),
    /// Nobody that is known, who goes away.
    Gone,
}

/// A key that a collector comes with.
pub(super) struct CollectorKey {
    key: EnrollmentKey,
    /// New collectors may not come with it any more.
    used_up: Option<EnrollmentKeyRefusal>,
}

impl AgentsApi {
    /// The enrolment key that `key` is. One that is used up is still good for those that have enrolled with it;
    /// one that was revoked or has expired is good for nobody.
    pub(super) async fn collector_key(&self, key: &ApiKey) -> Result<CollectorKey, ApiError> {
        match self.find_enrollment_key(key).await? {
            (key, used_up @ (None | Some(EnrollmentKeyRefusal::UsedUp(_)))) => {
                Ok(CollectorKey { key, used_up })
            }
            (_, Some(refusal)) => Err(ApiError::EnrollmentKey(refusal)),
        }
    }

    /// Who says `message`, with `key`. Who is not known enrols.
    pub(super) async fn who(&self, key: &ApiKey, message: &AgentToServer) -> Result<Who, ApiError> {
        let CollectorKey { key, used_up } = self.collector_key(key).await?;
        let id = agent_id(message)?;
        if has(message.flags, AgentFlag::RequestInstanceUid) {
            return Ok(Who::Renamed(renamed(message)));
        }
        let known = match self.fleet.agents.find(&id).await? {
            Some(agent) => agent,
            None if message.agent_disconnect.is_some() => return Ok(Who::Gone),
            None => match used_up {
                Some(refusal) => return Err(ApiError::EnrollmentKey(refusal)),
                None => self.enrol_collector(&id, &key, message).await?,
            },
        };
        let is_owner = known.agent.enrollment_key_id.as_deref() == Some(&key.id);
        // A new key of the same policy takes the place of the old one.
        if known.agent.kind != AgentKind::Opamp || (!is_owner && *known.agent.policy_id != *key.policy_id) {
            warn!(
                agent = &*known.id,
                "a collector says that it is an agent whose key it has not: it gets another id"
            );
            return Ok(Who::Renamed(renamed(message)));
        }
        if !known.agent.active {
            return Err(ApiError::AgentInactive);
        }
        if is_owner {
            return Ok(Who::Known(known));
        }
        let changed = self.fleet.agents.change(&id, |agent| {
            agent.enrollment_key_id = Some(Arc::from(key.id.as_str()));
            true
        });
        Ok(Who::Known(changed.await?.ok_or(ApiError::AgentNotFound)?))
    }

    async fn enrol_collector(
        &self,
        id: &str,
        key: &EnrollmentKey,
        message: &AgentToServer,
    ) -> Result<Snapshot, ApiError> {
        if let Some(most) = key.max_uses
            && !self.fleet.enrollment.count_use(&key.id).await?
        {
            return Err(ApiError::EnrollmentKey(EnrollmentKeyRefusal::UsedUp(most)));
        }
        let mut agent = Agent {
            kind: AgentKind::Opamp,
            active: true,
            policy_id: Arc::from(key.policy_id.as_str()),
            enrolled_at: self.fleet.clock.now(),
            enrollment_key_id: Some(Arc::from(key.id.as_str())),
            ..Agent::default()
        };
        if let Some(told) = &message.agent_description {
            Description::of(told).describe(&Description::default(), &mut agent);
        }
        match self.fleet.agents.put(id, agent, Expect::Absent).await {
            Ok(agent) => {
                info!(
                    agent = id,
                    policy = key.policy_id,
                    host = &*agent.agent.host.hostname,
                    "a collector has enrolled"
                );
                Ok(agent)
            }
            // It enrolled elsewhere at the same moment.
            Err(WriteError::Conflict { .. }) => {
                self.fleet.agents.refresh(id).await?.ok_or(ApiError::AgentNotFound)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The id of the agent that says a message.
pub(super) fn agent_id(message: &AgentToServer) -> Result<String, ApiError> {
    match <[u8; INSTANCE_UID_LENGTH]>::try_from(message.instance_uid.as_slice()) {
        Ok(uid) => Ok(Uuid::from_bytes(uid).to_string()),
        Err(_) => Err(ApiError::BadRequest(format!("instance_uid must have {INSTANCE_UID_LENGTH} bytes"))),
    }
}

/// Tells whoever sent `message` to take another id, and to say everything again with it.
pub(super) fn renamed(message: &AgentToServer) -> ServerToAgent {
    let new_instance_uid = Uuid::now_v7().into_bytes().to_vec();
    ServerToAgent {
        instance_uid: message.instance_uid.clone(),
        flags: ServerFlag::ReportFullState.into(),
        capabilities: SERVER_CAPABILITIES,
        agent_identification: Some(AgentIdentification { new_instance_uid }),
        ..ServerToAgent::default()
    }
}
