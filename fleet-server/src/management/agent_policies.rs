//! `/api/fleet/agent_policies`

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::signer::Signer;
use fleet_policy::compose::{Sign, compose};
use fleet_policy::documents::{
    AGENT_POLICIES, AgentPolicy, DEFAULT_INACTIVITY_TIMEOUT, DeployedPolicy, POLICIES,
};
use fleet_store::{Expect, Scope, Typed, Versioned, WriteError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::caller::Caller;
use super::error::ApiError;
use super::input::{Input, Params};
use super::list::Page;
use super::routes::{Routes, get, post, put};
use super::{Answer, Management, enrollment_keys};
use fleet_access::rights::Right;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadPolicies, WritePolicies};
    routes
        .add(
            get("/api/fleet/agent_policies", ReadPolicies, "Lists agent policies").query::<Page>().scoped(),
            list,
        )
        .add(post("/api/fleet/agent_policies", WritePolicies, "Makes an agent policy"), create)
        .add(post("/api/fleet/agent_policies/delete", WritePolicies, "Removes an agent policy"), remove)
        .add(get("/api/fleet/agent_policies/{id}", ReadPolicies, "Shows an agent policy").scoped(), show)
        .add(put("/api/fleet/agent_policies/{id}", WritePolicies, "Changes an agent policy").scoped(), update)
        .add(
            get("/api/fleet/agent_policies/{id}/full", ReadPolicies, "What agents get of a policy").scoped(),
            full,
        )
}

/// Fields that an edit may set. Others are refused: what is misspelt must not be lost.
const EDITABLE: [&str; 12] = [
    "name",
    "namespace",
    "description",
    "is_managed",
    "is_protected",
    "monitoring_enabled",
    "inactivity_timeout",
    "unenroll_timeout",
    "advanced_settings",
    "agent_features",
    "overrides",
    "space_ids",
];
/// Fields of requests that mean something only to the original, or are set by the server.
const IGNORED: [&str; 12] = [
    "id",
    "force",
    "revision",
    "updated_at",
    "updated_by",
    "status",
    "version",
    "package_policies",
    "schema_version",
    "agents",
    "bumpRevision",
    "has_fleet_server",
];

/// What the audit trail calls a policy.
const KIND: &str = "agent-policy";
/// The id of the policy that is made at the first start.
const FIRST: &str = "default";

struct Signing<'a>(&'a Signer);

impl Sign for Signing<'_> {
    fn public_key(&self) -> &str {
        self.0.public_key()
    }

    fn sign(&self, data: &[u8]) -> Option<String> {
        self.0.sign(data).ok()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delete {
    agent_policy_id: String,
    #[serde(default)]
    force: bool,
}

fn policies(management: &Management) -> Typed<AgentPolicy> {
    Typed::new(std::sync::Arc::clone(&management.fleet.store), &AGENT_POLICIES)
}

fn deployed(management: &Management) -> Typed<DeployedPolicy> {
    Typed::new(std::sync::Arc::clone(&management.fleet.store), &POLICIES)
}

async fn find(management: &Management, id: &str) -> Result<Versioned<AgentPolicy>, ApiError> {
    policies(management).get(id).await?.ok_or_else(|| ApiError::not_found("Agent policy", id))
}

/// A policy as it is shown.
fn shown(management: &Management, policy: &AgentPolicy) -> Value {
    let mut agents = 0_u64;
    management.fleet.agents.for_each(|agent| {
        agents += u64::from(agent.agent.active && *agent.agent.policy_id == *policy.id);
    });
    let mut value = json!(policy);
    value["status"] = "active".into();
    value["agents"] = agents.into();
    value["schema_version"] = "1.1.1".into();
    value
}

pub(super) async fn list(
    State(management): State<Management>,
    caller: Caller,
    Params(page): Params<Page>,
) -> Answer {
    let listing = policies(&management).list(Scope::All).await?;
    let mut values = listing.values;
    values.retain(|policy| caller.may_on(Right::ReadPolicies, &policy.id));
    let total = values.len();
    let items: Vec<Value> = page.of(values).iter().map(|policy| shown(&management, &policy.value)).collect();
    Ok(Json(page.answer(&items, total)))
}

pub(super) async fn show(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    caller.require_on(Right::ReadPolicies, &id)?;
    let policy = find(&management, &id).await?;
    Ok(Json(json!({"item": shown(&management, &policy.value)})))
}

/// What agents get, with its secrets as references.
pub(super) async fn full(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    caller.require_on(Right::ReadPolicies, &id)?;
    let found = deployed(&management).get(&id).await?;
    let policy = found.ok_or_else(|| ApiError::not_found("Agent policy", &id))?;
    Ok(Json(json!({"item": policy.value.data})))
}

pub(super) async fn create(
    State(management): State<Management>,
    caller: Caller,
    Input(body): Input<Map<String, Value>>,
) -> Answer {
    let id = match body.get("id") {
        None | Some(Value::Null) => uuid::Uuid::new_v4().to_string(),
        Some(Value::String(id)) if is_id(id) => id.clone(),
        Some(_) => {
            return Err(ApiError::BadRequest(
                "[request body.id]: up to 128 letters, digits, - _ . #".to_owned(),
            ));
        }
    };
    for field in ["name", "namespace"] {
        if body.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(ApiError::BadRequest(format!("[request body.{field}]: a text is needed")));
        }
    }
    let empty = AgentPolicy {
        id: id.clone(),
        inactivity_timeout: DEFAULT_INACTIVITY_TIMEOUT,
        ..AgentPolicy::default()
    };
    let policy = edited(&management, &empty, &body, &caller)?;
    match policies(&management).put(&id, &policy, Expect::Absent, None, None).await {
        Ok(_) => {}
        Err(WriteError::Conflict { .. }) => {
            return Err(ApiError::Conflict(format!("an agent policy with id {id} exists already")));
        }
        Err(error) => return Err(error.into()),
    }
    deploy(&management, &policy).await?;
    enrollment_keys::make(&management, &id, "Default", None, None).await?;
    caller.changed(KIND, id, None, Some(json!(policy)));
    Ok(Json(json!({"item": shown(&management, &policy)})))
}

