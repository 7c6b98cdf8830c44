//! What an output may be.

use fleet_policy::documents::{
    KafkaAuth, KafkaCompression, KafkaMechanism, KafkaSasl, Output, OutputKind, OutputPreset,
};
use fleet_policy::settings::{DEFAULT_OUTPUT_NAME, config_yaml};
use serde_json::{Map, Number, Value};

use crate::management::error::ApiError;
use crate::management::fields::bad;
use crate::management::settings::address::{host_and_port, with_port};

/// The most addresses of an output.
const MOST_HOSTS: usize = 10;
/// The most fields of `allow_edit`, and headers and topics of Kafka.
const MOST_LISTED: usize = 1000;
/// The longest time that an output may be asked to wait, in seconds.
const LONGEST_TIMEOUT: f64 = 24.0 * 3600.0;

/// Fields that only search engines of other clusters have.
const REMOTE: [&str; 5] =
    ["service_token", "sync_integrations", "sync_uninstalled_integrations", "kibana_url", "kibana_api_key"];
/// Fields that search engines have.
const ENGINE: [&str; 2] = ["preset", "write_to_logs_streams"];
/// Fields that only Kafka has.
const KAFKA: [&str; 20] = [
    "version",
    "key",
    "compression",
    "compression_level",
    "client_id",
    "auth_type",
    "connection_type",
    "username",
    "password",
    "sasl",
    "partition",
    "random",
    "round_robin",
    "hash",
    "topic",
    "topics",
    "headers",
    "timeout",
    "broker_timeout",
    "required_acks",
];
/// What YAML says for itself where a preset would say it.
const TUNED: [&str; 9] = [
    "bulk_max_size",
    "worker",
    "workers",
    "queue.mem.events",
    "queue.mem.flush.min_events",
    "queue.mem.flush.timeout",
    "compression_level",
    "connection_idle_timeout",
    "idle_connection_timeout",
];

/// What stays of an output whose type may change: what only the old type has goes.
pub(super) fn base(mut before: Map<String, Value>, body: &Map<String, Value>) -> Map<String, Value> {
    if body.get("type").is_some_and(|given| !given.is_null() && Some(given) != before.get("type")) {
        before
            .retain(|key, _| ![&REMOTE[..], &ENGINE, &KAFKA, &["secrets"]].concat().contains(&key.as_str()));
    }
    before
}

/// Puts an output into its normal form; refuses what cannot be.
pub(super) fn check(
    output: &mut Output,
    before: Option<&Output>,
    body: &Map<String, Value>,
) -> Result<(), ApiError> {
    if before.is_none() && body.get("type").is_none_or(Value::is_null) {
        return Err(bad("type", "elasticsearch, remote_elasticsearch, logstash or kafka is needed"));
    }
    if output.id == DEFAULT_OUTPUT_NAME {
        return Err(bad("id", "this is how agents know the default output: another one is needed"));
    }
    own_fields(output.kind, body)?;
    hosts(output)?;
    if output.allow_edit.as_ref().is_some_and(|fields| fields.len() > MOST_LISTED) {
        return Err(bad("allow_edit", format!("at most {MOST_LISTED} fields")));
    }
    if let Some(fingerprint) = output.ca_trusted_fingerprint.as_deref().filter(|text| !text.is_empty()) {
        let digits: String = fingerprint.chars().filter(|digit| *digit != ':').collect();
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad("ca_trusted_fingerprint", "SHA-256 in hex is needed: 64 digits"));
        }
    }
    yaml(output, body)?;
    match output.kind {
        OutputKind::Kafka => kafka(output, before),
        _ => Ok(()),
    }
}

fn own_fields(kind: OutputKind, body: &Map<String, Value>) -> Result<(), ApiError> {
    let is_given = |field: &&&str| body.get(**field).is_some_and(|value| !value.is_null());
    let only = |fields: &[&str], what: &str| match fields.iter().find(is_given) {
        Some(field) => Err(bad(field, format!("only an output of type {what} has it"))),
        None => Ok(()),
    };
    if kind != OutputKind::Kafka {
        only(&KAFKA, "kafka")?;
    }
    if kind != OutputKind::RemoteElasticsearch {
        only(&REMOTE, "remote_elasticsearch")?;
    }
    if !kind.is_engine() {
        only(&ENGINE, "elasticsearch or remote_elasticsearch")?;
    }
    Ok(())
}

fn hosts(output: &mut Output) -> Result<(), ApiError> {
    if output.hosts.is_empty() || output.hosts.len() > MOST_HOSTS {
        return Err(bad("hosts", format!("1 to {MOST_HOSTS} addresses are needed")));
    }
    for (index, host) in output.hosts.iter_mut().enumerate() {
        let normal = match output.kind {
            OutputKind::Elasticsearch | OutputKind::RemoteElasticsearch => with_port(host),
            OutputKind::Logstash => host_and_port(host, false),
            OutputKind::Kafka => host_and_port(host, true),
        };
        *host = normal.map_err(|text| bad(&format!("hosts.{index}"), text))?;
    }
    Ok(())
}

