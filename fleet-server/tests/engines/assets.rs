//! What packages bring, in an engine.

use std::time::Duration;

use fleet_test_engine::Engine;
use serde_json::{Value, json};

use crate::{BOUND, eventually, in_engine, server_with};

async fn install(manager: &crate::manager::Manager, package: &str) {
    manager.post(&format!("/api/fleet/epm/packages/{package}"), &json!({"force": true})).await;
}

#[tokio::test]
async fn an_installed_package_is_in_the_engine_until_it_is_not() {
    let engine = Engine::start().await.unwrap();
    let (_server, manager) = server_with(engine.url(), "", &[]).await;
    // People may have made their part before.
    let theirs = json!({"template": {"settings": {"index": {"number_of_replicas": 0}}}});
    engine.put("/_component_template/logs-system.auth@custom", &theirs).await.unwrap().success().unwrap();
    install(&manager, "system").await;
    let told = in_engine(&manager, "system", "installed").await;
    assert_eq!(told.get("notes"), None, "{told}");
    assert_eq!(told.get("left_alone"), None, "{told}");

    let line = json!({"@timestamp": "2026-01-01T00:00:00Z", "message": "sshd[1]: hello", "host": {"ip": "10.0.0.1"},
        "data_stream": {"type": "logs", "dataset": "system.auth", "namespace": "default"}});
    engine.post("/logs-system.auth-default/_doc?refresh=true", &line).await.unwrap().success().unwrap();
    let range = json!({"term": {"host.ip": "10.0.0.0/8"}});
    engine.wait_for("logs-system.auth-default", &range, 1, BOUND).await.unwrap();
    let settings = engine.get("/logs-system.auth-default/_settings").await.unwrap().success().unwrap();
    let index = &settings.as_object().unwrap().values().next().unwrap()["settings"]["index"];
    assert_eq!(index["number_of_replicas"], "0", "what people said counts");
    assert!(index["default_pipeline"].as_str().unwrap().starts_with("logs-system.auth-"), "{index}");

    let (status, _) = manager.ask("DELETE", "/api/fleet/epm/packages/system", None).await;
    assert_eq!(status, 200);
    let told = in_engine(&manager, "system", "removing").await;
    assert!(told["message"].as_str().unwrap().contains("data streams still use"), "{told}");
    let other = engine.get("/_index_template/metrics-system.cpu").await.unwrap();
    assert_eq!(other.status, 404, "what nobody uses is gone");
    let kept = engine.get("/_index_template/logs-system.auth").await.unwrap();
    assert_eq!(kept.status, 200);

    engine.delete("/_data_stream/logs-system.auth-default").await.unwrap().success().unwrap();
    // Something changes: it is looked at again at once.
    install(&manager, "filestream").await;
    eventually("all of it is gone", async || {
        let kept = engine.get("/_index_template/logs-system.auth").await.unwrap();
        if kept.status == 404 { Ok(()) } else { Err(kept.body) }
    })
    .await;
    let theirs = engine.get("/_component_template/logs-system.auth@custom").await.unwrap();
    assert_eq!(theirs.status, 200, "what people made stays");
}

#[tokio::test]
async fn every_package_of_ours_is_taken_as_it_is() {
    let engine = Engine::start().await.unwrap();
    let (_server, manager) = server_with(engine.url(), "", &[]).await;
    let packages = ["custom", "elastic_agent", "filestream", "fleet_server", "journald", "otlp", "system"];
    for package in packages {
        install(&manager, package).await;
    }
    for package in packages {
        let told = in_engine(&manager, package, "installed").await;
        assert_eq!((told.get("message"), told.get("notes")), (None, None), "{package}: {told}");
        let info =
            manager.get(&format!("/api/fleet/epm/packages/{package}")).await["item"]["installationInfo"]
                .take();
        assert_eq!(info["installed_es"], told["assets"], "{package}");
    }
}

