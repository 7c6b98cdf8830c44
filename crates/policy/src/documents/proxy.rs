//! Proxies between agents and what they speak to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A proxy that outputs, hosts and download sources may name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Proxy {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its address.
    pub url: String,
    /// What is sent to it at the head of each request: texts, numbers or truths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_headers: Option<BTreeMap<String, Value>>,
    /// Whom its clients trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authorities: Option<String>,
    /// With which certificate they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The key of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_key: Option<String>,
    /// Whether it comes from a file.
    pub is_preconfigured: bool,
}
