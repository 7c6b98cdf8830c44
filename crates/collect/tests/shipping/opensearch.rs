//! Into a real engine: found by a search in the data stream that the policy names.

use std::time::Duration;

use fleet_collect::{Plan, State};
use fleet_test_engine::{Client, Elastic, Engine};
use serde_json::{Value, json};

use crate::world::{World, die, numbered, output, until};

/// A data stream for logs, with a field that takes numbers alone.
async fn template(engine: &Client, name: &str) {
    template_in(engine, name, "prod").await;
}

async fn template_in(engine: &Client, name: &str, namespace: &str) {
    let template = json!({
        "index_patterns": [format!("logs-{name}-{namespace}")],
        "data_stream": {},
        "priority": 200,
        "template": {
            "settings": {"number_of_replicas": 0},
            "mappings": {"properties": {"json": {"properties": {"number": {"type": "long"}}}}},
        },
    });
    engine.put(&format!("/_index_template/{name}"), &template).await.unwrap().success().unwrap();
}

fn plan(world: &World, engine: &Client, dataset: &str, more: &Value) -> Plan {
    plan_with(world, engine, &json!({}), dataset, more)
}

/// The same where somebody has to log in.
fn plan_with(world: &World, engine: &Client, login: &Value, dataset: &str, more: &Value) -> Plan {
    let mut more = more.clone();
    more["data_stream"] = json!({"dataset": dataset, "type": "logs"});
    let outputs = vec![output(&[engine.url().to_owned()], login)];
    Plan { inputs: vec![world.input(&more)], outputs }
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn lines_of_a_growing_file_are_found_and_bad_documents_are_dead_letters() {
    grows_and_buries(Engine::shared(), &json!({})).await;
}

#[tokio::test]
async fn the_same_on_elasticsearch_with_a_login() {
    let Some(elastic) = Elastic::from_env() else { return };
    let login = json!({"username": elastic.user(), "password": elastic.password()});
    grows_and_buries(&elastic, &login).await;
}

async fn grows_and_buries(engine: &Client, login: &Value) {
    let world = World::new();
    // The engine may have seen this test before.
    let dataset = format!("growing{}", std::process::id());
    let (stream, all) = (format!("logs-{dataset}-prod"), json!({"match_all": {}}));
    template(engine, &dataset).await;
    template(engine, "elastic_agent.dead_letter").await;
    world.write("a.log", [r#"{"number": 1}"#.to_owned(), r#"{"number": "many"}"#.to_owned()]);
    let collector = world.start().await;
    let ndjson = json!({"parsers": [{"ndjson": {}}]});
    collector.apply(plan_with(&world, engine, login, &dataset, &ndjson)).await;
    let hits = engine.wait_for(&stream, &all, 1, PATIENCE).await.unwrap();
    assert_eq!(hits[0]["_source"]["json"]["number"], 1);
    let buried = json!({"match_phrase": {"labels.index": stream}});
    let dead = engine.wait_for("logs-elastic_agent.dead_letter-prod", &buried, 1, PATIENCE).await.unwrap();
    let letter = &dead[0]["_source"];
    assert!(letter["message"].as_str().unwrap().contains("many"), "{letter}");
    assert!(letter["error"]["message"].as_str().unwrap().contains("number"), "{letter}");
    world.write("a.log", [r#"{"number": 2}"#.to_owned()]);
    engine.wait_for(&stream, &json!({"match": {"json.number": 2}}), 1, PATIENCE).await.unwrap();
    collector.stop(Duration::from_secs(5)).await;
    assert_eq!(collector.metrics().events_lost, 0);
}

#[tokio::test]
async fn events_wait_for_the_template_of_their_data_stream_and_others_do_not_wait_for_them() {
    let (engine, world) = (Engine::shared(), World::new());
    template(engine, "there").await;
    world.write("a.log", numbered(0..10));
    let collector = world.start().await;
    let mut both = plan(&world, engine, "there", &json!({}));
    let mut other =
        world.input(&json!({"id": "stream-2", "data_stream": {"dataset": "later", "type": "logs"}}));
    other.id = "input-2".to_owned();
    both.inputs.push(other);
    collector.apply(both).await;
    let told = until(&collector, "the template is missing", |states| {
        states.outputs.get("default").is_some_and(|output| output.status.state == State::Degraded)
    })
    .await;
    let message = &told.outputs["default"].status.message;
    assert!(message.contains("logs-later-prod") && message.contains("index template"), "{message}");
    world.write("a.log", numbered(10..20));
    let all = json!({"match_all": {}});
    engine.wait_for("logs-there-prod", &all, 20, PATIENCE).await.unwrap();
    assert_eq!(engine.get("/logs-later-prod").await.unwrap().status, 404);
    template(engine, "later").await;
    engine.wait_for("logs-later-prod", &all, 20, PATIENCE).await.unwrap();
    let made = engine.get("/_data_stream/logs-later-prod").await.unwrap().success().unwrap();
    assert_eq!(made["data_streams"][0]["name"], "logs-later-prod");
    until(&collector, "the output is well again", |states| {
        states.outputs.get("default").is_some_and(|output| output.status.state == State::Healthy)
    })
    .await;
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn dead_letters_without_a_template_are_kept_here_and_make_no_plain_index() {
    let (engine, world) = (Engine::shared(), World::new());
    template_in(engine, "alone", "alone").await;
    world.write("a.log", [r#"{"number": "many"}"#.to_owned(), r#"{"number": 1}"#.to_owned()]);
    let collector = world.start().await;
    let mut plan = plan(&world, engine, "alone", &json!({"parsers": [{"ndjson": {}}]}));
    plan.inputs[0].config["streams"][0]["data_stream"]["namespace"] = "alone".into();
    collector.apply(plan).await;
    engine.wait_for("logs-alone-alone", &json!({"match_all": {}}), 1, PATIENCE).await.unwrap();
    let told = until(&collector, "the letter is kept", |states| {
        states.outputs.get("default").is_some_and(|output| output.status.message.contains("kept in"))
    })
    .await;
    assert_eq!(told.outputs["default"].status.state, State::Degraded);
    assert_eq!(collector.metrics().events_lost, 0);
    assert_eq!(engine.get("/logs-elastic_agent.dead_letter-alone").await.unwrap().status, 404);
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn each_line_is_there_once_although_the_collector_and_the_engine_die() {
    let (engine, world) = (Engine::start().await.unwrap(), World::new());
    template(&engine, "deaths").await;
    let all = json!({"match_all": {}});
    for round in 0..3 {
        world.write("a.log", numbered(round * 3000..round * 3000 + 3000));
        let collector = world.start().await;
        collector.apply(plan(&world, &engine, "deaths", &json!({}))).await;
        engine.wait_for("logs-deaths-prod", &all, 1, PATIENCE).await.unwrap();
        die(collector).await;
        std::fs::rename(world.log("a.log"), world.log(&format!("rotated-{round}.log"))).unwrap();
    }
    engine.kill().await.unwrap();
    world.write("a.log", numbered(9000..9100));
    let collector = world.start().await;
    collector.apply(plan(&world, &engine, "deaths", &json!({}))).await;
    until(&collector, "the engine is away", |states| {
        states.outputs.get("default").is_some_and(|output| output.status.state == State::Degraded)
    })
    .await;
    engine.restart().await.unwrap();
    engine.wait_for("logs-deaths-prod", &all, 9100, PATIENCE).await.unwrap();
    collector.stop(Duration::from_secs(5)).await;
    assert_eq!(engine.count("logs-deaths-prod", &all).await.unwrap(), 9100);
}
