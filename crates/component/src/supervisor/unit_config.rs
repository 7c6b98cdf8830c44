//! What a unit is configured with: the policy's own map, and what of it has a field of its own.

use serde_json::{Map, Value};

use crate::value::to_struct;
use crate::wire;

/// What of an input is for the agent alone.
const OF_THE_AGENT: [&str; 4] = ["use_output", "enabled", "log_level", "_runtime_experimental"];

/// That of an input. `kind` is its type, by its own name.
pub(super) fn input(input: &Map<String, Value>, kind: &str, revision: Option<u64>) -> wire::UnitConfig {
    let mut source = input.clone();
    source.retain(|key, _| !OF_THE_AGENT.contains(&key.as_str()));
    source.insert("type".to_owned(), Value::from(kind));
    nest_data_stream(&mut source);
    if let Some(streams) = source.get_mut("streams").and_then(Value::as_array_mut) {
        streams.iter_mut().filter_map(Value::as_object_mut).for_each(nest_data_stream);
    }
    if let Some(revision) = revision {
        let policy = source.entry("policy").or_insert_with(|| Value::Object(Map::new()));
        if let Some(policy) = policy.as_object_mut() {
            policy.insert("revision".to_owned(), Value::from(revision));
        }
    }
    wire::UnitConfig {
        id: text_of(&source, "id"),
        r#type: kind.to_owned(),
        name: text_of(&source, "name"),
        revision: find(&source, "revision").and_then(Value::as_u64).unwrap_or_default(),
        meta: find(&source, "meta").and_then(Value::as_object).map(meta),
        data_stream: Some(data_stream(&source)),
        streams: streams(&source),
        source: Some(to_struct(&source)),
    }
}

/// That of an output.
pub(super) fn output(output: &Map<String, Value>) -> wire::UnitConfig {
    let mut source = output.clone();
    source.retain(|key, _| key != "enabled" && key != "log_level");
    wire::UnitConfig {
        r#type: text_of(&source, "type"),
        data_stream: Some(wire::DataStream::default()),
        source: Some(to_struct(&source)),
        ..wire::UnitConfig::default()
    }
}

/// `data_stream.type: logs` is the same as `data_stream: {type: logs}`.
fn nest_data_stream(map: &mut Map<String, Value>) {
    const PREFIX: &str = "data_stream.";
    let dotted: Vec<String> = map.keys().filter(|key| key.starts_with(PREFIX)).cloned().collect();
    for key in dotted {
        let Some(value) = map.remove(&key) else { continue };
        let nested = map.entry("data_stream").or_insert_with(|| Value::Object(Map::new()));
        if let Some(nested) = nested.as_object_mut() {
            nested.insert(key[PREFIX.len()..].to_owned(), value);
        }
    }
}

/// The value at a key, in any case.
fn find<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key)
        .or_else(|| map.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

fn text_of(map: &Map<String, Value>, key: &str) -> String {
    find(map, key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn meta(map: &Map<String, Value>) -> wire::Meta {
    let package = find(map, "package").and_then(Value::as_object).map(|package| wire::Package {
        source: Some(to_struct(package)),
        name: text_of(package, "name"),
        version: text_of(package, "version"),
    });
    wire::Meta { source: Some(to_struct(map)), package }
}

fn data_stream(map: &Map<String, Value>) -> wire::DataStream {
    let Some(found) = find(map, "data_stream").and_then(Value::as_object) else {
        return wire::DataStream::default();
    };
    wire::DataStream {
        source: Some(to_struct(found)),
        dataset: text_of(found, "dataset"),
        r#type: text_of(found, "type"),
        namespace: text_of(found, "namespace"),
    }
}

fn streams(map: &Map<String, Value>) -> Vec<wire::InputStream> {
    let streams = find(map, "streams").and_then(Value::as_array);
    let streams = streams.into_iter().flatten().filter_map(Value::as_object);
    streams
        .map(|stream| wire::InputStream {
            source: Some(to_struct(stream)),
            id: text_of(stream, "id"),
            data_stream: Some(data_stream(stream)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::value::from_struct;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().expect("a map")
    }

    #[test]
    fn an_input_keeps_what_is_for_the_component_alone() {
        let config = input(
            &map(&json!({
                "id": "x", "type": "alias", "use_output": "default", "enabled": true, "log_level": "debug",
                "_runtime_experimental": "process", "data_stream.namespace": "default", "revision": 4,
                "Meta": {"package": {"name": "p", "version": "1.0.0"}},
                "streams": [{"id": "s", "data_stream.dataset": "d", "paths": ["/a.b"]}],
            })),
            "real",
            Some(7),
        );
        let source = from_struct(&config.source.expect("a source"));
        assert_eq!(
            Value::Object(source),
            json!({
                "id": "x", "type": "real", "data_stream": {"namespace": "default"}, "revision": 4,
                "policy": {"revision": 7}, "Meta": {"package": {"name": "p", "version": "1.0.0"}},
                "streams": [{"id": "s", "data_stream": {"dataset": "d"}, "paths": ["/a.b"]}],
            })
        );
        assert_eq!((config.id.as_str(), config.r#type.as_str(), config.revision), ("x", "real", 4));
        assert_eq!(config.meta.and_then(|meta| meta.package).map(|p| p.version), Some("1.0.0".to_owned()));
        assert_eq!(config.streams[0].data_stream.as_ref().map(|d| d.dataset.as_str()), Some("d"));
        assert_eq!(config.data_stream.map(|d| d.namespace), Some("default".to_owned()));
    }

    #[test]
    fn an_output_has_a_type_and_no_name() {
        let config =
            output(&map(&json!({"type": "elasticsearch", "enabled": true, "hosts": ["h"], "id": "o"})));
        assert_eq!((config.r#type.as_str(), config.id.as_str()), ("elasticsearch", ""));
        let source = Value::Object(from_struct(&config.source.expect("a source")));
        assert_eq!(source, json!({"type": "elasticsearch", "hosts": ["h"], "id": "o"}));
        assert_eq!(config.data_stream, Some(wire::DataStream::default()));
    }
}
