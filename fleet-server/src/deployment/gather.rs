//! What a policy is composed of, as the store has it now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_access::signer::SigningKeys;
use fleet_integration::policy::DataTag;
use fleet_integration::secrets::references;
use fleet_integration::{Compiled, Context, PackagePolicy, compile};
use fleet_policy::compose::Parts;
use fleet_policy::documents::{AgentPolicy, DeployedPolicy};
use fleet_policy::render::named_in;
use fleet_policy::settings::{DEFAULT_OUTPUT_NAME, MissingSetting, SettingsParts, Snapshot};
use fleet_store::{Error, Typed};
use futures_util::future::{BoxFuture, join_all};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::warn;

use super::collector;
use super::revisions::Integration;
use crate::fleet::Fleet;
use crate::integrations::PACKAGE_POLICIES;
use crate::management::uninstall_tokens;
use crate::packages::PackagesError;

/// Integrations that are compiled at a time: more than there are cores, so that none waits for the next ones.
const AT_A_TIME: usize = 16;

/// What was read.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) parts: Parts,
    pub(super) integrations: Vec<Arc<Integration>>,
}

/// Why nothing was gathered.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatherError {
    #[error("the store does not answer")]
    Store(#[from] Error),
    #[error("{0}")]
    Setting(#[from] MissingSetting),
}

/// Why an integration cannot be compiled. The others of its policy are not touched by that.
#[derive(Debug, thiserror::Error)]
enum NotCompiled {
    #[error("it is not what an integration is")]
    Document(#[source] serde_json::Error),
    #[error("it names no package")]
    NoPackage,
    #[error("package {0} is not there")]
    Missing(String),
    #[error("its package cannot be read")]
    Package(#[source] PackagesError),
    #[error("the server ends")]
    Stopped,
    #[error("its package cannot render it")]
    Compile(#[source] fleet_integration::CompileError),
}

/// The output of an integration, what it comes to, and the secrets that it refers to.
type CompiledIntegration = (String, Compiled, BTreeSet<String>);

/// The integrations that a policy lists. One that is gone is left out.
pub(super) async fn integrations(fleet: &Fleet, policy: &AgentPolicy) -> Result<Vec<Integration>, Error> {
    let documents: Typed<Value> = Typed::new(Arc::clone(&fleet.store), &PACKAGE_POLICIES);
    let found = documents.get_many(&policy.package_policies).await?;
    let integrations = found.into_iter().flatten().map(|found| Integration {
        revision: found.value.get("revision").and_then(Value::as_u64).unwrap_or(0),
        id: found.id,
        document: found.value,
    });
    Ok(integrations.collect())
}

/// Reads what `policy` is composed of. `before` is what its agents have now.
pub(super) async fn gather(
    fleet: &Fleet,
    policy: &AgentPolicy,
    before: Option<&DeployedPolicy>,
) -> Result<Gathered, GatherError> {
    let integrations: Vec<Arc<Integration>> =
        integrations(fleet, policy).await?.into_iter().map(Arc::new).collect();
    let outputs: Vec<String> = integrations
        .iter()
        .filter_map(|one| one.document.get("output_id")?.as_str().map(str::to_owned))
        .collect();
    let mut known = fleet.settings.snapshot();
    if known.outputs.is_empty() {
        // The first output is on its way here from the store, or from the server that makes it.
        fleet.settings.outputs.refresh().await?;
        known = fleet.settings.snapshot();
    }
    let settings = known.parts_for(policy, &outputs)?;
    for finding in &settings.findings {
        warn!(policy = policy.id, %finding, "a policy is composed without something that it names");
    }
    let uninstall_token_hash = uninstall_tokens::ensure(fleet, &policy.id).await?;
    let mut gathering = Gathering { fleet, policy, before, settings: &settings, parts: Parts::default() };
    for together in integrations.chunks(AT_A_TIME) {
        let mut compiling: Vec<BoxFuture<'_, _>> = Vec::with_capacity(together.len());
        for integration in together {
            compiling.push(Box::pin(gathering.compile(integration)));
        }
        let compiled = join_all(compiling).await;
        for (integration, compiled) in together.iter().zip(compiled) {
            gathering.add(integration, compiled);
        }
    }
    let mut parts = gathering.parts;
    let of_settings = Map::from_iter([
        ("outputs".to_owned(), Value::Object(settings.outputs.clone())),
        ("fleet".to_owned(), settings.fleet.clone().unwrap_or_default()),
        ("download".to_owned(), settings.download.clone()),
    ]);
    parts.secrets.extend(named_in(&of_settings));
    parts.uninstall_token_hash = uninstall_token_hash;
    parts.outputs = settings.outputs;
    parts.output_keys = keyed_outputs(fleet, &known, parts.outputs.keys());
    for name in parts.output_keys.keys() {
        take_login(&mut parts.outputs, name);
    }
    parts.data_output = settings.data_output;
    parts.monitoring_output = settings.monitoring_output;
    parts.fleet = settings.fleet;
    parts.download = settings.download;
    parts.made_of.extend(settings.made_of);
    parts.made_of.extend(parts.output_keys.keys().map(|name| (of_keys(name), 1)));
    Ok(Gathered { parts, integrations })
}

/// What `policy` would be made of now, as far as this server knows.
pub(super) fn made_of(fleet: &Fleet, policy: &AgentPolicy) -> Result<BTreeMap<String, u64>, MissingSetting> {
    let rows = fleet.integrations.rows.all();
    let listed: Vec<_> = policy.package_policies.iter().filter_map(|id| rows.get(id)).collect();
    let outputs: Vec<String> =
        listed.iter().filter_map(|row| row.value.output_id.as_deref().map(str::to_owned)).collect();
    let known = fleet.settings.snapshot();
    let parts = known.parts_for(policy, &outputs)?;
    let keyed = keyed_outputs(fleet, &known, parts.outputs.keys());
    let mut made_of = parts.made_of;
    made_of.extend(keyed.keys().map(|name| (of_keys(name), 1)));
    made_of.extend(listed.iter().map(|row| (of_integration(&row.id), row.value.revision)));
    made_of.extend(of_signing_key(&fleet.signer.keys()));
    Ok(made_of)
}

/// The outputs that each agent gets keys of its own for, with their ids.
fn keyed_outputs<'a>(
    fleet: &Fleet,
    known: &Snapshot,
    names: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, String> {
    let id_of = |name: &str| match (name, known.default_output()) {
        (DEFAULT_OUTPUT_NAME, Some(output)) => output.id.clone(),
        (id, _) => id.to_owned(),
    };
    let makes_keys = |id: &str| fleet.engines.records.get(id).is_some_and(|found| found.value.makes_keys);
    names.map(|name| (name.clone(), id_of(name))).filter(|(_, id)| makes_keys(id)).collect()
}

/// What an output logs in with is not for agents that have keys of their own.
fn take_login(outputs: &mut Map<String, Value>, name: &str) {
    if let Some(Value::Object(output)) = outputs.get_mut(name) {
        for key in ["username", "password", "api_key"] {
            output.remove(key);
        }
    }
}

/// What a policy is made of since the signing key was changed.
pub(super) fn of_signing_key(keys: &SigningKeys) -> Option<(String, u64)> {
    (keys.rotations() > 0).then(|| ("signing-key".to_owned(), keys.rotations()))
}

fn of_keys(name: &str) -> String {
    format!("agent-keys:{name}")
}

pub(super) fn of_integration(id: &str) -> String {
    format!("package-policy:{id}")
}

struct Gathering<'a> {
    fleet: &'a Fleet,
    policy: &'a AgentPolicy,
    before: Option<&'a DeployedPolicy>,
    settings: &'a SettingsParts,
    parts: Parts,
}

impl Gathering<'_> {
    fn add(&mut self, integration: &Integration, compiled: Result<CompiledIntegration, NotCompiled>) {
        self.parts.made_of.insert(of_integration(&integration.id), integration.revision);
        match compiled {
            Ok((output, compiled, secrets)) => {
                self.parts.secrets.extend(secrets);
                self.parts.inputs.extend(compiled.inputs);
                let named = self.settings.outputs.get(&output).unwrap_or(&Value::Null);
                collector::join(&mut self.parts.collector, compiled.otel, &output, named);
                if let Some(permissions) = compiled.permissions {
                    let roles = self.parts.permissions.entry(output).or_default();
                    roles.insert(integration.id.clone(), permissions);
                }
            }
            // Agents must not stop what they do because something of the server is in trouble.
            Err(error) => {
                warn!(
                    policy = self.policy.id,
                    integration = integration.id,
                    error = &error as &dyn std::error::Error,
                    "an integration cannot be compiled: agents keep what they have of it"
                );
                self.keep_before(&integration.id);
                if let Ok(document) = PackagePolicy::deserialize(&integration.document) {
                    self.parts.secrets.extend(references(&document));
                }
            }
        }
    }

    async fn compile(&self, integration: &Arc<Integration>) -> Result<CompiledIntegration, NotCompiled> {
        let text = |pointer: &str| integration.document.pointer(pointer).and_then(Value::as_str);
        let (Some(name), Some(version)) = (text("/package/name"), text("/package/version")) else {
            return Err(NotCompiled::NoPackage);
        };
        let found = self.fleet.packages.get(name, version).await.map_err(NotCompiled::Package)?;
        let package = found.ok_or_else(|| NotCompiled::Missing(format!("{name}-{version}")))?;
        let named = text("/output_id").and_then(|id| self.settings.output_names.get(id));
        let output = named.unwrap_or(&self.settings.data_output).clone();
        let output_type = self.settings.outputs.get(&output).and_then(|output| output["type"].as_str());
        let output_type = output_type.unwrap_or_default().to_owned();
        let (id, name) = (self.policy.id.clone(), self.policy.name.clone());
        let (namespace, tags) = (self.policy.namespace.clone(), data_tags(self.policy));
        let integration = Arc::clone(integration);
        // A large integration takes a while, in which others must be served.
        let compiling = tokio::task::spawn_blocking(move || {
            let document =
                PackagePolicy::deserialize(&integration.document).map_err(NotCompiled::Document)?;
            let context = Context {
                output: &output,
                output_id: document.output_id.as_deref().unwrap_or(&output),
                output_type: &output_type,
                agent_policy_id: &id,
                agent_policy_name: &name,
                agent_policy_namespace: &namespace,
                global_data_tags: &tags,
            };
            let compiled = compile(&package, &document, &context).map_err(NotCompiled::Compile)?;
            let secrets = references(&document);
            Ok((output, compiled, secrets))
        });
        compiling.await.map_err(|_| NotCompiled::Stopped)?
    }

    fn keep_before(&mut self, id: &str) {
        let Some(before) = self.before else { return };
        let inputs = before.data.get("inputs").and_then(Value::as_array).into_iter().flatten();
        let own = inputs.filter(|input| input["package_policy_id"] == id).cloned();
        self.parts.inputs.extend(own);
        let outputs = before.data.get("output_permissions").and_then(Value::as_object).into_iter().flatten();
        for (output, roles) in outputs {
            if let Some(what) = roles.get(id) {
                let kept: &mut Map<String, Value> = self.parts.permissions.entry(output.clone()).or_default();
                kept.insert(id.to_owned(), what.clone());
            }
        }
    }
}

/// The fields that the data of a policy's agents gets.
fn data_tags(policy: &AgentPolicy) -> Vec<DataTag> {
    let tags = policy.global_data_tags.iter().flatten();
    tags.map(|tag| DataTag { name: tag.name.clone(), value: tag.value.clone() }).collect()
}
