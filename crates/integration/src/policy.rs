//! Package policies: what people set up with a package, as it is stored and shown.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Variables by name.
pub type Vars = BTreeMap<String, PolicyVar>;

/// A variable's value.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
pub struct PolicyVar {
    /// Null where it is empty. A secret is `{"isSecretRef": true, "id"}`, or `"ids"` for a list of them.
    #[serde(default)]
    pub value: Value,
    /// Whether somebody said that it is null: that is told again. What nobody has set is left out.
    #[schemars(skip)]
    pub says_null: bool,
    /// The variable's type, as the package's manifest has it.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether people may not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<bool>,
}

/// [`PolicyVar`], as it is sent.
#[derive(Deserialize)]
struct SentVar {
    #[serde(default, deserialize_with = "some")]
    value: Option<Value>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    frozen: Option<bool>,
}

/// Also for null: only what is not there is nothing.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for PolicyVar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PolicyVar, D::Error> {
        let SentVar { value, kind, frozen } = SentVar::deserialize(deserializer)?;
        let says_null = value == Some(Value::Null);
        Ok(PolicyVar { value: value.unwrap_or_default(), says_null, kind, frozen })
    }
}

impl Serialize for PolicyVar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.is_said() {
            map.serialize_entry("value", &self.value)?;
        }
        if let Some(kind) = &self.kind {
            map.serialize_entry("type", kind)?;
        }
        if let Some(frozen) = &self.frozen {
            map.serialize_entry("frozen", frozen)?;
        }
        map.end()
    }
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
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
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
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: Vars,
    /// Its streams.
    #[serde(default, deserialize_with = "or_default")]
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

/// A package policy in the full shape: as it is stored, and as `format=legacy` shows it.
pub type PackagePolicy = PolicyDocument<Vec<PolicyInput>, Vars>;

/// A package policy in the simplified shape: inputs by `<policy template>-<input type>`, values alone.
pub type SimplifiedPolicy = PolicyDocument<BTreeMap<String, SimplifiedInput>, BTreeMap<String, Value>>;

/// An input in the simplified shape. What it does not say is as the package has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimplifiedInput {
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Agents run it only where this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Values by the names of variables.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Value>,
    /// By dataset.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<String, SimplifiedStream>,
}

/// A stream in the simplified shape. What it does not say is as the package has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimplifiedStream {
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Agents run it only where this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Values by the names of variables.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Value>,
}

/// A package policy, in one of its shapes.
///
/// What is in the document and not named here is kept in [`rest`](PolicyDocument::rest) and shown again;
/// inside of inputs and streams it is dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(
    serialize = "Inputs: Serialize, Values: Serialize + Emptiness",
    deserialize = "Inputs: Default + serde::de::DeserializeOwned, Values: Default + serde::de::DeserializeOwned"
))]
#[schemars(
    bound = "Inputs: JsonSchema + Default + Serialize, Values: JsonSchema + Default + Serialize + Emptiness"
)]
pub struct PolicyDocument<Inputs, Values> {
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
    #[serde(default, deserialize_with = "or_default")]
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
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Emptiness::is_empty")]
    pub vars: Values,
    /// Its inputs.
    #[serde(default, deserialize_with = "or_default")]
    pub inputs: Inputs,
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

/// What can be left out of a document where nothing is in it.
pub trait Emptiness {
    /// Whether nothing is in it.
    fn is_empty(&self) -> bool;
}

impl<K, V> Emptiness for BTreeMap<K, V> {
    fn is_empty(&self) -> bool {
        BTreeMap::is_empty(self)
    }
}

/// Clients send null for what they leave out.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl PolicyVar {
    /// A value of a variable of this type; null where nobody has set it.
    #[must_use]
    pub fn new(kind: &str, value: Value) -> PolicyVar {
        PolicyVar { value, says_null: false, kind: Some(kind.to_owned()), frozen: None }
    }

    /// What somebody says of a variable of this type.
    #[must_use]
    pub fn said(kind: &str, value: Value) -> PolicyVar {
        PolicyVar { says_null: value.is_null(), ..PolicyVar::new(kind, value) }
    }

    /// Whether there is something to tell of it.
    #[must_use]
    pub fn is_said(&self) -> bool {
        !self.value.is_null() || self.says_null
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

impl<Inputs, Values> PolicyDocument<Inputs, Values> {
    /// The same with other values and inputs.
    pub(crate) fn with<I, V>(self, vars: V, inputs: I) -> PolicyDocument<I, V> {
        PolicyDocument {
            id: self.id,
            name: self.name,
            namespace: self.namespace,
            description: self.description,
            enabled: self.enabled,
            policy_ids: self.policy_ids,
            policy_id: self.policy_id,
            output_id: self.output_id,
            package: self.package,
            vars,
            inputs,
            overrides: self.overrides,
            supports_agentless: self.supports_agentless,
            additional_datastreams_permissions: self.additional_datastreams_permissions,
            global_data_tags: self.global_data_tags,
            revision: self.revision,
            created_at: self.created_at,
            created_by: self.created_by,
            updated_at: self.updated_at,
            updated_by: self.updated_by,
            secret_references: self.secret_references,
            rest: self.rest,
        }
    }
}
