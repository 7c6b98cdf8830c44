//! Streams that are configurations of an OpenTelemetry collector.
//!
//! An input of type `otelcol` is no input of an agent's: what its streams render to (receivers, processors,
//! connectors, extensions, pipelines) goes to the top of the agent's policy, beside `inputs`. There all
//! streams of all policies meet, so that each component's name is followed by the stream's id.
//!
//! Pipelines come without exporters, which are the output's: whoever puts the policy together adds them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// The type of such inputs.
pub const INPUT_TYPE: &str = "otelcol";

/// The groups of components.
const COMPONENTS: [&str; 5] = ["receivers", "processors", "exporters", "connectors", "extensions"];

/// Where a stream's data goes.
pub(crate) struct Destination<'a> {
    pub(crate) stream_id: &'a str,
    pub(crate) dataset: &'a str,
    pub(crate) namespace: &'a str,
}

/// Adds what a stream renders to.
pub(crate) fn add(all: &mut Map<String, Value>, content: &Map<String, Value>, to: &Destination<'_>) {
    let extensions: Vec<&String> = of(content, "extensions").map(|(name, _)| name).collect();
    for group in COMPONENTS {
        for (name, component) in of(content, group) {
            let mut component = component.clone();
            rename_extensions(&mut component, &extensions, to.stream_id);
            put(all, group, own_name(name, to.stream_id), component);
        }
    }
    let Some(service) = content.get("service").and_then(Value::as_object) else { return };
    let mut own_service = Service::of(all);
    for name in service.get("extensions").and_then(Value::as_array).into_iter().flatten() {
        own_service.extensions.push(own_name(name.as_str().unwrap_or_default(), to.stream_id).into());
    }
    let routing = format!("transform/{}-routing", to.stream_id);
    let mut signals = BTreeSet::new();
    for (name, pipeline) in service.get("pipelines").and_then(Value::as_object).into_iter().flatten() {
        let Some(pipeline) = pipeline.as_object() else { continue };
        let mut own = own_pipeline(pipeline, to.stream_id);
        // Only where data leaves for the output: pipelines that end in a connector go on elsewhere.
        if !own.contains_key("exporters")
            && let Value::Array(processors) = own.entry("processors").or_insert_with(|| json!([]))
        {
            processors.push(routing.clone().into());
            signals.insert(signal(name));
        }
        own_service.pipelines.insert(own_name(name, to.stream_id), Value::Object(own));
    }
    own_service.put(all);
    if !signals.is_empty() {
        put(all, "processors", routing, routing_processor(&signals, to));
    }
}

/// What all streams have said of `service` so far.
struct Service {
    extensions: Vec<Value>,
    pipelines: Map<String, Value>,
}

impl Service {
    fn of(all: &mut Map<String, Value>) -> Service {
        let mut known = all.remove("service").unwrap_or_default();
        let mut take = |key: &str| known.get_mut(key).map(Value::take);
        let extensions = match take("extensions") {
            Some(Value::Array(extensions)) => extensions,
            _ => Vec::new(),
        };
        let pipelines = match take("pipelines") {
            Some(Value::Object(pipelines)) => pipelines,
            _ => Map::new(),
        };
        Service { extensions, pipelines }
    }

    fn put(self, all: &mut Map<String, Value>) {
        let mut service = Map::new();
        if !self.extensions.is_empty() {
            service.insert("extensions".to_owned(), Value::Array(self.extensions));
        }
        service.insert("pipelines".to_owned(), Value::Object(self.pipelines));
        all.insert("service".to_owned(), Value::Object(service));
    }
}

fn own_pipeline(pipeline: &Map<String, Value>, stream_id: &str) -> Map<String, Value> {
    let own = |(group, names): (&String, &Value)| {
        let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
        (group.clone(), Value::Array(names.map(|name| own_name(name, stream_id).into()).collect()))
    };
    pipeline.iter().map(own).collect()
}

fn of<'a>(content: &'a Map<String, Value>, group: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    content.get(group).and_then(Value::as_object).into_iter().flatten()
}

/// Puts an entry into a group of components.
fn put(all: &mut Map<String, Value>, group: &str, name: String, value: Value) {
    if let Value::Object(section) = all.entry(group).or_insert_with(|| json!({})) {
        section.insert(name, value);
    }
}

fn own_name(name: &str, stream_id: &str) -> String {
    format!("{name}/{stream_id}")
}

/// Components name extensions in their settings: `auth: {authenticator: basicauth}`, `storage: file_storage`.
fn rename_extensions(value: &mut Value, extensions: &[&String], stream_id: &str) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(name)
                        if matches!(key.as_str(), "authenticator" | "storage")
                            && extensions.iter().any(|known| *known == name) =>
                    {
                        *name = own_name(name, stream_id);
                    }
                    _ => rename_extensions(value, extensions, stream_id),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                rename_extensions(item, extensions, stream_id);
            }
        }
        _ => {}
    }
}

/// The kinds of data (`logs`, `metrics`, `traces`) that leave for the output.
pub(crate) fn signals(content: &Map<String, Value>) -> BTreeSet<&str> {
    let pipelines = content.get("service").and_then(|service| service.get("pipelines")?.as_object());
    let leaves = |pipeline: &Value| pipeline.get("exporters").is_none();
    pipelines
        .into_iter()
        .flatten()
        .filter(|(_, pipeline)| leaves(pipeline))
        .map(|(name, _)| signal(name))
        .collect()
}

/// A pipeline is named `<signal>[/<name>]`.
fn signal(pipeline: &str) -> &str {
    pipeline.split('/').next().unwrap_or_default()
}

/// Says in the data where it goes, as exporters to Elasticsearch read it.
fn routing_processor(signals: &BTreeSet<&str>, to: &Destination<'_>) -> Value {
    let set =
        |name: &str, value: &str| format!("set(attributes[\"data_stream.{name}\"], {})", Value::from(value));
    let mut processor = Map::new();
    for signal in signals {
        let (group, context) = match *signal {
            "logs" => ("log_statements", "log"),
            "metrics" => ("metric_statements", "datapoint"),
            "traces" => ("trace_statements", "span"),
            // Nothing is known of others.
            _ => continue,
        };
        let statements = [set("type", signal), set("dataset", to.dataset), set("namespace", to.namespace)];
        processor.insert(group.to_owned(), json!([{ "context": context, "statements": statements }]));
    }
    Value::Object(processor)
}
