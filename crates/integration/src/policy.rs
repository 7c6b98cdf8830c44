//! Package policies: what people set up with a package, as it is stored and shown.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Variables by name.
pub type Vars = BTreeMap<String, PolicyVar>;

/// A variable's value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyVar {
    /// Null where it is empty. A secret is `{"isSecretRef": true, "id"}`, or `"ids"` for a list of them.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// The variable's type, as the package's manifest has it.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether people may not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<bool>,
}

/// The package that a policy is of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyPackage {
    /// The package's name.
    pub name: String,
    /// The package's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The package's version.
    pub version: String,
    /// What data streams try out: kept, and not looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experimental_data_stream_features: Option<Value>,
    /// Whether the package needs agents that run as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_root: Option<bool>,
}

/// Where a stream's data goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyDataStream {
    /// `logs`, `metrics`, `traces` …
    #[serde(rename = "type")]
    pub kind: String,
    /// As the package has it; a variable may say otherwise.
    pub dataset: String,
    /// What it asks of the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<Value>,
}

/// A stream of an input.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyStream {
    /// `<input type>-<dataset>-<policy id>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Where its data goes.
    pub data_stream: PolicyDataStream,
    /// What people set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: Vars,
    /// Agents run it only where this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// How far the data stream is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Whether it stays as it is when nobody else is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_enabled: Option<bool>,
    /// What the template made of it; filled in by the server, ignored from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiled_stream: Option<Value>,
}

/// An input.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyInput {
    /// As `logfile` or `nginx/metrics`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The policy template that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_template: Option<String>,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What people set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: Vars,
    /// Its streams.
    #[serde(default)]
    pub streams: Vec<PolicyStream>,
    /// Agents run it only where this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Whether it stays as it is when nobody else is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_enabled: Option<bool>,
    /// What the template made of it; filled in by the server, ignored from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiled_input: Option<Value>,
}

/// A secret that a policy uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// Of the secret.
    pub id: String,
}

/// A package policy.
///
/// What is in the document and not named here is kept in [`rest`](PackagePolicy::rest) and shown again; inside
/// of inputs and streams it is dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PackagePolicy {
    /// Unique.
    #[serde(default)]
    pub id: String,
    /// For people; unique among the policies.
    pub name: String,
    /// Of its data; the agent policy's where it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether any of it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The agent policies that have it.
    #[serde(default)]
    pub policy_ids: Vec<String>,
    /// The first of them: older clients read and send it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    /// The output of its data; the agent policy's where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_id: Option<String>,
    /// What it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PolicyPackage>,
    /// What people set for all its inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: Vars,
    /// Its inputs.
    #[serde(default)]
    pub inputs: Vec<PolicyInput>,
    /// `{"inputs": {"<id of an input for agents>": {…}}}`: laid over what agents get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Value>,
    /// Whether it may run without an agent of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_agentless: Option<bool>,
    /// More data streams that its agents may write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_datastreams_permissions: Option<Vec<String>>,
    /// `[{name, value}]`: fields of all its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_data_tags: Option<Vec<DataTag>>,
    /// Grows with each change.
    #[serde(default)]
    pub revision: u64,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The name of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// The name of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
    /// The secrets that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_references: Option<Vec<SecretReference>>,
    /// Whatever else the document has.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A field that is added to data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataTag {
    /// The field's name.
    pub name: String,
    /// A text or a number.
    pub value: Value,
}

fn yes() -> bool {
    true
}

impl PolicyVar {
    /// A value of a variable of this type.
    #[must_use]
    pub fn new(kind: &str, value: Value) -> PolicyVar {
        PolicyVar { value, kind: Some(kind.to_owned()), frozen: None }
    }
}

impl PolicyInput {
    /// What it is called in the simplified shape.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.policy_template {
            Some(template) => format!("{template}-{}", self.kind),
            None => self.kind.clone(),
        }
    }

    /// What it is called by agents.
    #[must_use]
    pub fn agent_id(&self, policy_id: &str) -> String {
        match &self.policy_template {
            Some(template) => format!("{}-{template}-{policy_id}", self.kind),
            None => format!("{}-{policy_id}", self.kind),
        }
    }
}

impl PolicyStream {
    /// What it is called by agents.
    #[must_use]
    pub fn agent_id(&self, input_type: &str, policy_id: &str) -> String {
        format!("{input_type}-{}-{policy_id}", self.data_stream.dataset)
    }
}
