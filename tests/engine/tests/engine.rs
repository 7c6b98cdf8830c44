//! The harness does what it promises.

use std::time::Duration;

use fleet_test_engine::{Elastic, Engine, EngineError};
use serde_json::json;

type TestResult = Result<(), EngineError>;

const BOUND: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_was_written_is_found() -> TestResult {
    let engine = Engine::shared();
    engine.put("/harness-one/_doc/1", &json!({"message": "hello"})).await?.success()?;
    let hits = engine.wait_for("harness-one", &json!({"match": {"message": "hello"}}), 1, BOUND).await?;
    assert_eq!(hits[0]["_source"], json!({"message": "hello"}));
    assert_eq!(engine.count("harness-one", &json!({"match_all": {}})).await?, 1);
    assert!(engine.search("harness-none", &json!({"match_all": {}})).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn lines_go_into_data_streams() -> TestResult {
    let engine = Engine::shared();
    let template = json!({"index_patterns": ["logs-harness-*"], "data_stream": {}, "priority": 10});
    engine.put("/_index_template/logs-harness", &template).await?.success()?;
    let lines = "{\"create\":{}}\n{\"@timestamp\":\"2026-01-01T00:00:00Z\"}\n".repeat(3);
    let answer = engine.lines("/logs-harness-default/_bulk", lines).await?.success()?;
    assert_eq!(answer["errors"], false, "{answer}");
    engine.wait_for("logs-harness-default", &json!({"match_all": {}}), 3, BOUND).await?;
    Ok(())
}

#[tokio::test]
async fn a_wait_says_what_it_saw() {
    let waited =
        Engine::shared().wait_for("harness-never", &json!({"match_all": {}}), 1, Duration::ZERO).await;
    let text = waited.expect_err("there is nothing").to_string();
    assert!(text.contains("last seen: 0 hits"), "{text}");
}

#[tokio::test]
async fn a_refusal_carries_the_reason() {
    let reply = Engine::shared().put("/Upper", &json!({})).await.expect("an answer");
    assert_eq!(reply.status, 400);
    assert!(reply.success().expect_err("a refusal").to_string().contains("must be lowercase"));
}

#[tokio::test]
async fn data_survive_a_kill_at_the_same_address() -> TestResult {
    let engine = Engine::start().await?;
    let url = engine.url().to_owned();
    engine.put("/harness-kept/_doc/1", &json!({"n": 1})).await?.success()?;
    engine.kill().await?;
    assert!(engine.get("/").await.is_err(), "nobody answers");
    engine.restart().await?;
    assert_eq!(engine.url(), url);
    engine.wait_for("harness-kept", &json!({"match_all": {}}), 1, BOUND).await?;
    Ok(())
}

#[tokio::test]
async fn an_elasticsearch_makes_api_keys() -> TestResult {
    let Some(elastic) = Elastic::from_env() else { return Ok(()) };
    let key = elastic.post("/_security/api_key", &json!({"name": "harness"})).await?.success()?;
    let encoded = key["encoded"].as_str().expect("the key");
    let who = elastic.authorized(format!("ApiKey {encoded}")).get("/_security/_authenticate").await?;
    assert_eq!(who.success()?["api_key"]["name"], "harness");
    Ok(())
}
