//! When the signing key was changed, the key before is given up as soon as every agent knows the new one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_access::signer::{SignerError, SigningKeys};
use fleet_policy::documents::AgentKind;
use fleet_policy::keeper::Duty;
use fleet_store::{Error, ErrorKind, LeaseId, WriteError};
use tokio::time::sleep;
use tracing::info;

use crate::fleet::Fleet;
use crate::signing::known_key;

/// How often it is looked.
const ROUND: Duration = Duration::from_secs(15);

/// What still has the key before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Policies that have not been shipped with the new key yet.
    pub policies: u64,
    /// Agents that run a revision with the key before.
    pub agents: u64,
}

impl Left {
    /// What of `fleet` has the key before, as far as this server knows. Nothing, if there is no key before.
    #[must_use]
    pub fn of(fleet: &Fleet, keys: &SigningKeys) -> Left {
        let mut left = Left::default();
        let Some(before) = keys.previous_public_key() else { return left };
        for id in fleet.agent_policies.all().keys() {
            let key = fleet.policies.head(id).and_then(|head| head.signing_key);
            left.policies += u64::from(key.as_deref() == Some(before));
        }
        fleet.agents.for_each(|found| {
            // Collectors verify nothing. Who has run no policy yet knows no key.
            let is_out = !found.agent.active
                || found.agent.kind == AgentKind::Opamp
                || found.state.policy_revision_idx == 0;
            if is_out {
                return;
            }
            // Nobody can tell what stands in a policy that is gone.
            let knows_before = known_key(fleet, found).is_none_or(|key| &*key == before);
            left.agents += u64::from(knows_before);
        });
        left
    }
}

/// Gives up keys that nobody needs any more.
#[derive(Debug)]
pub struct Rotation(Arc<Fleet>);

impl Rotation {
    /// Those of `fleet`.
    #[must_use]
    pub fn new(fleet: &Arc<Fleet>) -> Rotation {
        Rotation(Arc::clone(fleet))
    }

    /// Gives up the key before, if that can be done now.
    ///
    /// # Errors
    /// The store does not take it, or the lease is over.
    pub async fn round(&self, lease: LeaseId) -> Result<(), WriteError> {
        let keys = self.0.signer.refresh().await.map_err(not_done)?;
        let Some(before) = keys.previous_public_key() else { return Ok(()) };
        if Left::of(&self.0, &keys) != Left::default() {
            return Ok(());
        }
        self.0.signer.retire(before, lease).await.map_err(not_done)?;
        info!("every agent knows the new signing key: the one before is given up");
        Ok(())
    }
}

fn not_done(error: SignerError) -> WriteError {
    match error {
        SignerError::Write(error) => error,
        SignerError::Store(error) => WriteError::NotDone(error),
        other => WriteError::NotDone(Error::caused_by(ErrorKind::Corrupt, "give up a signing key", other)),
    }
}

#[async_trait]
impl Duty for Rotation {
    async fn serve(&self, lease: LeaseId) -> Result<(), WriteError> {
        loop {
            self.round(lease).await?;
            sleep(ROUND).await;
        }
    }
}
