//! Bringing integrations to another version of their packages.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right;
use fleet_integration::{Context, PackagePolicy, compile, upgrade as bring};
use fleet_store::Versioned;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Sent, compile_for, invalid};
use super::{Answer, Format, shown};
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;
use crate::management::{Management, blocking};

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Upgrade {
    package_policy_ids: Vec<String>,
    /// The version to go to; absent: the one that is installed.
    package_version: Option<String>,
}

pub(super) async fn upgrade(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<Upgrade>,
) -> Answer<Vec<Value>> {
    let mut answers = Vec::with_capacity(asked.package_policy_ids.len());
    for id in &asked.package_policy_ids {
        let upgraded = management.upgrade_integration(id, asked.package_version.as_deref(), &caller).await;
        answers.push(match upgraded {
            Ok(policy) => json!({"id": id, "name": policy.name, "success": true}),
            Err(error) => failed(id, &error),
        });
    }
    Ok(Json(answers))
}

fn failed(id: &str, error: &ApiError) -> Value {
    json!({
        "id": id,
        "success": false,
        "statusCode": error.status().as_u16(),
        "body": {"message": error.to_string()},
    })
}

pub(super) async fn dry_run(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<Upgrade>,
) -> Answer<Vec<Value>> {
    let mut answers = Vec::with_capacity(asked.package_policy_ids.len());
    for id in &asked.package_policy_ids {
        let tried = management.try_upgrade(id, asked.package_version.as_deref(), &caller).await;
        answers.push(tried.unwrap_or_else(|error| {
            let mut answer = failed(id, &error);
            answer["hasErrors"] = true.into();
            answer
        }));
    }
    Ok(Json(answers))
}

/// The inputs that agents would get of an integration.
fn agent_inputs(package: &fleet_integration::Package, policy: &PackagePolicy) -> Vec<Value> {
    let context = Context { output: "default", ..Context::default() };
    compile(package, policy, &context).map(|compiled| compiled.inputs).unwrap_or_default()
}

impl Management {
    /// An integration and the package version that it is to be brought to.
    async fn to_upgrade(
        &self,
        id: &str,
        version: Option<&str>,
        right: Right,
        caller: &Caller,
    ) -> Result<(Versioned<PackagePolicy>, Arc<fleet_integration::Package>), ApiError> {
        let found = self.find_integration_for(id, right, caller).await?;
        let name = found.value.package.as_ref().map(|package| package.name.clone()).unwrap_or_default();
        let version = match version {
            Some(version) => version.to_owned(),
            None => {
                let installed = self.fleet.packages.installed(&name).await?;
                installed.map(|installed| installed.version).ok_or_else(|| {
                    ApiError::BadRequest(format!("package {name} is not installed: install it first"))
                })?
            }
        };
        let package = self.find_package(&name, &version).await?;
        Ok((found, package))
    }

    /// Brings an integration to a version of its package; to the installed one, if none is named.
    pub(in crate::management) async fn upgrade_integration(
        &self,
        id: &str,
        version: Option<&str>,
        caller: &Caller,
    ) -> Result<PackagePolicy, ApiError> {
        let (before, package) = self.to_upgrade(id, version, Right::WritePolicies, caller).await?;
        let (old, of) = (before.value.clone(), Arc::clone(&package));
        let upgraded = blocking(move || Ok(bring(&old, &of))).await?;
        if !upgraded.conflicts.is_empty() {
            return Err(invalid(&upgraded.conflicts));
        }
        let policy = upgraded.policy;
        let package = self.use_package(&package.name, &package.version).await?;
        let agent_policies = self.agent_policies(&policy.policy_ids).await?;
        let policy = compile_for(&package, policy, &agent_policies).await?;
        self.keep(Sent { policy, package, agent_policies }, Some(before), true, caller).await
    }

    async fn try_upgrade(&self, id: &str, version: Option<&str>, caller: &Caller) -> Result<Value, ApiError> {
        let (before, package) = self.to_upgrade(id, version, Right::ReadPolicies, caller).await?;
        let old = before.value.clone();
        let (upgraded, inputs) = blocking(move || {
            let upgraded = bring(&old, &package);
            let inputs = agent_inputs(&package, &upgraded.policy);
            Ok((upgraded, inputs))
        })
        .await?;
        let mut proposed = shown(&upgraded.policy, Format::Legacy);
        if !upgraded.conflicts.is_empty() {
            proposed["errors"] = json!(upgraded.conflicts);
        }
        Ok(json!({
            "name": before.value.name,
            "hasErrors": !upgraded.conflicts.is_empty(),
            "diff": [shown(&before.value, Format::Legacy), proposed],
            "agent_diff": [inputs],
            "changes": upgraded.changes,
        }))
    }
}
