//! Making, changing, copying and removing a policy.

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::documents::{AgentPolicy, DEFAULT_INACTIVITY_TIMEOUT};
use fleet_policy::version::Version;
use fleet_store::{Expect, WriteError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Answer, Item, KIND, Shown};
use crate::deployment::revisions;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::{Input, Params};
use crate::management::references::name_nothing_by_empty_texts;
use crate::management::{Management, enrollment_keys, uninstall_tokens};

/// The id of the policy that is made at the first start.
const FIRST: &str = "default";
/// The largest policy in bytes of JSON, its integrations apart: the document of each revision holds it, and their ids.
const LARGEST: usize = 512 * 1024;
/// The longest name in bytes.
const LONGEST_NAME: usize = 256;

/// Fields that are set by the server, or mean something to the original alone. What `GET` gives, `PUT` takes.
const IGNORED: [&str; 22] = [
    "id",
    "force",
    "revision",
    "updated_at",
    "updated_by",
    "created_at",
    "status",
    "version",
    "package_policies",
    "schema_version",
    "agents",
    "unprivileged_agents",
    "fips_agents",
    "bumpRevision",
    "has_fleet_server",
    "is_preconfigured",
    "is_verifier",
    "agentless",
    "min_agent_version",
    "has_agent_version_conditions",
    "package_agent_version_conditions",
    "agent_count",
];

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    agent_policy_id: String,
    /// Removes it although agents have it, or although it is managed.
    #[serde(default)]
    force: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct CreateQuery {
    /// Whether the policy watches its machines themselves: it gets the integration `system`.
    sys_monitoring: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Removed {
    id: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Copy {
    name: String,
    description: Option<String>,
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.#".contains(&byte);
    !id.is_empty() && id.len() <= 128 && id.bytes().all(allowed)
}

pub(super) async fn create(
    State(management): State<Management>,
    caller: Caller,
    Params(CreateQuery { sys_monitoring }): Params<CreateQuery>,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<Shown>> {
    let id = match body.get("id") {
        None | Some(Value::Null) => uuid::Uuid::new_v4().to_string(),
        Some(Value::String(id)) if is_id(id) => id.clone(),
        Some(_) => {
            let text = "[request body.id]: up to 128 letters, digits, - _ . #";
            return Err(ApiError::BadRequest(text.to_owned()));
        }
    };
    for field in ["name", "namespace"] {
        if body.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(ApiError::BadRequest(format!("[request body.{field}]: a text is needed")));
        }
    }
    let empty = AgentPolicy { id, inactivity_timeout: DEFAULT_INACTIVITY_TIMEOUT, ..AgentPolicy::default() };
    let mut policy = edited(&empty, &body)?;
    management.check_references(&policy, None).await?;
    check_name(&management, &policy)?;
    policy.revision = 1;
    stamp(&management, &mut policy, caller.name());
    add(&management, &policy).await?;
    caller.changed(KIND, &policy.id, None, Some(json!(policy)));
    if sys_monitoring {
        management.add_system(&policy, &caller).await?;
        policy = management.find_policy(&policy.id).await?.value;
    }
    Ok(Json(Item { item: management.shown(policy, 0, true).await? }))
}

/// Stores a new policy, ships it, and makes its first enrolment key.
async fn add(management: &Management, policy: &AgentPolicy) -> Result<(), ApiError> {
    match management.deployer.policies().put(&policy.id, policy.clone(), Expect::Absent).await {
        Ok(_) => {}
        Err(WriteError::Conflict { .. }) => {
            let text = format!("an agent policy with id {} exists already", policy.id);
            return Err(ApiError::Conflict(text));
        }
        Err(error) => return Err(error.into()),
    }
    management.deployer.ship(policy).await?;
    enrollment_keys::make(management, &policy.id, "Default", None, None).await?;
    Ok(())
}

fn stamp(management: &Management, policy: &mut AgentPolicy, author: &str) {
    policy.updated_at = management.fleet.clock.now();
    author.clone_into(&mut policy.updated_by);
}

/// Two policies of one name are told apart by nobody.
pub(super) fn check_name(management: &Management, policy: &AgentPolicy) -> Result<(), ApiError> {
    let all = management.deployer.policies().all();
    let taken = all.values().find(|other| other.value.name == policy.name && other.id != policy.id);
    match taken {
        None => Ok(()),
        Some(other) => Err(ApiError::Conflict(format!(
            "[request body.name]: agent policy {} has the name {:?} already",
            other.id, policy.name
        ))),
    }
}

/// Makes a first policy if there is none. Returns its enrolment key.
pub(in crate::management) async fn ensure_first(management: &Management) -> Result<Option<String>, ApiError> {
    if !management.deployer.policies().refresh().await?.is_empty() {
        return Ok(None);
    }
    let mut policy = AgentPolicy {
        id: FIRST.to_owned(),
        name: "Default".to_owned(),
        namespace: "default".to_owned(),
        description: "Made at the first start".to_owned(),
        inactivity_timeout: DEFAULT_INACTIVITY_TIMEOUT,
        revision: 1,
        ..AgentPolicy::default()
    };
    stamp(management, &mut policy, "fleet-server");
    match management.deployer.policies().put(FIRST, policy.clone(), Expect::Absent).await {
        Ok(_) => {}
        // Another server is faster.
        Err(WriteError::Conflict { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    management.deployer.ship(&policy).await?;
    let key = enrollment_keys::make(management, FIRST, "Default", None, None).await?;
    Ok(enrollment_keys::text(management, &key))
}

pub(super) async fn update(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<Shown>> {
    caller.require_on(Right::WritePolicies, &id)?;
    let found = management.find_policy(&id).await?;
    require_unmanaged(&found.value, body.get("force") == Some(&Value::Bool(true)))?;
    // Who says what revision they edited is told when it is not that one any more.
    if let Some(revision) = body.get("revision").and_then(Value::as_u64)
        && revision != found.value.revision
    {
        return Err(ApiError::Changed {
            text: format!(
                "agent policy {id} is at revision {} by {}, and revision {revision} was edited",
                found.value.revision, found.value.updated_by
            ),
            current: json!(found.value),
        });
    }
    let mut policy = edited(&found.value, &body)?;
    let agents = management.count_agents_of(&id);
    if policy == found.value {
        return Ok(Json(Item { item: management.shown(policy, agents, true).await? }));
    }
    management.check_references(&policy, Some(&found.value)).await?;
    if policy.name != found.value.name {
        check_name(&management, &policy)?;
    }
    policy.revision = found.value.revision + 1;
    stamp(&management, &mut policy, caller.name());
    let expect = Expect::Revision(found.revision);
    match management.deployer.policies().put(&id, policy.clone(), expect).await {
        Ok(_) => {}
        Err(WriteError::Conflict { .. }) => {
            let current = management.find_policy(&id).await?.value;
            let text = format!("agent policy {id} was changed by {} meanwhile", current.updated_by);
            return Err(ApiError::Changed { text, current: json!(current) });
        }
        Err(error) => return Err(error.into()),
    }
    management.deployer.ship(&policy).await?;
    caller.changed(KIND, &id, Some(json!(found.value)), Some(json!(policy)));
    Ok(Json(Item { item: management.shown(policy, agents, true).await? }))
}

pub(super) async fn copy(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<Copy>,
) -> Answer<Item<Shown>> {
    let found = management.find_policy(&id).await?.value;
    let mut policy = AgentPolicy {
        id: uuid::Uuid::new_v4().to_string(),
        name: asked.name,
        description: asked.description.unwrap_or_else(|| found.description.clone()),
        revision: 1,
        is_default: false,
        is_default_fleet_server: false,
        is_managed: false,
        package_policies: Vec::new(),
        ..found.clone()
    };
    check(&policy)?;
    check_name(&management, &policy)?;
    stamp(&management, &mut policy, caller.name());
    add(&management, &policy).await?;
    let policy = management.copy_integrations(&found, policy, &caller).await?;
    caller.changed(KIND, &policy.id, None, Some(json!(policy)));
    Ok(Json(Item { item: management.shown(policy, 0, true).await? }))
}

pub(super) async fn remove(
    State(management): State<Management>,
    caller: Caller,
    Input(Remove { agent_policy_id: id, force }): Input<Remove>,
) -> Answer<Removed> {
    caller.require_on(Right::WritePolicies, &id)?;
    let found = management.find_policy(&id).await?;
    require_unmanaged(&found.value, force)?;
    let agents = management.count_agents_of(&id);
    if agents > 0 && !force {
        let text = format!("agent policy {id} has {agents} agents: reassign or unenrol them first");
        return Err(ApiError::BadRequest(text));
    }
    management.deployer.policies().delete(&id, Expect::Revision(found.revision)).await?;
    management.deployer.deployed().delete(&id).await?;
    management.remove_integrations_of(&found.value).await?;
    enrollment_keys::revoke_all_of(&management, &id).await?;
    uninstall_tokens::forget(&management.fleet, &id).await?;
    revisions::forget(&management.fleet.store, &id).await?;
    caller.changed(KIND, &id, Some(json!(found.value)), None);
    Ok(Json(Removed { id, name: found.value.name }))
}

pub(super) fn require_unmanaged(policy: &AgentPolicy, force: bool) -> Result<(), ApiError> {
    if policy.is_managed && !force {
        let text = format!("agent policy {} is managed: say \"force\": true to change it", policy.id);
        return Err(ApiError::BadRequest(text));
    }
    Ok(())
}

/// `before` with what the request sets.
pub(super) fn edited(before: &AgentPolicy, body: &Map<String, Value>) -> Result<AgentPolicy, ApiError> {
    let mut value = json!(before);
    for (key, given) in body {
        if IGNORED.contains(&key.as_str()) {
            continue;
        }
        if !is_field(key) {
            let text = format!("[request body.{key}]: there is no such field");
            return Err(ApiError::BadRequest(text));
        }
        // `null` is the default again.
        if given.is_null() {
            value.as_object_mut().map(|fields| fields.remove(key));
        } else {
            value[key] = given.clone();
        }
    }
    if let Value::Object(fields) = &mut value {
        name_nothing_by_empty_texts(fields);
    }
    let policy: AgentPolicy = serde_path_to_error::deserialize(value).map_err(|error| {
        ApiError::BadRequest(format!("[request body.{}]: {}", error.path(), error.inner()))
    })?;
    check(&policy)?;
    Ok(policy)
}

/// Whether a policy has such a field: what is misspelt must not be lost.
fn is_field(key: &str) -> bool {
    let schema = schemars::schema_for!(AgentPolicy);
    schema.get("properties").and_then(|fields| fields.get(key)).is_some()
}

fn check(policy: &AgentPolicy) -> Result<(), ApiError> {
    let bad = |field: &str, text: &str| Err(ApiError::BadRequest(format!("[request body.{field}]: {text}")));
    let ids: usize = policy.package_policies.iter().map(|id| id.len() + 3).sum();
    if serde_json::to_vec(policy).map_or(0, |text| text.len()) > LARGEST + ids {
        let field = if policy.overrides.is_some() { ".overrides" } else { "" };
        let text = format!("[request body{field}]: the policy comes to more than {} KiB", LARGEST / 1024);
        return Err(ApiError::BadRequest(text));
    }
    if policy.name.trim().is_empty() || policy.name.len() > LONGEST_NAME {
        return bad("name", "1 to 256 bytes are needed");
    }
    if !is_namespace(&policy.namespace) {
        return bad(
            "namespace",
            "1 to 100 bytes, without capitals, spaces and any of * \\ / ? \" < > | , # : -",
        );
    }
    if policy.monitoring_enabled.iter().any(|kind| !["logs", "metrics", "traces"].contains(&kind.as_str())) {
        return bad("monitoring_enabled", "logs, metrics and traces are what there is");
    }
    for (index, tag) in policy.global_data_tags.iter().flatten().enumerate() {
        let field = format!("global_data_tags.{index}");
        if tag.name.is_empty() || tag.name.contains(char::is_whitespace) {
            return bad(&format!("{field}.name"), "a name without spaces is needed");
        }
        if !(tag.value.is_string() || tag.value.is_number()) {
            return bad(&format!("{field}.value"), "a text or a number is needed");
        }
    }
    for (index, required) in policy.required_versions.iter().flatten().enumerate() {
        if Version::parse(&required.version).is_none() {
            let field = format!("required_versions.{index}.version");
            return bad(&field, "a version such as 9.6.0 is needed");
        }
    }
    let versions = policy.required_versions.iter().flatten();
    if versions.clone().any(|version| !(0.0..=100.0).contains(&version.percentage)) {
        return bad("required_versions", "percentages are 0 to 100");
    }
    if versions.map(|version| version.percentage).sum::<f64>() > 100.0 {
        return bad("required_versions", "the percentages are more than 100 together");
    }
    Ok(())
}

/// The namespace of data streams: part of an index's name.
fn is_namespace(text: &str) -> bool {
    let forbidden = |character: char| {
        character.is_uppercase() || character.is_whitespace() || "*\\/?\"<>|,#:-".contains(character)
    };
    !text.is_empty() && text.len() <= 100 && !text.contains(forbidden)
}
