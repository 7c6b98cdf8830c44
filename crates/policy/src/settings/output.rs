//! An output as agents get it.

use serde_json::{Map, Value, json};

use super::config_yaml::{config_yaml, lay_over};
use super::parts::set;
use crate::documents::{
    KafkaAuth, KafkaCompression, KafkaConnection, KafkaGroup, KafkaHash, KafkaPartition, KafkaTopic, Output,
    OutputKind, Proxy,
};

/// The output as it stands in a policy, with its secrets as references. Fields win over what its YAML says; of a
/// YAML that cannot be read, nothing is taken, and the error is answered too.
pub(super) fn rendered(output: &Output, proxy: Option<&Proxy>) -> (Value, Option<super::ConfigYamlError>) {
    let config = output.config_yaml.as_deref().map(config_yaml).transpose();
    let (config, error) = match config {
        Ok(config) => (config.unwrap_or_default(), None),
        Err(error) => (Map::new(), Some(error)),
    };
    let mut made = config;
    let mut own = common(output);
    match output.kind {
        OutputKind::Elasticsearch | OutputKind::RemoteElasticsearch => engine(output, &mut own),
        OutputKind::Kafka => kafka(output, &mut own),
        OutputKind::Logstash => {}
    }
    // Brokers are not reached through a proxy for HTTP.
    if let Some(proxy) = proxy.filter(|_| output.kind != OutputKind::Kafka) {
        super::parts::proxy(proxy, &mut own);
    }
    lay_over(&mut made, own);
    (Value::Object(made), error)
}

fn common(output: &Output) -> Map<String, Value> {
    let mut own = Map::new();
    // Agents know no remote engine: to them it is one like any other. With what the server asks it for keys is
    // nothing that they may have.
    let kind = match output.kind {
        OutputKind::RemoteElasticsearch => OutputKind::Elasticsearch,
        kind => kind,
    };
    own.insert("type".to_owned(), kind.as_str().into());
    own.insert("hosts".to_owned(), json!(output.hosts));
    let mut ssl = super::parts::tls(output.ssl.as_ref());
    // People may write it with colons, agents do not.
    let fingerprint = output.ca_trusted_fingerprint.as_ref().map(|text| text.replace(':', ""));
    set(&mut ssl, "ca_trusted_fingerprint", fingerprint.as_ref());
    set(&mut own, "ca_sha256", output.ca_sha256.as_ref());
    let is_plain = output.kind == OutputKind::Kafka
        && output.auth_type == Some(KafkaAuth::None)
        && output.connection_type == Some(KafkaConnection::Plaintext);
    if !ssl.is_empty() && !is_plain {
        own.insert("ssl".to_owned(), ssl.into());
    }
    let mut secrets = Map::new();
    if let Some(given) = &output.secrets {
        if !is_plain {
            set(&mut secrets, "ssl", given.ssl.as_ref());
        }
        if output.kind == OutputKind::Kafka && output.auth_type == Some(KafkaAuth::UserPass) {
            set(&mut secrets, "password", given.password.as_ref());
        }
    }
    if !secrets.is_empty() {
        own.insert("secrets".to_owned(), secrets.into());
    }
    own
}

fn engine(output: &Output, own: &mut Map<String, Value>) {
    set(own, "preset", output.preset.as_ref());
    set(own, "write_to_logs_streams", output.write_to_logs_streams.filter(|is| *is).as_ref());
}

fn kafka(output: &Output, own: &mut Map<String, Value>) {
    set(own, "version", output.version.as_ref());
    set(own, "key", output.key.as_ref());
    set(own, "client_id", output.client_id.as_ref());
    set(own, "compression", output.compression.as_ref());
    if output.compression == Some(KafkaCompression::Gzip) {
        set(own, "compression_level", output.compression_level.as_ref());
    }
    if output.auth_type == Some(KafkaAuth::UserPass) {
        set(own, "username", output.username.as_ref());
        set(own, "password", output.password.as_ref());
        set(own, "sasl", output.sasl.as_ref());
    }
    // Without TLS of its own, an encrypted connection must be asked for.
    if output.auth_type == Some(KafkaAuth::None)
        && output.connection_type == Some(KafkaConnection::Encryption)
    {
        let ssl = own.entry("ssl").or_insert_with(|| Map::new().into());
        ssl["enabled"] = true.into();
    }
    if let Some(partition) = output.partition {
        own.insert("partition".to_owned(), partition_of(output, partition));
    }
    set(own, "topic", output.topic.as_ref());
    if let Some(topics) = output.topics.as_ref().filter(|topics| !topics.is_empty()) {
        own.insert("topics".to_owned(), topics.iter().map(topic).collect());
    }
    let headers: Vec<Value> = output
        .headers
        .iter()
        .flatten()
        .filter(|header| !header.key.is_empty())
        .map(|header| json!(header))
        .collect();
    if !headers.is_empty() {
        own.insert("headers".to_owned(), headers.into());
    }
    set(own, "timeout", output.timeout.as_ref());
    set(own, "broker_timeout", output.broker_timeout.as_ref());
    set(own, "required_acks", output.required_acks.as_ref());
}

fn partition_of(output: &Output, partition: KafkaPartition) -> Value {
    let group = |group: &Option<KafkaGroup>| json!(group.clone().unwrap_or_default());
    match partition {
        KafkaPartition::Random => json!({"random": group(&output.random)}),
        KafkaPartition::RoundRobin => json!({"round_robin": group(&output.round_robin)}),
        KafkaPartition::Hash => json!({"hash": hash(output.hash.as_ref())}),
    }
}

/// People write the fields with commas between them; agents take a list.
fn hash(given: Option<&KafkaHash>) -> Value {
    let mut hash = Map::new();
    let Some(given) = given else { return hash.into() };
    let fields: Vec<&str> = given.hash.iter().flat_map(|fields| fields.split(',')).map(str::trim).collect();
    let fields: Vec<&str> = fields.into_iter().filter(|field| !field.is_empty()).collect();
    if !fields.is_empty() {
        hash.insert("hash".to_owned(), fields.into());
    }
    set(&mut hash, "random", given.random.as_ref());
    hash.into()
}

/// `field:value` is a map of one key for agents.
fn topic(given: &KafkaTopic) -> Value {
    let mut topic = Map::from_iter([("topic".to_owned(), given.topic.clone().into())]);
    let when = given.when.as_ref();
    let condition = when.and_then(|when| when.condition.as_deref()).and_then(|text| text.split_once(':'));
    if let (Some(kind), Some((field, value))) = (when.and_then(|when| when.kind), condition) {
        let mut compared = Map::new();
        compared.insert(field.trim().to_owned(), value.trim().into());
        let mut when = Map::new();
        if let Some(kind) = json!(kind).as_str() {
            when.insert(kind.to_owned(), compared.into());
        }
        topic.insert("when".to_owned(), when.into());
    }
    topic.into()
}
