//! Where agents fetch new versions of themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::KafkaHeader as Header;
use super::secret::{SecretField, Tls, TlsSecrets};

/// Where agents fetch new versions of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DownloadSource {
    /// Its id.
    pub id: String,
    /// What people call it. No two have the same name.
    pub name: String,
    /// Its address.
    pub host: String,
    /// Whether policies that name none use it. One has it.
    pub is_default: bool,
    /// The proxy on the way; see [`super::Proxy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_id: Option<String>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl: Option<Tls>,
    /// How agents prove who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<DownloadAuth>,
    /// What lies in the secret store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<DownloadSecrets>,
}

/// How agents prove to a download source who they are: by user and password, or by a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DownloadAuth {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password. What is given here is seen by whoever sees the object: see the secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The key. What is given here is seen by whoever sees the object: see the secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// What is sent at the head of each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<Header>>,
}

/// What of a download source lies in the secret store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DownloadSecrets {
    /// Of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl: Option<TlsSecrets>,
    /// Of the proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<DownloadAuthSecrets>,
}

/// The secrets of the proof.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DownloadAuthSecrets {
    /// The user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretField>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretField>,
}
