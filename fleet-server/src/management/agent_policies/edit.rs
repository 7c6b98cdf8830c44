//! Making, changing, copying and removing a policy.

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::documents::EnrollmentKey;
use fleet_access::rights::Right;
use fleet_policy::documents::{AgentPolicy, DEFAULT_INACTIVITY_TIMEOUT};
use fleet_policy::version::Version;
use fleet_store::{Expect, WriteError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Answer, Item, KIND, Shown};
use crate::claims::Taken;
use crate::deployment::Cleared;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::fields::{self, new_id};
use crate::management::input::{Input, Params};
use crate::management::names::Named;
use crate::management::references::name_nothing_by_empty_texts;
use crate::management::{Management, enrollment_keys};

/// The id of the policy that is made at the first start.
const FIRST: &str = "default";
/// Who makes it.
const AUTHOR: &str = "fleet-server";
/// The largest policy in bytes of JSON, its integrations apart: the document of each revision holds it, and their ids.
const LARGEST: usize = 512 * 1024;

/// Fields that are set by the server, or mean something to the original alone. What `GET` gives, `PUT` takes.
pub(super) const IGNORED: [&str; 22] = [
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

pub(super) async fn create(
    State(management): State<Management>,
    caller: Caller,
    Params(CreateQuery { sys_monitoring }): Params<CreateQuery>,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<Shown>> {
    let id = new_id(&body)?;
    for field in ["name", "namespace"] {
        if body.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(ApiError::BadRequest(format!("[request body.{field}]: a text is needed")));
        }
    }
    let empty = AgentPolicy { id, inactivity_timeout: DEFAULT_INACTIVITY_TIMEOUT, ..AgentPolicy::default() };
    let mut policy = edited(&empty, &body)?;
    management.check_references(&policy, None).await?;
    policy.revision = 1;
    stamp(&management, &mut policy, caller.name());
    management.require_no_policy(&policy.id).await?;
    let mut taken = management.take_policy(&policy.name, &policy.id).await?;
    let integrations = management.begin_policy(&policy, sys_monitoring, &mut taken, &caller).await;
    let policy = management.add_policy(policy, integrations, taken, &caller).await?;
    Ok(Json(Item { item: management.shown(policy, 0, true).await? }))
}

fn exists(id: &str) -> ApiError {
    ApiError::Conflict(format!("an agent policy with id {id} exists already"))
}

/// Tells the audit trail what went with a policy.
fn tell(caller: &Caller, cleared: Vec<Cleared>) {
    for one in cleared {
        caller.changed(one.kind, one.object, Some(one.before), one.after);
    }
}

impl Management {
    async fn require_no_policy(&self, id: &str) -> Result<(), ApiError> {
        match self.deployer.policies().read(id).await? {
            Some(_) => Err(exists(id)),
            None => Ok(()),
        }
    }

    /// Writes what a new policy is to have from the beginning. Returns its integrations.
    async fn begin_policy(
        &self,
        policy: &AgentPolicy,
        sys_monitoring: bool,
        taken: &mut Taken,
        caller: &Caller,
    ) -> Result<Vec<String>, ApiError> {
        // What a policy of this id left behind must not become a part of the new one.
        tell(caller, self.deployer.clear(&policy.id, &[]).await?);
        Ok(match sys_monitoring {
            true => vec![self.make_system(policy, taken, caller).await?],
            false => Vec::new(),
        })
    }

    /// Makes the first enrolment key of a new policy, stores the policy with its integrations, which are written
    /// already, and ships it. The policy is written last: a server that ends before has made nothing, and what it
    /// has written is cleared away.
    async fn add_policy(
        &self,
        mut policy: AgentPolicy,
        integrations: Result<Vec<String>, ApiError>,
        taken: Taken,
        caller: &Caller,
    ) -> Result<AgentPolicy, ApiError> {
        let id = policy.id.clone();
        let made = match integrations {
            Ok(integrations) => {
                policy.package_policies = integrations;
                enrollment_keys::make(self, &id, "Default", None, None).await
            }
            Err(error) => Err(error),
        };
        let key = match made {
            Ok(key) => key,
            Err(error) => {
                taken.leave().await;
                return Err(error);
            }
        };
        let policies = self.deployer.policies();
        let lease = Some(taken.lease());
        match policies.put_while_held(&id, policy.clone(), Expect::Absent, lease).await {
            Ok(_) => taken.settle().await,
            Err(error @ (WriteError::Conflict { .. } | WriteError::LeaseLost)) => {
                taken.leave().await;
                self.unmake(&policy, &key).await;
                let is_taken = matches!(error, WriteError::Conflict { .. });
                return Err(if is_taken { exists(&id) } else { error.into() });
            }
            Err(error) => return Err(error.into()),
        }
        caller.changed(enrollment_keys::KIND, &key.id, None, Some(enrollment_keys::told(&key)));
        caller.changed(KIND, &id, None, Some(json!(policy)));
        self.deployer.ship(&policy).await?;
        Ok(policy)
    }

    /// Takes back what was written for a policy that is not made after all. What fails is cleared away later, if no
    /// policy has the id.
    async fn unmake(&self, policy: &AgentPolicy, key: &EnrollmentKey) {
        let found = self.fleet.enrollment.find(&key.id).await;
        if let Ok(Some(found)) = found {
            drop(self.fleet.enrollment.delete(&key.id, found.revision).await);
        }
        for id in &policy.package_policies {
            if let Ok(revision) = self.fleet.integrations.documents.delete(id, Expect::Any, None).await {
                self.fleet.integrations.rows.forget(id, revision);
            }
        }
    }
}

fn stamp(management: &Management, policy: &mut AgentPolicy, author: &str) {
    policy.updated_at = management.fleet.clock.now();
    author.clone_into(&mut policy.updated_by);
}

/// Makes a first policy if there is none. Returns its enrolment key.
pub(in crate::management) async fn ensure_first(management: &Management) -> Result<Option<String>, ApiError> {
    let known = management.deployer.policies().refresh().await?;
    if let Some(first) = known.get(FIRST) {
        return ensure_key(management, &first.value).await;
    }
    if !known.is_empty() {
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
    stamp(management, &mut policy, AUTHOR);
    match management.deployer.policies().put(FIRST, policy.clone(), Expect::Absent).await {
        Ok(_) => {}
        // Another server is faster.
        Err(WriteError::Conflict { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    management.deployer.ship(&policy).await?;
    ensure_key(management, &policy).await
}

/// Makes a key for the first policy, if it has never had one: the server that made the policy may have ended before
/// it came to that. Returns what agents send.
async fn ensure_key(management: &Management, first: &AgentPolicy) -> Result<Option<String>, ApiError> {
    let has_key = management.fleet.enrollment.all().iter().any(|key| key.value.policy_id == first.id);
    if has_key || first.revision != 1 || first.updated_by != AUTHOR {
        return Ok(None);
    }
    let key = enrollment_keys::make(management, &first.id, "Default", None, None).await?;
    Ok(enrollment_keys::text(management, &key))
}

pub(super) async fn update(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<Shown>> {
    caller.require_on(Right::WritePolicies, &id)?;
    let turn = management.deployer.turn(&id).await?;
    let found = management.find_policy(&id).await?;
    require_unmanaged(&found.value, fields::force(&body)?)?;
    // Who says what revision they edited is told when it is not that one any more.
    if let Some(revision) = fields::revision(&body)?
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
    let is_renamed = policy.name != found.value.name;
    let taken = match is_renamed {
        true => Some(management.take_name(Named::AgentPolicy, &policy.name, &id).await?),
        false => None,
    };
    management.deployer.settle_number(&found.value).await?;
    policy.revision = found.value.revision + 1;
    stamp(&management, &mut policy, caller.name());
    let (expect, lease) = (Expect::Revision(found.revision), taken.as_ref().map(Taken::lease));
    let written = management.deployer.policies().put_while_held(&id, policy.clone(), expect, lease).await;
    drop(turn);
    management.named(taken, written.as_ref().err()).await;
    match written {
        Ok(_) => {}
        Err(WriteError::Conflict { .. }) => {
            let current = management.find_policy(&id).await?.value;
            let text = format!("agent policy {id} was changed by {} meanwhile", current.updated_by);
            return Err(ApiError::Changed { text, current: json!(current) });
        }
        Err(error) => return Err(error.into()),
    }
    if is_renamed {
        management.release_name(Named::AgentPolicy, &found.value.name, &id).await;
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
    stamp(&management, &mut policy, caller.name());
    let mut taken = management.take_policy(&policy.name, &policy.id).await?;
    let integrations = management.copy_integrations(&found, &policy, &mut taken, &caller).await;
    let policy = management.add_policy(policy, integrations, taken, &caller).await?;
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
    caller.changed(KIND, &id, Some(json!(found.value)), None);
    // If that fails, or this server ends now, another does it.
    tell(&caller, management.deployer.clear(&id, &found.value.package_policies).await?);
    management.release_name(Named::AgentPolicy, &found.value.name, &id).await;
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

fn check(policy: &AgentPolicy) -> Result<(), ApiError> {
    let bad = |field: &str, text: &str| Err(ApiError::BadRequest(format!("[request body.{field}]: {text}")));
    let ids: usize = policy.package_policies.iter().map(|id| id.len() + 3).sum();
    if serde_json::to_vec(policy).map_or(0, |text| text.len()) > LARGEST + ids {
        let field = if policy.overrides.is_some() { ".overrides" } else { "" };
        let text = format!("[request body{field}]: the policy comes to more than {} KiB", LARGEST / 1024);
        return Err(ApiError::BadRequest(text));
    }
    fields::check_name("name", &policy.name)?;
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
