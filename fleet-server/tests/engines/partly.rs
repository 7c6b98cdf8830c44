//! Packages that use what an engine does not have.

use fleet_test_engine::Engine;
use serde_json::json;

use crate::archives::{files, zip};
use crate::{in_engine, server_with};

#[tokio::test]
async fn what_an_engine_can_have_of_a_package_is_there_although_it_refuses_the_rest() {
    let engine = Engine::start().await.unwrap();
    let (_server, manager) = server_with(engine.url(), "", &[]).await;
    let mut all = files("half", "1.0.0", "");
    let stream = "title: Errors\ntype: logs\nstreams:\n  - input: filestream\n    title: Errors\n";
    let unknown = "processors: [{no_such_processor: {field: message}}]\n";
    all.extend([
        ("half-1.0.0/data_stream/error/manifest.yml".to_owned(), stream.into()),
        ("half-1.0.0/data_stream/error/agent/stream/stream.yml.hbs".to_owned(), "paths: [/a]\n".into()),
        ("half-1.0.0/data_stream/error/elasticsearch/ingest_pipeline/default.yml".to_owned(), unknown.into()),
    ]);
    let answer = manager.fetch("POST", "/api/fleet/epm/packages", zip(&all)).await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());

    let told = in_engine(&manager, "half", "install_failed").await;
    let message = told["message"].as_str().unwrap();
    assert!(
        message.contains("no_such_processor") && message.contains("the rest of the package"),
        "{message}"
    );
    let ids: Vec<&str> =
        told["assets"].as_array().unwrap().iter().filter_map(|asset| asset["id"].as_str()).collect();
    assert!(ids.contains(&"logs-half.access") && !ids.contains(&"logs-half.error"), "{ids:?}");
    for (path, status) in [
        ("/_index_template/logs-half.access", 200),
        ("/_ingest/pipeline/logs-half.access-1.0.0", 200),
        // It would turn every document away: its pipeline is not there.
        ("/_index_template/logs-half.error", 404),
    ] {
        assert_eq!(engine.get(path).await.unwrap().status, status, "{path}");
    }

    // The next version can be had whole, and takes the place of the first.
    for (path, content) in &mut all {
        *path = path.replace("1.0.0", "1.1.0");
        *content = String::from_utf8_lossy(content)
            .replace("version: 1.0.0", "version: 1.1.0")
            .replace(unknown, "processors: []")
            .into_bytes();
    }
    let answer = manager.fetch("POST", "/api/fleet/epm/packages", zip(&all)).await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    let told = in_engine(&manager, "half", "installed").await;
    assert_eq!(told["message"], json!(null), "{told}");
    for (path, status) in
        [("/_index_template/logs-half.error", 200), ("/_ingest/pipeline/logs-half.access-1.0.0", 404)]
    {
        assert_eq!(engine.get(path).await.unwrap().status, status, "{path}");
    }
}
