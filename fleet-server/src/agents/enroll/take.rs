//! Which agent an enrolment makes, or takes the place of.
//!
//! An agent whose answer got lost enrols again, perhaps at another server, a moment later. It must not leave an
//! agent behind that never came: where it names its attempt (`enrollment_id`), the attempt decides the id, so that
//! every server finds in the store what became of it.

use fleet_access::replace_token::ReplaceTokenHash;
use fleet_policy::agents::Snapshot;
use fleet_protocol::agent::EnrollRequest;
use fleet_store::WriteError;
use ring::digest::{SHA256, digest};
use uuid::{Builder, Uuid};

use crate::agents::AgentsApi;
use crate::agents::error::ApiError;

/// So many agents may come from attempts of one name, one after the other, and be told apart in this way.
const MOST_OF_ATTEMPT: u32 = 8;

/// What an agent enrols as.
pub(super) enum Take {
    /// A new agent with this id.
    New(String),
    /// In the place of this one.
    Over(Snapshot),
}

impl Take {
    /// The agent's id.
    pub(super) fn id(&self) -> &str {
        match self {
            Take::New(id) => id,
            Take::Over(agent) => &agent.id,
        }
    }
}

impl AgentsApi {
    pub(super) async fn take(&self, asked: &EnrollRequest<'_>, policy_id: &str) -> Result<Take, ApiError> {
        let enrollment_id = asked.enrollment_id.as_deref().filter(|id| !id.is_empty());
        let Some(id) = asked.id.as_deref().filter(|id| !id.is_empty()) else {
            return match enrollment_id {
                Some(enrollment_id) => self.take_of_attempt(enrollment_id).await,
                None => Ok(Take::New(Uuid::new_v4().to_string())),
            };
        };
        let Some(agent) = self.fleet.agents.refresh(id).await? else { return Ok(Take::New(id.to_owned())) };
        if !agent.agent.active || is_left_by(&agent, enrollment_id) {
            return Ok(Take::Over(agent));
        }
        let refused = |why| Err(ApiError::NotReplaceable(why));
        let Some(hash) = &agent.agent.replace_token else {
            return refused("it is active, and was enrolled without a replace token");
        };
        let Some(token) = asked.replace_token.as_deref().filter(|token| !token.is_empty()) else {
            return refused("it is active: send its replace_token");
        };
        if *agent.agent.policy_id != *policy_id {
            return refused("the enrollment key is for another policy than it has");
        }
        let hash = ReplaceTokenHash::new(&**hash);
        if !self.replace_tokens.verify(token, &hash).await? {
            return refused("the replace_token is not the one that it was enrolled with");
        }
        Ok(Take::Over(agent))
    }

    /// An agent that has come stays what it is: the name of its attempt is used once more, for another one.
    async fn take_of_attempt(&self, enrollment_id: &str) -> Result<Take, ApiError> {
        for number in 0..MOST_OF_ATTEMPT {
            let id = id_of_attempt(enrollment_id, number);
            match self.fleet.agents.refresh(&id).await? {
                None => return Ok(Take::New(id)),
                Some(agent) if is_left_by(&agent, Some(enrollment_id)) => return Ok(Take::Over(agent)),
                Some(_) => {}
            }
        }
        Ok(Take::New(Uuid::new_v4().to_string()))
    }

    /// Removes what the same attempt left behind under another id than `id`, as far as is known here.
    pub(super) async fn forget_attempt(&self, enrollment_id: Option<&str>, id: &str) -> Result<(), ApiError> {
        let Some(enrollment_id) = enrollment_id.filter(|id| !id.is_empty()) else { return Ok(()) };
        let Some(known) = self.fleet.agents.by_enrollment(enrollment_id).filter(|agent| *agent.id != *id)
        else {
            return Ok(());
        };
        // It may have come meanwhile, at another server.
        match self.fleet.agents.refresh(&known.id).await? {
            Some(agent) if is_left_by(&agent, Some(enrollment_id)) => {
                match self.fleet.agents.delete(&agent).await {
                    Ok(()) | Err(WriteError::Conflict { .. }) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// Whether this attempt made the agent, and nobody has come as it.
fn is_left_by(agent: &Snapshot, enrollment_id: Option<&str>) -> bool {
    enrollment_id.is_some()
        && agent.agent.enrollment_id.as_deref() == enrollment_id
        && agent.state.last_checkin.is_none()
}

/// The id of the `number`th agent of an attempt: always the same one, and of the form of all others.
fn id_of_attempt(enrollment_id: &str, number: u32) -> String {
    let hash = digest(&SHA256, format!("{number}:{enrollment_id}").as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::id_of_attempt;

    #[test]
    fn an_attempt_has_one_id_and_another_one_another() {
        let id = id_of_attempt("attempt-1", 0);
        assert_eq!(id, id_of_attempt("attempt-1", 0));
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert_ne!(id, id_of_attempt("attempt-1", 1));
        assert_ne!(id, id_of_attempt("attempt-2", 0));
    }
}
