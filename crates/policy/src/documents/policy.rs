//! A policy as it was deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::timestamp::Timestamp;

/// One revision of a policy, ready to be rendered. What people edit lies elsewhere; this is made of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeployedPolicy {
    /// The policy's id.
    pub policy_id: String,
    /// Grows with each deployment, from 1.
    pub revision_idx: u64,
    /// When it was deployed.
    #[serde(rename = "@timestamp")]
    pub timestamp: Timestamp,
    /// The spaces that it is seen in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Whether it is the policy of the agents that supervise servers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default_fleet_server: bool,
    /// After so many seconds without a word an agent is unenrolled. 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unenroll_timeout: Option<u64>,
    /// After so many seconds without a word an agent is inactive. 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactivity_timeout: Option<u64>,
    /// The secrets that its agents may have. A text that looks like a reference to another one stays as it is: who
    /// edits a policy cannot read the secrets of others by naming them. Absent: those that `secret_references`
    /// in its data names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<BTreeSet<String>>,
    /// The outputs that each agent gets keys of its own for: their ids by the names that agents know them by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub output_keys: BTreeMap<String, String>,
    /// What it was composed of: revisions in the store, by kind and id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub made_of: BTreeMap<String, u64>,
    /// Since when it has the signing key that it has. Absent: since ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_since: Option<SigningSince>,
    /// Where it lies, if it is too large for a document: then nothing else of it is here but what lists need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<PolicyParts>,
    /// What agents get: `id`, `revision`, `inputs`, `outputs` and so on. Secrets stand in it as references.
    #[serde(default)]
    pub data: Map<String, Value>,
}

/// Since when a policy has its signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningSince {
    /// The first revision that had it.
    pub revision: u64,
    /// The public key that revisions before that had.
    pub before: String,
}

/// The parts that hold a policy; see [`crate::policies::DeployedPolicies`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyParts {
    /// Of what they hold together, in hexadecimal digits.
    pub sha256: String,
    /// How many there are.
    pub count: usize,
}

impl DeployedPolicy {
    /// The public key that agents are to verify signatures with.
    #[must_use]
    pub fn signing_key(&self) -> Option<&str> {
        self.data.get("agent")?.get("protection")?.get("signing_key")?.as_str()
    }

    /// Notes since when the policy has its signing key, where `before` is the revision that it takes the place of.
    pub fn follow_signing_key(&mut self, before: Option<&DeployedPolicy>) {
        let Some(before) = before else { return };
        self.signing_since = match before.signing_key() {
            Some(key) if self.signing_key() != Some(key) => {
                Some(SigningSince { revision: self.revision_idx, before: key.to_owned() })
            }
            _ => before.signing_since.clone(),
        };
    }

    /// What a policy is made of, in one number: to see whether it would be made of something else now. Two
    /// recipes that differ may have one number once in a great while; then a change that was cut off is shipped
    /// with the next one.
    #[must_use]
    pub fn recipe(made_of: &BTreeMap<String, u64>) -> u64 {
        let mut hasher = DefaultHasher::new();
        made_of.hash(&mut hasher);
        hasher.finish()
    }
}
