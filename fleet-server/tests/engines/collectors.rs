//! Keys of collectors that speak OpAMP, on a real Elasticsearch.

use fleet_test_engine::Elastic;
use serde_json::{Value, json};

use crate::agent::Way;
use crate::collector::{ALL, Collector};
use crate::keys::{dead, login};
use crate::{eventually, server_with};

#[tokio::test]
async fn a_collector_has_a_key_of_its_own_until_it_leaves() {
    use base64::Engine as _;
    let Some(elastic) = Elastic::from_env() else { return };
    let (server, manager) = server_with(elastic.url(), &login(&elastic), &[]).await;
    let way = Way::to(&server);
    let (policy, key) = manager.make_policy("web").await;
    let overrides = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {}}}},
        "exporters": {"elasticsearch/default": {"endpoints": [elastic.url()]}},
        "service": {"pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["elasticsearch/default"]}}},
    });
    let body = json!({"name": "web", "namespace": "default", "overrides": overrides});
    let (status, answer) =
        manager.ask("PUT", &format!("/api/fleet/agent_policies/{policy}"), Some(&body)).await;
    assert_eq!(status, 200, "{answer}");

    let mut collector = Collector::new(&key, ALL);
    let exporter = eventually("a key in the configuration", async || {
        let full = collector.full("");
        let offered = collector.post(&way, &full).await.remote_config;
        let file = offered.and_then(|offered| offered.config?.config_map.remove(""));
        let config: Value = file.and_then(|file| serde_json::from_slice(&file.body).ok()).unwrap_or_default();
        let exporter = config["exporters"]["elasticsearch/default"].clone();
        if exporter["api_key"].is_string() { Ok(exporter) } else { Err(config) }
    })
    .await;
    assert_eq!(exporter["endpoints"], json!([elastic.url()]));
    let encoded = exporter["api_key"].as_str().unwrap();
    let client = elastic.authorized(format!("ApiKey {encoded}"));
    let who = client.get("/_security/_authenticate").await.unwrap().success().unwrap();
    assert_eq!(who["api_key"]["name"], format!("{}:default", collector.id()));

    // It is shown to nobody.
    let shown = manager.agent(&collector.id()).await;
    assert!(!shown.to_string().contains(encoded), "{shown}");

    let leave = format!("/api/fleet/agents/{}/unenroll", collector.id());
    manager.post(&leave, &json!({"revoke": true})).await;
    let plain = String::from_utf8(base64::prelude::BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
    dead(&elastic, &json!({"api_key": plain})).await;
}
