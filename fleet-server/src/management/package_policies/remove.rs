//! Removing integrations.

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_integration::PackagePolicy;
use fleet_integration::policy::PolicyPackage;
use fleet_store::{Expect, Versioned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, KIND};
use crate::deployment::DeployError;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::{Input, Params};
use crate::management::names::Named;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Remove {
    package_policy_ids: Vec<String>,
    /// Also from policies that are managed.
    force: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Force {
    /// Also from policies that are managed.
    force: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Id {
    id: String,
}

/// What became of one of several.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Removed {
    id: String,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "policy_ids", default, skip_serializing_if = "Vec::is_empty")]
    policy_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<PolicyPackage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Message>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Message {
    message: String,
}

pub(super) async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Params(Force { force }): Params<Force>,
) -> Answer<Id> {
    management.remove_integration(&id, force, &caller).await?;
    Ok(Json(Id { id }))
}

pub(super) async fn several(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<Remove>,
) -> Answer<Vec<Removed>> {
    let mut answers = Vec::with_capacity(asked.package_policy_ids.len());
    for id in asked.package_policy_ids {
        let removed = management.remove_integration(&id, asked.force, &caller).await;
        answers.push(match removed {
            Ok(policy) => Removed {
                id,
                success: true,
                name: Some(policy.name),
                policy_ids: policy.policy_ids,
                package: policy.package,
                ..Removed::default()
            },
            Err(error) => Removed {
                id,
                status_code: Some(error.status().as_u16()),
                body: Some(Message { message: error.to_string() }),
                ..Removed::default()
            },
        });
    }
    Ok(Json(answers))
}

impl Management {
    /// Takes an integration off its policies, ships them, and removes it.
    async fn remove_integration(
        &self,
        id: &str,
        force: bool,
        caller: &Caller,
    ) -> Result<PackagePolicy, ApiError> {
        let found = self.find_integration_for(id, Right::WritePolicies, caller).await?;
        let Versioned { revision, value: policy, .. } = found;
        for policy_id in &policy.policy_ids {
            let is_managed =
                self.deployer.policies().read(policy_id).await?.is_some_and(|it| it.value.is_managed);
            if is_managed && !force {
                let text = format!("agent policy {policy_id} is managed: say force to change it");
                return Err(ApiError::BadRequest(text));
            }
        }
        for policy_id in &policy.policy_ids {
            let renewed = self.deployer.renew(policy_id, caller.name(), |agent_policy| {
                let before = agent_policy.package_policies.len();
                agent_policy.package_policies.retain(|listed| listed != id);
                agent_policy.package_policies.len() != before
            });
            match renewed.await {
                Ok(_) | Err(DeployError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Its secrets stay: older revisions refer to them.
        let gone = self.fleet.integrations.documents.delete(id, Expect::Revision(revision), None).await;
        // Whoever changed it meanwhile keeps it, in the policies that it says.
        self.deployer.settle(id, &policy.policy_ids, caller.name()).await?;
        self.fleet.integrations.rows.forget(id, gone?);
        self.release_name(Named::Integration, &policy.name, id).await;
        caller.changed(KIND, id, Some(json!(policy)), None);
        Ok(policy)
    }
}
