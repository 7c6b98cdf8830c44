//! A policy as people edit it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::timestamp::Timestamp;

/// What people edit. What agents get is composed of it and deployed; see [`crate::compose`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentPolicy {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where its data goes by default.
    pub namespace: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether people are kept from changing it.
    pub is_managed: bool,
    /// Whether removing an agent from its machine needs a token.
    pub is_protected: bool,
    /// What agents tell of themselves: `logs`, `metrics`, `traces`.
    pub monitoring_enabled: Vec<String>,
    /// After so many seconds without a word an agent is inactive. 0: never.
    pub inactivity_timeout: u64,
    /// After so many seconds without a word an agent is unenrolled. 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unenroll_timeout: Option<u64>,
    /// Settings of agents, by their paths.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub advanced_settings: Map<String, Value>,
    /// Features of agents that are on: `[{"name": "fqdn", "enabled": true}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agent_features: Vec<AgentFeature>,
    /// What agents get is laid over with this, at the very end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Map<String, Value>>,
    /// The spaces that it is seen in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub space_ids: Vec<String>,
    /// Grows with each edit, from 1.
    pub revision: u64,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
}

/// A feature of agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFeature {
    /// Its name.
    pub name: String,
    /// Whether it is on.
    pub enabled: bool,
}

/// An agent that is silent for so many seconds is inactive, unless its policy says otherwise: two weeks.
pub const DEFAULT_INACTIVITY_TIMEOUT: u64 = 1_209_600;
