//! What becomes of integrations when their agent policy is copied, taken back or removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_policy::documents::AgentPolicy;
use fleet_store::{Expect, LeaseId, Typed};
use serde_json::{Value, json};

use super::KIND;
use crate::claims::Taken;
use crate::deployment::PACKAGE_POLICIES;
use crate::deployment::revisions::Revision;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;

/// Fields that the server sets at each edit.
const OWN: [&str; 3] = ["revision", "updated_at", "updated_by"];

/// An integration leaves a policy after so many attempts, when others change it at the same time.
const MOST_ATTEMPTS: usize = 20;

/// The integrations of a policy that was taken back.
#[derive(Debug)]
pub(in crate::management) struct Restored {
    /// Which it has now.
    pub(in crate::management) ids: Vec<String>,
    /// Whether any of them is not what it was.
    pub(in crate::management) changed: bool,
}

impl Management {
    fn integrations(&self) -> Typed<Value> {
        Typed::new(Arc::clone(&self.fleet.store), &PACKAGE_POLICIES)
    }

    /// Copies the integrations of `policy` for `copy`, which is about to be written. Returns their ids.
    pub(in crate::management) async fn copy_integrations(
        &self,
        policy: &AgentPolicy,
        copy: &AgentPolicy,
        taken: &mut Taken,
        caller: &Caller,
    ) -> Result<Vec<String>, ApiError> {
        let mut ids = Vec::new();
        for integration in self.deployer.integrations_of(policy).await? {
            let id = uuid::Uuid::new_v4().to_string();
            let mut document = integration.document;
            let name = document["name"].as_str().unwrap_or_default();
            document["name"] =
                self.add_free_name(taken, &format!("{name} ({})", copy.name), &id).await?.into();
            document["id"] = id.clone().into();
            document["policy_id"] = copy.id.clone().into();
            document["policy_ids"] = json!([copy.id]);
            document["revision"] = 1.into();
            self.stamp(&mut document, caller);
            document["created_at"] = document["updated_at"].clone();
            document["created_by"] = document["updated_by"].clone();
            self.integrations().put(&id, &document, Expect::Absent, None, Some(taken.lease())).await?;
            self.fleet.integrations.rows.read(&id).await?;
            caller.changed(KIND, &id, None, Some(document));
            ids.push(id);
        }
        Ok(ids)
    }

    /// Asks for the right to change every policy that shares what is taken back, or is taken off.
    pub(in crate::management) async fn require_rights_to_restore(
        &self,
        policy: &AgentPolicy,
        documents: &[Value],
        caller: &Caller,
    ) -> Result<(), ApiError> {
        let mut ids = policy.package_policies.clone();
        ids.extend(documents.iter().filter_map(|document| document["id"].as_str().map(str::to_owned)));
        let known = self.integrations().get_many(&ids).await?;
        let shared = known.iter().flatten().flat_map(|found| policy_ids(&found.value));
        shared
            .collect::<std::collections::BTreeSet<_>>()
            .iter()
            .try_for_each(|id| caller.require_on(fleet_access::rights::Right::WritePolicies, id))
    }

    /// Makes integrations what they were at a revision. Other policies that share them get a new revision too.
    pub(in crate::management) async fn restore_integrations(
        &self,
        revision: &Revision,
        documents: Vec<Value>,
        lease: Option<LeaseId>,
        caller: &Caller,
    ) -> Result<Restored, ApiError> {
        let policy_id = &revision.agent_policy.id;
        let mut restored = Restored { ids: Vec::new(), changed: false };
        let mut others: Vec<String> = Vec::new();
        for document in documents {
            let Some(id) = document["id"].as_str().map(str::to_owned) else { continue };
            if self.restore(&id, document.clone(), policy_id, lease, caller).await? {
                restored.changed = true;
                others.extend(policy_ids(&document).filter(|other| other != policy_id));
            }
            restored.ids.push(id);
        }
        others.sort_unstable();
        others.dedup();
        for other in others {
            self.deployer.renew(&other, caller.name(), |_| true).await?;
        }
        let current = self.find_policy(policy_id).await?.value;
        for id in current.package_policies.iter().filter(|id| !restored.ids.contains(id)) {
            self.leave(id, policy_id, caller).await?;
        }
        Ok(restored)
    }

    /// Whether the integration was changed by this.
    async fn restore(
        &self,
        id: &str,
        mut document: Value,
        policy_id: &str,
        lease: Option<LeaseId>,
        caller: &Caller,
    ) -> Result<bool, ApiError> {
        let found = self.integrations().get(id).await?;
        if let Some(found) = &found
            && without_own(found.value.clone()) == without_own(document.clone())
        {
            return Ok(false);
        }
        let revision_of = |document: &Value| document["revision"].as_u64().unwrap_or(0);
        let known = found.as_ref().map_or(0, |found| revision_of(&found.value));
        document["revision"] = (known.max(revision_of(&document)) + 1).into();
        // It may have left this policy, and only this one takes it back.
        let mut users: Vec<String> = found.iter().flat_map(|found| policy_ids(&found.value)).collect();
        if !users.iter().any(|user| user == policy_id) {
            users.push(policy_id.to_owned());
        }
        document["policy_ids"] = json!(users);
        self.stamp(&mut document, caller);
        let expect = found.as_ref().map_or(Expect::Absent, |found| Expect::Revision(found.revision));
        self.integrations().put(id, &document, expect, None, lease).await?;
        caller.changed(KIND, id, found.map(|found| found.value), Some(document));
        Ok(true)
    }

    /// Takes a policy off an integration. One that no policy has is removed.
    async fn leave(&self, id: &str, policy_id: &str, caller: &Caller) -> Result<(), ApiError> {
        for _ in 0..MOST_ATTEMPTS {
            let found = self.fleet.integrations.documents.get(id).await?;
            let found = found.filter(|found| found.value.policy_ids.iter().any(|user| user == policy_id));
            let Some(found) = found else { return Ok(()) };
            if let Some(left) = self.deployer.leave(policy_id, found).await? {
                caller.changed(left.kind, left.object, Some(left.before), left.after);
                return Ok(());
            }
        }
        Err(ApiError::Conflict(format!("integration {id} is being changed by others: try again")))
    }

    /// The names that integrations get when they are made what they were: those that they have not now.
    pub(in crate::management) async fn names_to_restore(
        &self,
        documents: &[Value],
    ) -> Result<Vec<(String, String)>, ApiError> {
        let text = |document: &Value, field: &str| document[field].as_str().map(str::to_owned);
        let ids: Vec<String> = documents.iter().filter_map(|document| text(document, "id")).collect();
        let known = self.integrations().get_many(&ids).await?;
        let known: BTreeMap<String, Option<String>> =
            known.into_iter().flatten().map(|found| (found.id, text(&found.value, "name"))).collect();
        let wanted =
            documents.iter().filter_map(|document| Some((text(document, "name")?, text(document, "id")?)));
        Ok(wanted.filter(|(name, id)| known.get(id) != Some(&Some(name.clone()))).collect())
    }

    fn stamp(&self, document: &mut Value, caller: &Caller) {
        document["updated_at"] = json!(self.fleet.clock.now());
        document["updated_by"] = caller.name().into();
    }
}

fn without_own(mut document: Value) -> Value {
    if let Value::Object(fields) = &mut document {
        fields.retain(|name, _| !OWN.contains(&name.as_str()) && name != "policy_ids" && name != "policy_id");
    }
    document
}

fn policy_ids(document: &Value) -> impl Iterator<Item = String> + use<> {
    let ids: Vec<String> = document["policy_ids"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    ids.into_iter()
}
