//! What integrations say for an OpenTelemetry collector, joined at the top of a policy.

use serde_json::{Map, Value, json};

/// Adds what an integration says. Where its pipelines end, the exporter of its output begins.
pub(super) fn join(all: &mut Map<String, Value>, mut own: Map<String, Value>, name: &str, output: &Value) {
    if own.is_empty() {
        return;
    }
    let exporter = format!("elasticsearch/{name}");
    let mut is_used = false;
    if let Some(Value::Object(pipelines)) = own.get_mut("service").and_then(|it| it.get_mut("pipelines")) {
        for pipeline in pipelines.values_mut().filter_map(Value::as_object_mut) {
            if !pipeline.contains_key("exporters") {
                pipeline.insert("exporters".to_owned(), json!([exporter]));
                is_used = true;
            }
        }
    }
    if is_used {
        let exporters = own.entry("exporters").or_insert_with(|| json!({}));
        exporters[&exporter] = exporter_of(output);
    }
    merge(all, own);
}

/// An output as collectors know it. Who it is that writes, the agent adds.
fn exporter_of(output: &Value) -> Value {
    let mut exporter = json!({"endpoints": output["hosts"]});
    if let Some(ssl) = output.get("ssl").and_then(Value::as_object) {
        let mut tls = Map::new();
        let authority = ssl.get("certificate_authorities").and_then(|them| them.get(0));
        for (name, value) in
            [("ca_pem", authority), ("cert_pem", ssl.get("certificate")), ("key_pem", ssl.get("key"))]
        {
            if let Some(value) = value {
                tls.insert(name.to_owned(), value.clone());
            }
        }
        if ssl.get("verification_mode").is_some_and(|mode| mode == "none") {
            tls.insert("insecure_skip_verify".to_owned(), true.into());
        }
        if !tls.is_empty() {
            exporter["tls"] = tls.into();
        }
    }
    exporter
}

/// Objects are merged and lists joined: components of two integrations never have one name.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (Some(Value::Array(into)), Value::Array(from)) => into.extend(from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("an object: {value}") };
        object
    }

    #[test]
    fn pipelines_end_in_the_exporter_of_their_output() {
        let mut all = Map::new();
        let own = |name: &str| {
            object(json!({
                "receivers": {name: {}},
                "service": {"extensions": [name], "pipelines": {
                    format!("logs/{name}"): {"receivers": [name]},
                    format!("metrics/{name}"): {"receivers": [name], "exporters": ["forward"]},
                }},
            }))
        };
        let output = json!({"hosts": ["https://engine:9200"], "ssl": {"certificate_authorities": ["PEM"]}});
        join(&mut all, own("a"), "default", &output);
        join(&mut all, own("b"), "other", &json!({"hosts": ["http://other:9200"]}));
        let pipelines = &all["service"]["pipelines"];
        assert_eq!(pipelines["logs/a"]["exporters"], json!(["elasticsearch/default"]));
        assert_eq!(pipelines["metrics/a"]["exporters"], json!(["forward"]));
        assert_eq!(pipelines["logs/b"]["exporters"], json!(["elasticsearch/other"]));
        assert_eq!(all["service"]["extensions"], json!(["a", "b"]));
        assert_eq!(
            all["exporters"],
            json!({
                "elasticsearch/default": {"endpoints": ["https://engine:9200"], "tls": {"ca_pem": "PEM"}},
                "elasticsearch/other": {"endpoints": ["http://other:9200"]},
            })
        );
    }

    #[test]
    fn who_says_nothing_adds_nothing() {
        let mut all = Map::new();
        join(&mut all, Map::new(), "default", &json!({}));
        assert!(all.is_empty());
    }
}
