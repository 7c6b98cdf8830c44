//! Every revision of a policy, as it was.
//!
//! A revision is two kinds of documents that never change: the agent policy as it was, with the revisions of its
//! integrations, and each integration as it was. An integration that stays is kept once, however many revisions
//! of the policy have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_policy::documents::AgentPolicy;
use fleet_policy::timestamp::Timestamp;
use fleet_store::{
    Collection, Error, Expect, ListRequest, Revision as StoreRevision, Scope, Store, Typed, Write, WriteError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// [`Revision`] by [`document_id`].
pub static AGENT_POLICY_REVISIONS: Collection = Collection { name: "agent-policy-revisions", indexed: &[] };
/// Integrations as they were, by [`document_id`].
pub static PACKAGE_POLICY_REVISIONS: Collection =
    Collection { name: "package-policy-revisions", indexed: &[] };

/// So many are forgotten in one call of the store.
const TOGETHER: usize = 100;

/// One revision of an agent policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Its number.
    pub revision: u64,
    /// When it was made.
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
    /// The policy as it was.
    pub agent_policy: AgentPolicy,
    /// The revisions of its integrations, by their ids.
    pub package_policies: BTreeMap<String, u64>,
}

/// An integration as it is: its id, its revision, and the document.
#[derive(Clone, Debug, PartialEq)]
pub struct Integration {
    /// Its id.
    pub id: String,
    /// Grows with each edit.
    pub revision: u64,
    /// The whole of it.
    pub document: Value,
}

impl Revision {
    /// The revision that `policy` is at, with its integrations.
    #[must_use]
    pub fn of(policy: &AgentPolicy, integrations: &[Arc<Integration>]) -> Revision {
        Revision {
            revision: policy.revision,
            updated_at: policy.updated_at,
            updated_by: policy.updated_by.clone(),
            agent_policy: policy.clone(),
            package_policies: integrations.iter().map(|one| (one.id.clone(), one.revision)).collect(),
        }
    }
}

/// The id of a revision's document. Revisions of one object are in the order of their numbers.
#[must_use]
pub fn document_id(id: &str, revision: u64) -> String {
    format!("{}{revision:010}", prefix(id))
}

/// What the ids of all revisions of one object begin with. `@` is in no id of an object.
fn prefix(id: &str) -> String {
    format!("{id}@")
}

/// Keeps a revision with those of its integrations that may not be kept yet. What is kept already stays as it is.
pub(super) async fn keep(
    store: &Arc<dyn Store>,
    revision: &Revision,
    integrations: &[Arc<Integration>],
) -> Result<(), WriteError> {
    let documents: Typed<Value> = Typed::new(Arc::clone(store), &PACKAGE_POLICY_REVISIONS);
    let mut writes = Vec::with_capacity(integrations.len());
    for one in integrations {
        let id = document_id(&one.id, one.revision);
        let write = documents.encode(&id, &one.document, Expect::Absent, None);
        writes.push(write.map_err(WriteError::NotDone)?);
    }
    for written in documents.write_many(writes, None).await {
        once(written)?;
    }
    let revisions: Typed<Revision> = Typed::new(Arc::clone(store), &AGENT_POLICY_REVISIONS);
    let id = document_id(&revision.agent_policy.id, revision.revision);
    once(revisions.put(&id, revision, Expect::Absent, None, None).await)
}

/// That it is there already is as good.
fn once<T>(written: Result<T, WriteError>) -> Result<(), WriteError> {
    match written {
        Ok(_) | Err(WriteError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a revision is kept.
pub(super) async fn is_kept(store: &Arc<dyn Store>, policy_id: &str, revision: u64) -> Result<bool, Error> {
    Ok(store.get(&AGENT_POLICY_REVISIONS, &document_id(policy_id, revision)).await?.is_some())
}

/// All revisions of a policy, newest first.
///
/// # Errors
/// The store does not answer.
pub async fn list(store: &Arc<dyn Store>, policy_id: &str) -> Result<Vec<Revision>, Error> {
    let revisions: Typed<Revision> = Typed::new(Arc::clone(store), &AGENT_POLICY_REVISIONS);
    let mut request = ListRequest { scope: Scope::Prefix(prefix(policy_id)), ..ListRequest::all() };
    let mut found = Vec::new();
    loop {
        let (listing, next) = revisions.page(request.clone()).await?;
        found.extend(listing.values.into_iter().map(|versioned| versioned.value));
        let Some(next) = next else { break };
        request.page = Some(next);
    }
    found.reverse();
    Ok(found)
}

/// One revision with its integrations as they were; `None`: there is no such revision.
///
/// # Errors
/// The store does not answer.
pub async fn get(
    store: &Arc<dyn Store>,
    policy_id: &str,
    revision: u64,
) -> Result<Option<(Revision, Vec<Value>)>, Error> {
    let revisions: Typed<Revision> = Typed::new(Arc::clone(store), &AGENT_POLICY_REVISIONS);
    let Some(found) = revisions.get(&document_id(policy_id, revision)).await? else { return Ok(None) };
    let ids = found.value.package_policies.iter();
    let ids: Vec<String> = ids.map(|(id, revision)| document_id(id, *revision)).collect();
    let integrations: Typed<Value> = Typed::new(Arc::clone(store), &PACKAGE_POLICY_REVISIONS);
    let integrations = integrations.get_many(&ids).await?;
    let integrations = integrations.into_iter().flatten().map(|versioned| versioned.value).collect();
    Ok(Some((found.value, integrations)))
}

/// The documents of all revisions of a policy: their ids, and as what they were written.
///
/// # Errors
/// The store does not answer.
pub(super) async fn documents_of(
    store: &Arc<dyn Store>,
    policy_id: &str,
) -> Result<Vec<(String, StoreRevision)>, Error> {
    let mut request = ListRequest { scope: Scope::Prefix(prefix(policy_id)), ..ListRequest::all() };
    let mut found = Vec::new();
    loop {
        let page = store.list(&AGENT_POLICY_REVISIONS, request.clone()).await?;
        found.extend(page.documents.into_iter().map(|document| (document.id, document.revision)));
        let Some(next) = page.next else { return Ok(found) };
        request.page = Some(next);
    }
}

/// Forgets revisions of a policy that is gone, unless they were written again. Its integrations may be in other
/// policies.
///
/// # Errors
/// The store does not take it.
pub(super) async fn forget(
    store: &Arc<dyn Store>,
    revisions: Vec<(String, StoreRevision)>,
) -> Result<(), WriteError> {
    for some in revisions.chunks(TOGETHER) {
        let writes = some.iter().map(|(id, revision)| Write::delete(id, Expect::Revision(*revision)));
        for done in store.write_many(&AGENT_POLICY_REVISIONS, writes.collect(), None).await {
            once(done)?;
        }
    }
    Ok(())
}
