//! Names that only one agent policy, or one integration, may have.

use fleet_store::{Error, WriteError};

use super::Management;
use super::error::ApiError;
use super::fields::bad_name;
use crate::claims::{ClaimError, Owners, Taken, release};

/// Whose name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    AgentPolicy,
    Integration,
}

impl Named {
    /// The kind of the claim.
    fn kind(self) -> &'static str {
        match self {
            Named::AgentPolicy => "agent-policy-name",
            Named::Integration => "package-policy-name",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Named::AgentPolicy => "an agent policy",
            Named::Integration => "an integration",
        }
    }
}

/// Those that are called so.
struct Called<'a> {
    management: &'a Management,
    named: Named,
    name: &'a str,
}

#[async_trait::async_trait]
impl Owners for Called<'_> {
    async fn has(&self, id: &str) -> Result<bool, Error> {
        let fleet = &self.management.fleet;
        Ok(match self.named {
            Named::AgentPolicy => {
                fleet.agent_policies.read(id).await?.is_some_and(|found| found.value.name == self.name)
            }
            Named::Integration => {
                fleet.integrations.rows.read(id).await?.is_some_and(|found| *found.value.name == *self.name)
            }
        })
    }
}

/// The claim that keeps others from making an agent policy with an id.
const POLICY_ID: &str = "agent-policy-id";

impl Management {
    /// Takes a name for the object `owner`, which is to be written under the lease of it.
    ///
    /// # Errors
    /// Another one has it, or is about to take it.
    pub(super) async fn take_name(&self, named: Named, name: &str, owner: &str) -> Result<Taken, ApiError> {
        self.take_names(&[(named, name, owner)]).await
    }

    /// The same for several names, of which all are taken or none.
    pub(super) async fn take_names(&self, names: &[(Named, &str, &str)]) -> Result<Taken, ApiError> {
        let mut taken = Taken::nothing(&self.fleet.store, self.fleet.clock.now()).await?;
        for (named, name, owner) in names {
            if let Err(error) = self.add_name(&mut taken, *named, name, owner).await {
                taken.leave().await;
                return Err(error);
            }
        }
        Ok(taken)
    }

    /// The same for a new agent policy: nobody else makes one with its id meanwhile.
    pub(super) async fn take_policy(&self, name: &str, id: &str) -> Result<Taken, ApiError> {
        let mut taken = self.take_name(Named::AgentPolicy, name, id).await?;
        match taken.keep_away(POLICY_ID, id).await {
            Ok(()) => Ok(taken),
            Err(error) => {
                taken.leave().await;
                Err(match error {
                    ClaimError::Store(error) => error.into(),
                    ClaimError::Taken(_) | ClaimError::Pending => ApiError::Conflict(format!(
                        "somebody makes an agent policy with id {id} at this moment: try again in some seconds"
                    )),
                })
            }
        }
    }

    /// Takes one more name.
    pub(super) async fn add_name(
        &self,
        taken: &mut Taken,
        named: Named,
        name: &str,
        owner: &str,
    ) -> Result<(), ApiError> {
        // Also those that were made before names were taken.
        self.require_free_name(named, name, owner)?;
        let owners = Called { management: self, named, name };
        taken.take(named.kind(), name, owner, &owners).await.map_err(|error| match error {
            ClaimError::Taken(_) => bad_name(named.title(), name),
            ClaimError::Pending => ApiError::Conflict(format!(
                "[request body.name]: {} gets the name {name:?} at this moment: try again in some seconds, or choose \
                 another one",
                named.title()
            )),
            ClaimError::Store(error) => error.into(),
        })
    }

    /// Takes a name that is like `wanted` for an integration that the server makes by itself.
    pub(super) async fn add_free_name(
        &self,
        taken: &mut Taken,
        wanted: &str,
        owner: &str,
    ) -> Result<String, ApiError> {
        match self.add_name(taken, Named::Integration, wanted, owner).await {
            Ok(()) => Ok(wanted.to_owned()),
            Err(ApiError::Conflict(_)) => {
                let other = format!("{wanted} {owner}");
                self.add_name(taken, Named::Integration, &other, owner).await?;
                Ok(other)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether nobody else has a name, as far as this server knows.
    pub(super) fn require_free_name(&self, named: Named, name: &str, owner: &str) -> Result<(), ApiError> {
        let is_taken = match named {
            Named::AgentPolicy => {
                let all = self.deployer.policies().all();
                all.values().any(|other| other.value.name == name && other.id != owner)
            }
            Named::Integration => {
                let all = self.fleet.integrations.rows.all();
                all.values().any(|other| *other.value.name == *name && other.id != owner)
            }
        };
        if is_taken { Err(bad_name(named.title(), name)) } else { Ok(()) }
    }

    /// An object that was to have a name was written, or not (`failed`). Where that is unknown, whoever wants the
    /// name finds out.
    pub(super) async fn named(&self, taken: Option<Taken>, failed: Option<&WriteError>) {
        match (taken, failed) {
            (None, _) | (_, Some(WriteError::Unknown(_))) => {}
            (Some(taken), None) => taken.settle().await,
            (Some(taken), Some(_)) => taken.leave().await,
        }
    }

    /// Gives a name free that an object had. What fails is found out by whoever wants the name.
    pub(super) async fn release_name(&self, named: Named, name: &str, owner: &str) {
        if let Err(error) = release(&self.fleet.store, named.kind(), name, owner).await {
            tracing::debug!(
                name,
                owner,
                error = &error as &dyn std::error::Error,
                "a name is not given free yet"
            );
        }
    }
}
