//! Files on their way into the engine.

use std::time::Duration;

use serde_json::json;

use crate::engine::Engine;
use crate::world::{INDEX, World, numbered};

fn hosts(engine: &Engine) -> Vec<String> {
    vec![format!("http://{}", engine.address)]
}

#[tokio::test]
async fn lines_are_in_the_data_stream_of_their_stream_once_each() {
    let (engine, world) = (Engine::start().await, World::new());
    world.write("a.log", numbered(0..3000));
    let collector = world.start().await;
    collector.apply(world.plan(&hosts(&engine), &json!({"tags": ["x"]}))).await;
    engine.has(INDEX, 3000).await;
    world.write("a.log", numbered(3000..3005));
    engine.has(INDEX, 3005).await;
    assert!(engine.messages(INDEX).into_iter().eq(numbered(0..3005)));
    let document = &engine.documents(INDEX)[0];
    assert_eq!(document["data_stream"], json!({"type": "logs", "dataset": "app", "namespace": "prod"}));
    assert_eq!(document["agent"]["id"], "agent-1");
    assert_eq!(document["host"]["name"], "machine");
    assert_eq!(document["input"]["type"], "filestream");
    assert_eq!(document["tags"], json!(["x"]));
    assert_eq!(document["log"]["file"]["path"], world.log("a.log").to_str().unwrap());
    collector.stop(Duration::from_secs(5)).await;

    // After a restart it goes on where it stood.
    let before: usize = engine.requests().iter().sum();
    assert_eq!(before, 3005);
    world.write("a.log", numbered(3005..3010));
    let collector = world.start().await;
    collector.apply(world.plan(&hosts(&engine), &json!({}))).await;
    engine.has(INDEX, 3010).await;
    assert_eq!(engine.requests().iter().sum::<usize>(), 3010);
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_file_that_is_rotated_and_deleted_while_the_engine_is_away_is_read_to_its_end() {
    let (engine, world) = (Engine::start().await, World::new());
    engine.mood(crate::engine::Mood::Status(503));
    // More than the way to the output holds.
    let line = |number: usize| format!("line {number} {}", "x".repeat(2000));
    world.write("a.log", (0..12_000).map(line));
    let collector = world.start().await;
    collector.apply(world.plan(&hosts(&engine), &json!({}))).await;
    engine.requested(1).await;
    std::fs::rename(world.log("a.log"), world.log("a.log.1")).unwrap();
    world.write("a.log", (12_000..12_010).map(line));
    std::fs::remove_file(world.log("a.log.1")).unwrap();
    engine.mood(crate::engine::Mood::Well);
    engine.has(INDEX, 12_010).await;
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn processors_run_in_their_order_and_several_lines_become_one() {
    let (engine, world) = (Engine::start().await, World::new());
    let lines = ["2024 first", " more", "2024 DEBUG x", "2024 {\"a\":1}"];
    world.write("a.log", lines.map(str::to_owned));
    let collector = world.start().await;
    let more = json!({
        "parsers": [{"multiline": {"pattern": "^\\s", "match": "after", "timeout": "200ms"}}],
        "processors": [
            {"add_fields": {"target": "", "fields": {"env": "test"}}},
            {"drop_event": {"when": {"contains": {"message": "DEBUG"}}}},
            {"dissect": {"tokenizer": "%{year} %{rest}", "target_prefix": "d"}},
            {"decode_json_fields": {"fields": ["d.rest"], "target": "decoded"}},
            {"drop_fields": {"fields": ["d.rest"], "when": {"has_fields": ["decoded"]}}},
            {"rename": {"fields": [{"from": "env", "to": "labels.env"}]}},
        ],
    });
    collector.apply(world.plan(&hosts(&engine), &more)).await;
    engine.has(INDEX, 2).await;
    assert_eq!(engine.messages(INDEX), ["2024 first\n more", "2024 {\"a\":1}"]);
    let documents = engine.documents(INDEX);
    let decoded = documents.iter().find(|document| document["decoded"]["a"] == 1).unwrap();
    assert_eq!(decoded["labels"]["env"], "test");
    assert_eq!(decoded["d"], json!({"year": "2024"}));
    collector.stop(Duration::from_secs(5)).await;
    assert_eq!(collector.metrics().events_filtered, 1);
}