/// Makes a first policy if there is none. Returns its enrolment key.
pub(super) async fn ensure_first(management: &Management) -> Result<Option<String>, ApiError> {
    if !policies(management).list(Scope::All).await?.values.is_empty() {
        return Ok(None);
    }
    let policy = AgentPolicy {
        id: FIRST.to_owned(),
        name: "Default".to_owned(),
        namespace: "default".to_owned(),
        description: "Made at the first start".to_owned(),
        monitoring_enabled: Vec::new(),
        inactivity_timeout: DEFAULT_INACTIVITY_TIMEOUT,
        revision: 1,
        updated_at: management.fleet.clock.now(),
        updated_by: "fleet-server".to_owned(),
        ..AgentPolicy::default()
    };
    match policies(management).put(FIRST, &policy, Expect::Absent, None, None).await {
        Ok(_) => {}
        // Another server is faster.
        Err(WriteError::Conflict { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    deploy(management, &policy).await?;
    let key = enrollment_keys::make(management, FIRST, "Default", None, None).await?;
    Ok(enrollment_keys::text(management, &key))
}

pub(super) async fn update(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(body): Input<Map<String, Value>>,
) -> Answer {
    caller.require_on(Right::WritePolicies, &id)?;
    let found = find(&management, &id).await?;
    let policy = edited(&management, &found.value, &body, &caller)?;
    policies(&management).put(&id, &policy, Expect::Revision(found.revision), None, None).await?;
    deploy(&management, &policy).await?;
    caller.changed(KIND, id, Some(json!(found.value)), Some(json!(policy)));
    Ok(Json(json!({"item": shown(&management, &policy)})))
}

pub(super) async fn remove(
    State(management): State<Management>,
    caller: Caller,
    Input(Delete { agent_policy_id: id, force }): Input<Delete>,
) -> Answer {
    let found = find(&management, &id).await?;
    let mut is_used = false;
    management.fleet.agents.for_each(|agent| is_used |= agent.agent.active && *agent.agent.policy_id == *id);
    if is_used && !force {
        let text = format!("agent policy {id} has agents: reassign or unenrol them first");
        return Err(ApiError::BadRequest(text));
    }
    policies(&management).delete(&id, Expect::Revision(found.revision), None).await?;
    deployed(&management).delete(&id, Expect::Any, None).await?;
    enrollment_keys::revoke_all_of(&management, &id).await?;
    caller.changed(KIND, &id, Some(json!(found.value)), None);
    Ok(Json(json!({"id": id, "name": found.value.name})))
}

/// The next revision of `before`, with what the request sets.
fn edited(
    management: &Management,
    before: &AgentPolicy,
    body: &Map<String, Value>,
    caller: &Caller,
) -> Result<AgentPolicy, ApiError> {
    let mut value = json!(before);
    for (key, given) in body {
        if EDITABLE.contains(&key.as_str()) {
            // `null` is the default again.
            if given.is_null() {
                value.as_object_mut().map(|fields| fields.remove(key));
            } else {
                value[key] = given.clone();
            }
        } else if !IGNORED.contains(&key.as_str()) {
            return Err(ApiError::BadRequest(format!(
                "[request body.{key}]: definition for this key is missing"
            )));
        }
    }
    let mut policy: AgentPolicy = serde_json::from_value(value)
        .map_err(|error| ApiError::BadRequest(format!("[request body]: {error}")))?;
    if policy.name.is_empty() || policy.name.len() > 256 {
        return Err(ApiError::BadRequest("[request body.name]: 1 to 256 bytes are needed".to_owned()));
    }
    policy.revision = before.revision + 1;
    policy.updated_at = management.fleet.clock.now();
    caller.name().clone_into(&mut policy.updated_by);
    Ok(policy)
}

/// Ships a revision: from now on agents get it. A newer one that is out already stays.
async fn deploy(management: &Management, policy: &AgentPolicy) -> Result<(), ApiError> {
    let signing = Signing(&management.fleet.signer);
    let next = compose(policy, &signing).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let deployed = deployed(management);
    loop {
        let found = deployed.get(&policy.id).await?;
        if found.as_ref().is_some_and(|found| found.value.revision_idx >= next.revision_idx) {
            return Ok(());
        }
        let expect = found.map_or(Expect::Absent, |found| Expect::Revision(found.revision));
        match deployed.put(&policy.id, &next, expect, None, None).await {
            Ok(_) => return Ok(()),
            // Somebody ships another revision at the same moment: the newer one wins.
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.#".contains(&byte))
}
