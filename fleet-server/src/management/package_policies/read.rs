//! What is sent, in either shape, made whole and checked.

use std::sync::Arc;

use fleet_integration::policy::SimplifiedPolicy;
use fleet_integration::{Context, Finding, Package, PackagePolicy, check, compile, secrets, shapes};
use fleet_policy::documents::AgentPolicy;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::management::error::ApiError;
use crate::management::fields::check_name;
use crate::management::names::Named;
use crate::management::references::{is_there, missing};
use crate::management::{Management, blocking};
use crate::packages::PackagesError;

/// Fields that the server sets, or that mean something to the original alone. What `GET` gives, `PUT` takes.
const IGNORED: [&str; 12] = [
    "id",
    "force",
    "version",
    "agents",
    "revision",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
    "secret_references",
    "bump_revision",
    "elasticsearch",
];
/// Fields that are taken although nothing here describes them: those of [`IGNORED`], those that mean something to the
/// original alone and are kept for it, and what its exports say of inputs and streams, which is dropped.
pub(super) const ACCEPTED: [&str; 33] = [
    "force",
    "version",
    "agents",
    "bump_revision",
    "elasticsearch",
    "spaceIds",
    "is_managed",
    "package_agent_version_condition",
    "var_group_selections",
    "cloud_connector_id",
    "cloud_connector_name",
    "supports_cloud_connector",
    "package.fips_compatible",
    "inputs.*.id",
    "inputs.*.name",
    "inputs.*.config",
    "inputs.*.deprecated",
    "inputs.*.migrate_from",
    "inputs.*.var_group_selections",
    "inputs.*.streams.*.id",
    "inputs.*.streams.*.config",
    "inputs.*.streams.*.deprecated",
    "inputs.*.streams.*.migrate_from",
    "inputs.*.streams.*.var_group_selections",
    // Of a whole input, sent in the shape of a map.
    "inputs.*.type",
    "inputs.*.policy_template",
    "inputs.*.keep_enabled",
    "inputs.*.compiled_input",
    "inputs.*.streams.*.data_stream",
    "inputs.*.streams.*.release",
    "inputs.*.streams.*.keep_enabled",
    "inputs.*.streams.*.compiled_stream",
    "secret_references.*.version",
];

/// An integration that can be kept.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) policy: PackagePolicy,
    pub(super) package: Arc<Package>,
    /// The agent policies that are to have it.
    pub(super) agent_policies: Vec<AgentPolicy>,
}

fn missing_package(name: &str, version: &str) -> ApiError {
    ApiError::BadRequest(format!(
        "[request body.package]: package {name} {version} is not there: upload or install it first"
    ))
}

/// What is wrong, field by field.
pub(super) fn invalid(findings: &[Finding]) -> ApiError {
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    ApiError::BadRequest(format!("Package policy is invalid: {}", texts.join("; ")))
}

impl Management {
    /// The package of this name and version.
    pub(super) async fn find_package(&self, name: &str, version: &str) -> Result<Arc<Package>, ApiError> {
        let found = self.fleet.packages.get(name, version).await?;
        found.ok_or_else(|| missing_package(name, version))
    }

    /// The same, for something that is to be kept: a package that is not installed yet is installed by that.
    pub(in crate::management) async fn use_package(
        &self,
        name: &str,
        version: &str,
    ) -> Result<Arc<Package>, ApiError> {
        let used = self.fleet.packages.ensure_installed(name, version, self.fleet.clock.now()).await;
        used.map_err(|error| match error {
            PackagesError::NotFound { .. } => missing_package(name, version),
            error => error.into(),
        })
    }

    /// The agent policies of these ids.
    pub(super) async fn agent_policies(&self, ids: &[String]) -> Result<Vec<AgentPolicy>, ApiError> {
        let found = self.deployer.policies().read_many(ids).await?;
        let mut policies = Vec::with_capacity(ids.len());
        for (id, found) in ids.iter().zip(found) {
            let found = found.ok_or_else(|| {
                ApiError::BadRequest(format!("[request body.policy_ids]: agent policy {id} is not there"))
            })?;
            policies.push(found.value.clone());
        }
        Ok(policies)
    }

    /// Reads a body. What it leaves out is as `before` has it, or else as the package has it.
    pub(super) async fn read_integration(
        &self,
        id: &str,
        mut body: Map<String, Value>,
        before: Option<&PackagePolicy>,
    ) -> Result<Sent, ApiError> {
        body.retain(|field, _| !IGNORED.contains(&field.as_str()));
        if let Some(before) = before {
            leave_as_it_was(&mut body, before)?;
        }
        let (name, version) = package_of(&body)?;
        let package = self.use_package(&name, &version).await?;
        let (of, id, earlier) = (Arc::clone(&package), id.to_owned(), before.cloned());
        let policy = blocking(move || whole(&of, &id, body, earlier.as_ref())).await?;
        self.check_beside(&policy, before).await?;
        let agent_policies = self.agent_policies(&policy.policy_ids).await?;
        let policy = compile_for(&package, policy, &agent_policies).await?;
        Ok(Sent { policy, package, agent_policies })
    }

    /// Whether it can be kept beside what there is.
    async fn check_beside(
        &self,
        policy: &PackagePolicy,
        before: Option<&PackagePolicy>,
    ) -> Result<(), ApiError> {
        if let Some(output) = &policy.output_id
            && before.is_none_or(|before| before.output_id.as_ref() != Some(output))
            && !is_there(&self.fleet.settings.outputs, output).await?
        {
            return Err(missing("output_id", "output", output));
        }
        // Told before anything is changed for it; it is made certain when the name is taken.
        self.require_free_name(Named::Integration, &policy.name, &policy.id)
    }
}

