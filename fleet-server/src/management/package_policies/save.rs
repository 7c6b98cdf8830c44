//! Keeping an integration, and shipping the agent policies that have it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_integration::{Package, PackagePolicy, secrets};
use fleet_policy::documents::AgentPolicy;
use fleet_policy::policies::LARGEST_POLICY;
use fleet_store::{Expect, Versioned, WriteError};
use serde_json::{Map, Value, json};

use super::read::{Sent, compile_for};
use super::{Answer, Format, KIND, Shape, shown};
use crate::claims::Taken;
use crate::deployment::Announced;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::catalogue::Item;
use crate::management::error::ApiError;
use crate::management::fields::{self, new_id};
use crate::management::input::{Input, Params};
use crate::management::names::Named;

/// The package that watches the machine itself.
const SYSTEM: &str = "system";
/// The largest integration in bytes of JSON: its document also has to hold references to its secrets.
const LARGEST: usize = 960 * 1024;

pub(super) async fn create(
    State(management): State<Management>,
    caller: Caller,
    Params(Shape { format }): Params<Shape>,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<Value>> {
    let id = new_id(&body)?;
    let force = fields::force(&body)?;
    // What there is of it is told to nobody who may not have it.
    caller.require_on_all(Right::WritePolicies, &named_policies(&body))?;
    if management.fleet.integrations.documents.get(&id).await?.is_some() {
        return Err(exists(&id));
    }
    let sent = management.read_integration(&id, body, None).await?;
    caller.require_on_all(Right::WritePolicies, &sent.policy.policy_ids)?;
    let kept = management.keep(sent, None, force, &caller).await?;
    Ok(Json(Item { item: shown(&kept, format) }))
}

pub(super) async fn update(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Params(Shape { format }): Params<Shape>,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<Value>> {
    let before = management.find_integration_for(&id, Right::WritePolicies, &caller).await?;
    if let Some(revision) = fields::revision(&body)?
        && revision != before.value.revision
    {
        return Err(changed(&before.value));
    }
    let force = fields::force(&body)?;
    let sent = management.read_integration(&id, body, Some(&before.value)).await?;
    caller.require_on_all(Right::WritePolicies, &sent.policy.policy_ids)?;
    let kept = management.keep(sent, Some(before), force, &caller).await?;
    Ok(Json(Item { item: shown(&kept, format) }))
}

fn exists(id: &str) -> ApiError {
    ApiError::Conflict(format!("an integration with id {id} exists already"))
}

/// The agent policies that a body names.
fn named_policies(body: &Map<String, Value>) -> Vec<String> {
    let several = body.get("policy_ids").and_then(Value::as_array).into_iter().flatten();
    several.chain(body.get("policy_id")).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Somebody else was faster: both texts are told.
fn changed(current: &PackagePolicy) -> ApiError {
    let author = current.updated_by.as_deref().unwrap_or("somebody");
    ApiError::Changed {
        text: format!("integration {} is at revision {} by {author}", current.id, current.revision),
        current: shown(current, Format::Legacy),
    }
}

impl Management {
    /// Writes the integration that watches the machine itself, as its package has it, for an agent policy that is
    /// about to be written. Returns its id.
    pub(in crate::management) async fn make_system(
        &self,
        policy: &AgentPolicy,
        taken: &mut Taken,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        let version = self.fleet.packages.newest(SYSTEM, false).await?;
        let package = self.use_package(SYSTEM, &version).await?;
        let id = uuid::Uuid::new_v4().to_string();
        let name = self.add_free_name(taken, &format!("{SYSTEM}-{}", policy.name), &id).await?;
        let mut integration = PackagePolicy::defaults(&package, &id, &name);
        integration.policy_ids = vec![policy.id.clone()];
        integration.policy_id = Some(policy.id.clone());
        let mut integration = compile_for(&package, integration, std::slice::from_ref(policy)).await?;
        self.stamp_integration(&mut integration, None, caller);
        let (documents, lease) = (&self.fleet.integrations.documents, Some(taken.lease()));
        documents.put(&id, &integration, Expect::Absent, None, lease).await?;
        self.fleet.integrations.rows.read(&id).await?;
        caller.changed(KIND, &id, None, Some(json!(integration)));
        Ok(id)
    }

    /// Adds an integration of the server's own to a policy.
    pub(in crate::management) async fn add_integration(
        &self,
        integration: PackagePolicy,
        package: Arc<Package>,
        policy: &AgentPolicy,
        caller: &Caller,
    ) -> Result<(), ApiError> {
        let sent = Sent { policy: integration, package, agent_policies: vec![policy.clone()] };
        self.keep(sent, None, true, caller).await?;
        Ok(())
    }

    /// Takes an output that is about to be removed off an integration, which sends where its policies do then.
    pub(in crate::management) async fn forget_output(
        &self,
        id: &str,
        output: &str,
        caller: &Caller,
    ) -> Result<(), ApiError> {
        loop {
            let Some(before) = self.fleet.integrations.documents.get(id).await? else { return Ok(()) };
            if before.value.output_id.as_deref() != Some(output) {
                return Ok(());
            }
            let policy = PackagePolicy { output_id: None, ..before.value.clone() };
            let of = policy.package.clone().unwrap_or_default();
            let package = self.find_package(&of.name, &of.version).await?;
            let agent_policies = self.agent_policies(&policy.policy_ids).await?;
            let sent = Sent { policy, package, agent_policies };
            match self.keep(sent, Some(before), true, caller).await {
                Err(ApiError::Changed { .. }) => {}
                kept => return kept.map(drop),
            }
        }
    }

    /// Keeps an integration and ships the policies that have it, or had it. What is as it was makes no revision.
    pub(super) async fn keep(
        &self,
        sent: Sent,
        before: Option<Versioned<PackagePolicy>>,
        force: bool,
        caller: &Caller,
    ) -> Result<PackagePolicy, ApiError> {
        let Sent { mut policy, package, agent_policies } = sent;
        let left = before.iter().flat_map(|before| &before.value.policy_ids).cloned().collect::<Vec<_>>();
        let left = self.deployer.policies().read_many(&left).await?;
        let users = agent_policies.iter().chain(left.iter().flatten().map(|found| &found.value));
        if let Some(managed) = users.into_iter().find(|policy| policy.is_managed && !force) {
            let text = format!("agent policy {} is managed: say \"force\": true to change it", managed.id);
            return Err(ApiError::BadRequest(text));
        }
        carry_over(&mut policy, before.as_ref().map(|before| &before.value));
        if before.as_ref().is_some_and(|before| before.value == policy) {
            return Ok(policy);
        }
        self.check_size(&policy)?;
        let taken = secrets::take(&package, &mut policy);
        for secret in &taken {
            let mut ids = Vec::with_capacity(secret.values.len());
            for value in &secret.values {
                ids.push(self.fleet.secrets.create(value).await?);
            }
            secrets::refer(&mut policy, secret, &ids);
        }
        secrets::name_references(&mut policy);
        let mut policy = compile_for(&package, policy, &agent_policies).await?;
        self.stamp_integration(&mut policy, before.as_ref().map(|before| &before.value), caller);
        let old_name = before.as_ref().map(|before| before.value.name.clone());
        let taken = match old_name.as_deref() == Some(&*policy.name) {
            true => None,
            false => Some(self.take_name(Named::Integration, &policy.name, &policy.id).await?),
        };
        let announced = self.announce(&policy, before.as_ref().map(|before| &before.value), caller).await?;
        let expect = before.as_ref().map_or(Expect::Absent, |before| Expect::Revision(before.revision));
        let (documents, lease) = (&self.fleet.integrations.documents, taken.as_ref().map(Taken::lease));
        let written = documents.put(&policy.id, &policy, expect, None, lease).await;
        let is_renamed = taken.is_some() && written.is_ok();
        self.named(taken, written.as_ref().err()).await;
        if let Some(old_name) = old_name.filter(|_| is_renamed) {
            self.release_name(Named::Integration, &old_name, &policy.id).await;
        }
        // Also if it was not written: what was announced must be shipped, and lists say what who was faster said.
        for agent_policy in &announced {
            self.deployer.complete(agent_policy).await?;
        }
        let touched: Vec<String> = announced.iter().map(|agent_policy| agent_policy.id.clone()).collect();
        self.deployer.settle(&policy.id, &touched, caller.name()).await?;
        match written {
            Ok(_) => {}
            // Whose it is may be none of the caller's business.
            Err(WriteError::Conflict { .. }) if before.is_none() => return Err(exists(&policy.id)),
            Err(WriteError::Conflict { .. }) => {
                let current = self.find_integration(&policy.id).await?;
                return Err(changed(&current.value));
            }
            Err(error) => return Err(error.into()),
        }
        self.fleet.integrations.rows.read(&policy.id).await?;
        caller.changed(KIND, &policy.id, before.map(|before| json!(before.value)), Some(json!(policy)));
        Ok(policy)
    }

    /// Refuses what the store would not take, or agents, before anything of it is kept.
    fn check_size(&self, policy: &PackagePolicy) -> Result<(), ApiError> {
        let size = serde_json::to_vec(policy).map_or(0, |text| text.len());
        if size > LARGEST {
            return Err(ApiError::BadRequest(format!(
                "[request body.inputs]: the integration comes to {size} bytes with what its templates make of it, and \
                 {LARGEST} is the most: distribute its streams to several integrations"
            )));
        }
        for id in &policy.policy_ids {
            let known = self.fleet.policies.head(id).map_or(0, |head| head.rendered.data.len());
            if known + size > LARGEST_POLICY {
                return Err(ApiError::BadRequest(format!(
                    "[request body.policy_ids]: agents of policy {id} get {known} bytes already, and {LARGEST_POLICY} \
                     is the most: distribute the integrations to several policies"
                )));
            }
        }
        Ok(())
    }

    /// Gives each policy that has the integration, or had it, its next revision, and lists it or not.
    async fn announce(
        &self,
        policy: &PackagePolicy,
        before: Option<&PackagePolicy>,
        caller: &Caller,
    ) -> Result<Vec<AgentPolicy>, ApiError> {
        let mut touched = policy.policy_ids.clone();
        touched.extend(before.iter().flat_map(|before| before.policy_ids.iter().cloned()));
        touched.sort_unstable();
        touched.dedup();
        let mut announced = Vec::with_capacity(touched.len());
        for id in &touched {
            let is_user = policy.policy_ids.contains(id);
            let next = self.deployer.announce(id, caller.name(), |agent_policy| {
                agent_policy.package_policies.retain(|listed| is_user || *listed != policy.id);
                if is_user && !agent_policy.package_policies.contains(&policy.id) {
                    agent_policy.package_policies.push(policy.id.clone());
                }
                true
            });
            match next.await {
                Ok(Announced::Next(policy) | Announced::Unchanged(policy)) => announced.push(policy),
                // It was removed meanwhile, and has nothing any more.
                Err(crate::deployment::DeployError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(announced)
    }

    fn stamp_integration(&self, policy: &mut PackagePolicy, before: Option<&PackagePolicy>, caller: &Caller) {
        let now = self.fleet.clock.now().to_string();
        policy.revision = before.map_or(0, |before| before.revision) + 1;
        if before.is_none() {
            policy.created_at = Some(now.clone());
            policy.created_by = Some(caller.name().to_owned());
        }
        policy.updated_at = Some(now);
        policy.updated_by = Some(caller.name().to_owned());
    }
}

/// What the server sets stays as it was, so that what was sent can be compared with it.
fn carry_over(policy: &mut PackagePolicy, before: Option<&PackagePolicy>) {
    let Some(before) = before else { return };
    policy.revision = before.revision;
    policy.created_at.clone_from(&before.created_at);
    policy.created_by.clone_from(&before.created_by);
    policy.updated_at.clone_from(&before.updated_at);
    policy.updated_by.clone_from(&before.updated_by);
    policy.secret_references.clone_from(&before.secret_references);
}
