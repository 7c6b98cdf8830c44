//! Where agents find their servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::SecretField;

/// Addresses of servers; an agent tries one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FleetServerHost {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The addresses.
    pub host_urls: Vec<String>,
    /// Whether policies that name none use it. One has it, if there are any.
    pub is_default: bool,
    /// Whether it is hidden from people. Kept, and means nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_internal: Option<bool>,
    /// Whether it comes from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_preconfigured: Option<bool>,
    /// The proxy on the way; see [`super::Proxy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_id: Option<String>,
    /// TLS of the servers and of their clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl: Option<HostTls>,
    /// What lies in the secret store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<HostSecrets>,
}

/// TLS of the servers and of their clients. Agents get what begins with `agent_`; the rest is for servers that
/// run under an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostTls {
    /// Whom a server trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authorities: Option<Vec<String>>,
    /// A server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The key of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether clients must have a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// Whom a server trusts that speaks to the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub es_certificate_authorities: Option<Vec<String>>,
    /// With which certificate it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub es_certificate: Option<String>,
    /// The key of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub es_key: Option<String>,
    /// Whom an agent trusts that speaks to a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_certificate_authorities: Option<Vec<String>>,
    /// With which certificate it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_certificate: Option<String>,
    /// The key of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_key: Option<String>,
}

/// Whether clients must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// It is looked at if there is one.
    Optional,
    /// They must.
    Required,
    /// Nobody asks.
    None,
}

/// What of a host lies in the secret store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostSecrets {
    /// Of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl: Option<HostTlsSecrets>,
}

/// The keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostTlsSecrets {
    /// Of a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretField>,
    /// Of a server as the client of the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub es_key: Option<SecretField>,
    /// Of an agent as the client of a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_key: Option<SecretField>,
}