/// What is sent, made whole and checked against its package.
fn whole(
    package: &Package,
    id: &str,
    body: Map<String, Value>,
    before: Option<&PackagePolicy>,
) -> Result<PackagePolicy, ApiError> {
    let mut policy: PackagePolicy = if shapes::is_simplified(&Value::Object(body.clone())) {
        let simplified: SimplifiedPolicy = parse(body)?;
        let simplified = SimplifiedPolicy { id: id.to_owned(), ..simplified };
        shapes::full(simplified, package).map_err(|findings| invalid(&findings))?
    } else {
        let mut full: PackagePolicy = parse(body)?;
        id.clone_into(&mut full.id);
        full
    };
    check_name("name", &policy.name)?;
    // Clients that know no null send an empty text.
    policy.output_id = policy.output_id.filter(|id| !id.is_empty());
    shapes::complete(&mut policy, package);
    name_policies(&mut policy);
    let mut findings = check(package, &policy);
    findings.extend(secrets::foreign(package, &policy, before));
    if findings.is_empty() { Ok(policy) } else { Err(invalid(&findings)) }
}

/// Fills in what a change does not say.
fn leave_as_it_was(body: &mut Map<String, Value>, before: &PackagePolicy) -> Result<(), ApiError> {
    let Value::Object(before) =
        serde_json::to_value(before).map_err(|error| ApiError::Internal(Box::new(error)))?
    else {
        return Ok(());
    };
    // Who names policies in one way means that way.
    if body.contains_key("policy_id") && !body.contains_key("policy_ids") {
        let only: Vec<Value> =
            body.get("policy_id").filter(|id| id.is_string()).cloned().into_iter().collect();
        body.insert("policy_ids".to_owned(), only.into());
    }
    // Values and inputs are said in one shape or the other: with inputs as a map, values stand alone.
    let is_simplified = body.get("inputs").is_some_and(Value::is_object);
    for (field, value) in before {
        let says_otherwise = is_simplified && field == "vars";
        if !IGNORED.contains(&field.as_str()) && !says_otherwise {
            body.entry(field).or_insert(value);
        }
    }
    Ok(())
}

/// The name and the version of the package.
fn package_of(body: &Map<String, Value>) -> Result<(String, String), ApiError> {
    let text =
        |field: &str| {
            let value = body.get("package").and_then(|package| package.get(field));
            value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(
                || ApiError::BadRequest(format!("[request body.package.{field}]: a text is needed")),
            )
        };
    Ok((text("name")?, text("version")?))
}

fn parse<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(Value::Object(body)).map_err(|error| {
        let path = error.path().to_string();
        let dot = if path == "." { String::new() } else { format!(".{path}") };
        ApiError::BadRequest(format!("[request body{dot}]: {}", error.inner()))
    })
}

/// Policies are named in one way or the other; both say the same afterwards.
fn name_policies(policy: &mut PackagePolicy) {
    if policy.policy_ids.is_empty() {
        policy.policy_ids.extend(policy.policy_id.take().filter(|id| !id.is_empty()));
    }
    let mut seen = std::collections::HashSet::new();
    policy.policy_ids.retain(|id| seen.insert(id.clone()));
    policy.policy_id = policy.policy_ids.first().cloned();
}

/// What templates are told of an agent policy.
struct Of {
    id: String,
    name: String,
    namespace: String,
}

/// Compiles an integration for each policy that has it: what cannot be shipped is not kept. What templates made
/// for the first is kept for people to see. A large one takes a while, in which others are served.
pub(super) async fn compile_for(
    package: &Arc<Package>,
    policy: PackagePolicy,
    agent_policies: &[AgentPolicy],
) -> Result<PackagePolicy, ApiError> {
    let of = |policy: &AgentPolicy| Of {
        id: policy.id.clone(),
        name: policy.name.clone(),
        namespace: policy.namespace.clone(),
    };
    let mut policies: Vec<Of> = agent_policies.iter().map(of).collect();
    if policies.is_empty() {
        policies.push(of(&AgentPolicy::default()));
    }
    let package = Arc::clone(package);
    blocking(move || {
        let mut policy = policy;
        compile_now(&package, &mut policy, &policies)?;
        Ok(policy)
    })
    .await
}

fn compile_now(package: &Package, policy: &mut PackagePolicy, policies: &[Of]) -> Result<(), ApiError> {
    for (index, agent_policy) in policies.iter().enumerate() {
        let context = Context {
            output: "default",
            output_id: policy.output_id.as_deref().unwrap_or("default"),
            agent_policy_id: &agent_policy.id,
            agent_policy_name: &agent_policy.name,
            agent_policy_namespace: &agent_policy.namespace,
            ..Context::default()
        };
        let compiled = compile(package, policy, &context).map_err(|error| {
            let mut text = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                text = format!("{text}: {source}");
            }
            ApiError::BadRequest(format!("Package policy cannot be rendered: {text}"))
        })?;
        if index == 0 {
            for (input, rendered) in policy.inputs.iter_mut().zip(compiled.rendered) {
                input.compiled_input = rendered.input.map(Value::Object);
                for (stream, rendered) in input.streams.iter_mut().zip(rendered.streams) {
                    stream.compiled_stream = rendered.map(Value::Object);
                }
            }
        }
    }
    Ok(())
}
