//! A secret inside of a document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A field whose text lies in the secret store. What is kept and shown is the reference; the text stands here
/// only in what people send.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretField {
    /// Where it lies.
    Reference {
        /// The id of the secret.
        id: String,
    },
    /// What it is, as it is sent.
    Text(String),
}

impl SecretField {
    /// The id of the secret; `None`: it is not in the store yet.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            SecretField::Reference { id } => Some(id),
            SecretField::Text(_) => None,
        }
    }
}

impl std::fmt::Debug for SecretField {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretField::Reference { id } => formatter.debug_struct("Reference").field("id", id).finish(),
            SecretField::Text(_) => formatter.write_str("Text(…)"),
        }
    }
}

/// The secret of a TLS client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsSecrets {
    /// The key of the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretField>,
}

/// How a TLS client proves who it is, and what it trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Tls {
    /// Certificates, or paths of them on the agent's machine, that are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authorities: Option<Vec<String>>,
    /// The client's certificate, or its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The key of it, or its path. What is given here is seen by whoever sees the object: see the secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What of the server's certificate is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_mode: Option<VerificationMode>,
}

/// What of a server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerificationMode {
    /// Who signed it, and its names.
    Full,
    /// As [`VerificationMode::Full`], and it must have a name outside of its subject.
    Strict,
    /// Who signed it.
    Certificate,
    /// Nothing.
    None,
}
