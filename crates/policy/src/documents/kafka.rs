//! What only an output to Kafka has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// How agents prove to brokers who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaAuth {
    /// Not at all.
    None,
    /// By user and password.
    UserPass,
    /// By a certificate.
    Ssl,
    /// By Kerberos.
    Kerberos,
}

/// Whether a connection that nobody proves anything on is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KafkaConnection {
    /// No.
    Plaintext,
    /// Yes.
    Encryption,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KafkaCompression {
    /// By gzip, which has levels.
    Gzip,
    /// By snappy.
    Snappy,
    /// By LZ4.
    Lz4,
    /// Not at all.
    None,
}

/// How a partition is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaPartition {
    /// By chance.
    Random,
    /// In turn.
    RoundRobin,
    /// By what is in the message.
    Hash,
}

/// How a password is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KafkaSasl {
    /// The mechanism.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<KafkaMechanism>,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KafkaMechanism {
    /// The password is sent.
    #[serde(rename = "PLAIN")]
    Plain,
    /// It is proven, with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// It is proven, with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// Another partition after so many messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KafkaGroup {
    /// So many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_events: Option<Number>,
}

/// A partition by what is in the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KafkaHash {
    /// Fields, with commas between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Whether chance decides when they are not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<bool>,
}

/// A topic for some messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KafkaTopic {
    /// The topic.
    pub topic: String,
    /// For which messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<KafkaWhen>,
}

/// Which messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KafkaWhen {
    /// How it is compared.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<KafkaComparison>,
    /// `field:value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KafkaComparison {
    /// It is equal.
    Equals,
    /// It has this in it.
    Contains,
    /// It matches this expression.
    Regexp,
}

/// What stands at the head of each message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KafkaHeader {
    /// Its name.
    pub key: String,
    /// What it says.
    pub value: String,
}