#[tokio::test]
async fn what_is_removed_by_hand_comes_back_and_what_others_made_is_left_alone() {
    let engine = Engine::start().await.unwrap();
    let theirs = json!({"index_patterns": ["logs-system.syslog-*"], "priority": 500, "data_stream": {}});
    engine.put("/_index_template/logs-system.syslog", &theirs).await.unwrap().success().unwrap();
    let (_server, manager) = server_with(engine.url(), "", &[]).await;
    install(&manager, "system").await;
    let told = in_engine(&manager, "system", "installed").await;
    assert_eq!(told["left_alone"], json!([{"id": "logs-system.syslog", "type": "index_template"}]));
    let found = engine.get("/_index_template/logs-system.syslog").await.unwrap().success().unwrap();
    assert_eq!(found["index_templates"][0]["index_template"]["priority"], 500);

    engine.delete("/_index_template/logs-system.auth").await.unwrap().success().unwrap();
    install(&manager, "otlp").await;
    eventually("it is there again", async || {
        let found = engine.get("/_index_template/logs-system.auth").await.unwrap();
        if found.status == 200 { Ok(()) } else { Err(found.body) }
    })
    .await;
}

#[tokio::test]
async fn a_dataset_that_people_name_has_templates_and_data_that_was_there_gets_them() {
    let engine = Engine::start().await.unwrap();
    let (_server, manager) = server_with(engine.url(), "", &[]).await;
    // Agents were faster, or an older server was there: the engine has made what it thinks fit.
    let any = json!({"index_patterns": ["logs-*-*"], "priority": 100, "data_stream": {}});
    engine.put("/_index_template/any", &any).await.unwrap().success().unwrap();
    let line = json!({"@timestamp": "2026-01-01T00:00:00Z", "log": {"offset": "7"}});
    engine.post("/logs-shop.berlin-default/_doc?refresh=true", &line).await.unwrap().success().unwrap();

    manager
        .post("/api/fleet/agent_policies", &json!({"id": "web", "name": "web", "namespace": "default"}))
        .await;
    let integration = json!({"name": "lines", "policy_ids": ["web"], "package": {"name": "filestream", "version": version(&manager, "filestream").await},
        "inputs": {"filestream-filestream": {"enabled": true, "streams": {"filestream.filestream": {"enabled": true,
            "vars": {"paths": ["/var/log/shop.log"], "data_stream.dataset": "shop.berlin"}}}}}});
    manager.post("/api/fleet/package_policies", &integration).await;
    eventually("the data stream has begun a new index", async || {
        let found = engine.get("/_data_stream/logs-shop.berlin-default").await.unwrap().body;
        let stream = &found["data_streams"][0];
        let is_new = stream["template"] == "logs-shop.berlin" && stream["generation"] == 2;
        if is_new { Ok(()) } else { Err(found) }
    })
    .await;
    let mappings = engine.get("/logs-shop.berlin-default/_mapping").await.unwrap().body;
    let newest = mappings.as_object().unwrap().values().next_back().unwrap();
    assert_eq!(newest["mappings"]["properties"]["log"]["properties"]["offset"]["type"], "long", "{mappings}");
}

async fn version(manager: &crate::manager::Manager, package: &str) -> Value {
    manager.get(&format!("/api/fleet/epm/packages/{package}")).await["item"]["version"].take()
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_and_set_up_when_it_comes() {
    let engine = Engine::start().await.unwrap();
    engine.kill().await.unwrap();
    let (_server, manager) = server_with(engine.url(), "", &[]).await;
    install(&manager, "otlp").await;
    let told = in_engine(&manager, "otlp", "install_failed").await;
    assert!(told["message"].as_str().unwrap().contains("does not answer"), "{told}");
    let began = std::time::Instant::now();
    engine.restart().await.unwrap();
    in_engine(&manager, "otlp", "installed").await;
    assert!(began.elapsed() < Duration::from_mins(5));
}
