//! What data is in engines, and whose.

use std::time::{Duration, Instant, SystemTime};

use fleet_test_engine::{Client, Elastic, Engine};
use serde_json::{Value, json};

use crate::agent::{Agent, Way};
use crate::keys::login;
use crate::server_with;

/// Mappings as other engines have them by themselves, and of one shard.
async fn prepare(client: &Client) {
    let template = json!({"index_patterns": ["logs-*-*"], "priority": 102, "data_stream": {}, "template": {
        "settings": {"number_of_replicas": 0}}});
    client.put("/_index_template/data-of-agents", &template).await.unwrap().success().unwrap();
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

async fn write(client: &Client, stream: &str, document: &Value) {
    let path = format!("/{stream}/_doc?refresh=true");
    client.post(&path, document).await.unwrap().success().unwrap();
}

/// Data is listed, by whichever engine, and known by whose it is.
async fn is_seen(client: &Client, yaml: &str) {
    prepare(client).await;
    let (server, manager) = server_with(client.url(), yaml, &[]).await;
    let way = Way::to(&server);
    let (_, key) = manager.make_policy("web").await;
    let sends = Agent::enrol(&way, &key, "web-1").await;
    let silent = Agent::enrol(&way, &key, "web-2").await;
    // Others test on this engine, too.
    let dataset = format!("seen.{}", sends.id.replace('-', "_"));
    let (stream, newest) = (format!("logs-{dataset}-default"), now());
    for at in [1_000, newest] {
        write(client, &stream, &json!({"@timestamp": at, "agent": {"id": sends.id}, "message": "hello"}))
            .await;
    }
    write(client, &stream, &json!({"@timestamp": 1_000, "agent": {"id": silent.id}})).await;

    let told = manager.get("/api/fleet/data_streams").await;
    assert_eq!(told.get("not_seen"), None, "{told}");
    let streams = told["data_streams"].as_array().unwrap();
    let found = streams.iter().find(|found| found["index"] == stream).unwrap();
    let expected = json!({"type": "logs", "dataset": dataset, "namespace": "default", "package": "",
        "last_activity_ms": newest, "output_id": "fleet-default-output"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(found[field], *value, "{field} of {found}");
    }
    assert!(found["size_in_bytes"].as_u64().unwrap() > 100, "{found}");
    assert!(found["size_in_bytes_formatted"].as_str().unwrap().ends_with('b'), "{found}");
    let path = format!("/api/fleet/epm/data_streams?type=logs&datasetQuery={dataset}");
    assert_eq!(manager.get(&path).await, json!({"items": [{"name": stream}]}));
    let path = format!("/api/fleet/epm/data_streams?type=metrics&datasetQuery={dataset}");
    assert_eq!(manager.get(&path).await, json!({"items": []}));

    let asked = format!("agentsIds={}&agentsIds={}", sends.id, silent.id);
    let told = manager.get(&format!("/api/fleet/agent_status/data?{asked}&previewData=true")).await;
    let of = |agent: &Agent| {
        let items = told["items"].as_array().unwrap();
        items.iter().find_map(|item| item[&agent.id]["data"].as_bool())
    };
    // What the other one sent is older than anybody waits for.
    assert_eq!((of(&sends), of(&silent)), (Some(true), Some(false)), "{told}");
    let preview = told["dataPreview"].as_array().unwrap();
    assert_eq!(preview.len(), 1, "{told}");
    assert_eq!(preview[0]["_source"]["message"], "hello");

    // Of a package, nobody has sent anything.
    let told =
        manager.get(&format!("/api/fleet/agent_status/data?{asked}&pkgName=system&pkgVersion=1.0.0")).await;
    assert_eq!(told["items"].to_string().matches("false").count(), 2, "{told}");
    assert_eq!(told["dataPreview"], json!([]));
    let (status, answer) =
        manager.ask("GET", &format!("/api/fleet/agent_status/data?{asked}&pkgName=none"), None).await;
    assert_eq!(status, 404, "{answer}");
}

#[tokio::test]
async fn data_streams_and_whose_data_has_arrived_are_seen_in_an_opensearch() {
    let engine = Engine::start().await.unwrap();
    is_seen(&engine, "").await;
}

#[tokio::test]
async fn data_streams_and_whose_data_has_arrived_are_seen_in_an_elasticsearch() {
    let Some(elastic) = Elastic::from_env() else { return };
    is_seen(&elastic, &login(&elastic)).await;
}

#[tokio::test]
async fn data_streams_of_packages_say_so() {
    let engine = Engine::start().await.unwrap();
    let (_server, manager) = server_with(engine.url(), "", &[]).await;
    manager.post("/api/fleet/epm/packages/system", &json!({"force": true})).await;
    crate::in_engine(&manager, "system", "installed").await;
    write(&engine, "logs-system.auth-default", &json!({"@timestamp": now(), "message": "sshd[1]: hello"}))
        .await;
    let told = manager.get("/api/fleet/data_streams").await;
    let found = &told["data_streams"][0];
    let version = manager.get("/api/fleet/epm/packages/system").await["item"]["version"].take();
    assert_eq!((&found["package"], &found["package_version"]), (&json!("system"), &version), "{told}");
    let named = manager.get("/api/fleet/epm/data_streams?uncategorisedOnly=true").await;
    assert_eq!(named, json!({"items": []}));
}

#[tokio::test]
async fn an_engine_that_says_nothing_holds_up_no_answer_for_long() {
    let engine = Engine::start().await.unwrap();
    let (server, manager) = server_with(engine.url(), "", &[]).await;
    // Takes connections and never answers.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", deaf.local_addr().unwrap());
    let output = json!({"id": "deaf", "name": "deaf", "type": "elasticsearch", "hosts": [url]});
    manager.post("/api/fleet/outputs", &output).await;
    let (_, key) = manager.make_policy("web").await;
    let agent = Agent::enrol(&Way::to(&server), &key, "web-1").await;
    prepare(&engine).await;
    write(&engine, "logs-a-default", &json!({"@timestamp": now(), "agent": {"id": agent.id}})).await;

    let began = Instant::now();
    let told = manager.get("/api/fleet/data_streams").await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(told["data_streams"][0]["index"], "logs-a-default", "the others are told: {told}");
    assert_eq!(told["not_seen"][0]["output_id"], "deaf", "{told}");
    assert!(told["not_seen"][0]["message"].as_str().unwrap().contains("takes longer than"), "{told}");

    // The agent's data does not go there: that engine is not asked.
    let told = manager.get(&format!("/api/fleet/agent_status/data?agentsIds={}", agent.id)).await;
    assert_eq!(told, json!({"items": [{&agent.id: {"data": true}}], "dataPreview": []}));
}
