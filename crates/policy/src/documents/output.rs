//! Where agents send their data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::kafka::{
    KafkaAuth, KafkaCompression, KafkaConnection, KafkaGroup, KafkaHash, KafkaHeader, KafkaPartition,
    KafkaSasl, KafkaTopic,
};
use super::secret::{SecretField, Tls, TlsSecrets};

/// A place that agents send data to. Which fields mean something depends on its [`OutputKind`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Output {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What is there.
    #[serde(rename = "type")]
    pub kind: OutputKind,
    /// Addresses: of search engines with `http://` or `https://`, of others `host:port`.
    pub hosts: Vec<String>,
    /// Whether data goes here when a policy names no output. One output has it.
    pub is_default: bool,
    /// Whether what agents tell of themselves goes here when a policy names no output. One output has it.
    pub is_default_monitoring: bool,
    /// Whether it is hidden from people. Kept, and means nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_internal: Option<bool>,
    /// Whether it comes from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_preconfigured: Option<bool>,
    /// Fields that may be changed although it comes from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_edit: Option<Vec<String>>,
    /// A pin of the engine's certificate authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_sha256: Option<String>,
    /// The fingerprint of a certificate authority to trust: hex of SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_trusted_fingerprint: Option<String>,
    /// More settings, in YAML. What the other fields say wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_yaml: Option<String>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl: Option<Tls>,
    /// What lies in the secret store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<OutputSecrets>,
    /// The proxy on the way; see [`super::Proxy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_id: Option<String>,
    /// Settings of the queue on disk. Kept, and not sent: agents have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipper: Option<Map<String, Value>>,
    /// How much is sent at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<OutputPreset>,
    /// Whether logs go to the streams for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_to_logs_streams: Option<bool>,
    /// More settings of the exporter of collectors, in YAML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otel_exporter_config_yaml: Option<String>,
    /// Whether the exporter of collectors proves by itself who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otel_disable_beatsauth: Option<bool>,

    /// With what keys for agents are made in the other cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_token: Option<String>,
    /// Whether integrations are installed over there too. Kept, and means nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_integrations: Option<bool>,
    /// Whether what is removed here is removed over there. Kept, and means nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_uninstalled_integrations: Option<bool>,
    /// The address of the other cluster's page for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kibana_url: Option<String>,
    /// The key for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kibana_api_key: Option<String>,

    /// The version of the protocol that brokers speak: `2.6.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The key of each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How messages are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<KafkaCompression>,
    /// How much, with gzip: 1 to 9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_level: Option<Number>,
    /// The name of the client in the brokers' logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// How agents prove who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_type: Option<KafkaAuth>,
    /// Whether the connection is encrypted, where `auth_type` is `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_type: Option<KafkaConnection>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password. What is given here is seen by whoever sees the object: see the secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// How the password is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,
    /// How a partition is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<KafkaPartition>,
    /// By chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<KafkaGroup>,
    /// In turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_robin: Option<KafkaGroup>,
    /// By what is in the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<KafkaHash>,
    /// The topic; may name fields of the message: `%{[data_stream.type]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Topics for some messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<KafkaTopic>>,
    /// What stands at the head of each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<KafkaHeader>>,
    /// How long an answer may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Number>,
    /// How long a broker may wait for its replicas, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_timeout: Option<Number>,
    /// How many replicas must have a message: -1 all, 0 none, 1 the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_acks: Option<i64>,
}

/// What stands at an output's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// A search engine.
    #[default]
    Elasticsearch,
    /// A search engine of another cluster.
    RemoteElasticsearch,
    /// Logstash.
    Logstash,
    /// Kafka.
    Kafka,
}

impl OutputKind {
    /// Whether it is a search engine.
    #[must_use]
    pub fn is_engine(self) -> bool {
        matches!(self, OutputKind::Elasticsearch | OutputKind::RemoteElasticsearch)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OutputKind::Elasticsearch => "elasticsearch",
            OutputKind::RemoteElasticsearch => "remote_elasticsearch",
            OutputKind::Logstash => "logstash",
            OutputKind::Kafka => "kafka",
        }
    }
}

/// How much is sent at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputPreset {
    /// What suits most.
    Balanced,
    /// What the YAML says.
    Custom,
    /// Much.
    Throughput,
    /// Little, for many agents.
    Scale,
    /// At once.
    Latency,
}

/// What of an output lies in the secret store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputSecrets {
    /// Of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl: Option<TlsSecrets>,
    /// The user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretField>,
    /// With what keys for agents are made in the other cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_token: Option<SecretField>,
    /// The key of the other cluster's page for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kibana_api_key: Option<SecretField>,
}