/// What the YAML tunes is not what a preset says: then it is the YAML's own, unless a preset is asked for.
fn yaml(output: &mut Output, body: &Map<String, Value>) -> Result<(), ApiError> {
    if let Some(text) = output.otel_exporter_config_yaml.as_deref() {
        config_yaml(text).map_err(|error| bad("otel_exporter_config_yaml", error))?;
    }
    let config = output.config_yaml.as_deref().map(config_yaml).transpose();
    let config = config.map_err(|error| bad("config_yaml", error))?.unwrap_or_default();
    if !output.kind.is_engine() {
        return Ok(());
    }
    let config = Value::Object(config);
    let tuned = TUNED.iter().find(|path| config.pointer(&format!("/{}", path.replace('.', "/"))).is_some());
    let is_asked_for = body.get("preset").is_some_and(|given| !given.is_null());
    match (tuned, output.preset) {
        (Some(key), Some(preset)) if preset != OutputPreset::Custom && is_asked_for => {
            Err(bad("preset", format!("custom is needed, since config_yaml sets {key}")))
        }
        (Some(_), preset) if preset != Some(OutputPreset::Custom) => {
            output.preset = Some(OutputPreset::Custom);
            Ok(())
        }
        (None, None) => {
            output.preset = Some(OutputPreset::Balanced);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn kafka(output: &mut Output, before: Option<&Output>) -> Result<(), ApiError> {
    // Brokers are not reached through a proxy for HTTP.
    output.proxy_id = None;
    fill(output, before);
    if output.auth_type == Some(KafkaAuth::UserPass) {
        let has_password = output.password.as_deref().is_some_and(|text| !text.is_empty())
            || output.secrets.as_ref().is_some_and(|secrets| secrets.password.is_some());
        if output.username.as_deref().is_none_or(str::is_empty) {
            return Err(bad("username", "auth_type user_pass needs one"));
        }
        if !has_password {
            return Err(bad("password", "auth_type user_pass needs one, here or as secrets.password"));
        }
    }
    if output.required_acks.is_some_and(|acks| !(-1..=1).contains(&acks)) {
        return Err(bad("required_acks", "-1 (all), 0 (none) or 1 (the leader) is needed"));
    }
    let within = |field: &str, number: Option<&Number>, least: f64, most: f64| {
        let is_within =
            |number: &Number| number.as_f64().is_some_and(|value| (least..=most).contains(&value));
        if number.is_some_and(|number| !is_within(number)) {
            return Err(bad(field, format!("a number from {least} to {most} is needed")));
        }
        Ok(())
    };
    if output.compression == Some(KafkaCompression::Gzip) {
        within("compression_level", output.compression_level.as_ref(), 0.0, 9.0)?;
    }
    within("timeout", output.timeout.as_ref(), 0.0, LONGEST_TIMEOUT)?;
    within("broker_timeout", output.broker_timeout.as_ref(), 0.0, LONGEST_TIMEOUT)?;
    let events = output.random.as_ref().and_then(|group| group.group_events.as_ref());
    within("random.group_events", events, 0.0, f64::from(u32::MAX))?;
    let events = output.round_robin.as_ref().and_then(|group| group.group_events.as_ref());
    within("round_robin.group_events", events, 0.0, f64::from(u32::MAX))?;
    lists(output)
}

fn lists(output: &Output) -> Result<(), ApiError> {
    if output.headers.as_ref().is_some_and(|headers| headers.len() > MOST_LISTED) {
        return Err(bad("headers", format!("at most {MOST_LISTED}")));
    }
    let topics = output.topics.as_deref().unwrap_or_default();
    if topics.len() > MOST_LISTED {
        return Err(bad("topics", format!("at most {MOST_LISTED}")));
    }
    for (index, topic) in topics.iter().enumerate() {
        if topic.topic.is_empty() {
            return Err(bad(&format!("topics.{index}.topic"), "a name is needed"));
        }
        let condition = topic.when.as_ref().and_then(|when| when.condition.as_deref());
        if condition.is_some_and(|text| text.split_once(':').is_none_or(|(field, _)| field.trim().is_empty()))
        {
            return Err(bad(&format!("topics.{index}.when.condition"), "field:value is needed"));
        }
    }
    Ok(())
}

/// What is used where nothing is said, so that everybody sees it.
fn fill(output: &mut Output, before: Option<&Output>) {
    output.version.get_or_insert_with(|| "1.0.0".to_owned());
    output.client_id.get_or_insert_with(|| "Elastic".to_owned());
    output.auth_type.get_or_insert(KafkaAuth::None);
    output.timeout.get_or_insert_with(|| 30.into());
    output.broker_timeout.get_or_insert_with(|| 30.into());
    output.required_acks.get_or_insert(1);
    let compression = *output.compression.get_or_insert(KafkaCompression::Gzip);
    if compression == KafkaCompression::Gzip {
        output.compression_level.get_or_insert_with(|| 4.into());
    } else if output.compression_level.is_none() {
        // It says nothing without gzip, and clients go on showing it.
        output.compression_level = before.and_then(|before| before.compression_level.clone());
    }
    if output.auth_type == Some(KafkaAuth::UserPass) {
        output.sasl.get_or_insert_with(KafkaSasl::default).mechanism.get_or_insert(KafkaMechanism::Plain);
    }
}
