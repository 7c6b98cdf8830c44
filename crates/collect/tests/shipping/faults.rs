//! An engine in trouble: nothing is lost, nothing is sent for ever, and the state says why.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet_collect::{Collector, State, Status};
use serde_json::{Value, json};

use crate::engine::{Engine, Mood};
use crate::world::{INDEX, World, die, numbered, until};

fn message(document: &Value) -> &str {
    document["document"]["message"].as_str().unwrap()
}

/// Nobody else may read what is there.
fn assert_private(path: &Path) {
    let metadata = std::fs::metadata(path).unwrap();
    let mode = if metadata.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(metadata.permissions().mode() & 0o777, mode, "{}", path.display());
    if metadata.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| assert_private(&entry.unwrap().path()));
    }
}

#[tokio::test]
async fn an_engine_that_is_away_makes_events_wait() {
    let (engine, world) = (Engine::start().await, World::new());
    for status in [503, 429, 401, 403, 404] {
        engine.mood(Mood::Status(status));
        world.write("a.log", [format!("during {status}")]);
    }
    engine.mood(Mood::Status(503));
    let collector = world.start().await;
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    for (status, words) in [
        (503, "answers 503"),
        (429, "busy (429)"),
        (401, "check api_key"),
        (403, "create_doc"),
        (404, "check the path"),
    ] {
        engine.mood(Mood::Status(status));
        until(&collector, words, |states| {
            states.outputs.get("default").is_some_and(|output| {
                output.status.state == State::Degraded && output.status.message.contains(words)
            })
        })
        .await;
    }
    assert!(engine.documents(INDEX).is_empty());
    engine.mood(Mood::Well);
    engine.has(INDEX, 5).await;
    until(&collector, "healthy again", |states| states.outputs["default"].status.state == State::Healthy)
        .await;
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn only_what_was_refused_is_sent_again() {
    let (engine, world) = (Engine::start().await, World::new());
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refusals);
    engine.mood(Mood::Each(Box::new(move |document| {
        let odd = message(document).ends_with('7') && count.fetch_add(1, Ordering::Relaxed) < 15;
        if odd { (429, "es_rejected_execution_exception") } else { (201, "") }
    })));
    world.write("a.log", numbered(0..100));
    let collector = world.start().await;
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    engine.has(INDEX, 100).await;
    assert_eq!(engine.requests(), [100, 10, 5]);
    collector.stop(Duration::from_secs(5)).await;
    assert_eq!(collector.metrics().events_retried, 15);
}

#[tokio::test]
async fn what_is_refused_for_good_is_a_dead_letter() {
    let (engine, world) = (Engine::start().await, World::new());
    engine.mood(Mood::Each(Box::new(|document| match document["index"].as_str() {
        Some(INDEX) if message(document) == "line 3" => (400, "mapper_parsing_exception"),
        _ => (201, ""),
    })));
    world.write("a.log", numbered(0..5));
    let collector = world.start().await;
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    let dead = "logs-elastic_agent.dead_letter-prod";
    engine.has(dead, 1).await;
    engine.has(INDEX, 4).await;
    let letter = &engine.documents(dead)[0];
    assert_eq!(letter["error"]["type"], "mapper_parsing_exception");
    assert!(letter["message"].as_str().unwrap().contains("line 3"));
    assert_eq!(letter["labels"]["index"], INDEX);
    until(&collector, "the state tells it", |states| {
        let status = &states.outputs["default"].status;
        status.state == State::Degraded && status.message.contains("1 events were refused for good")
    })
    .await;
    world.write("a.log", ["line 5".to_owned()]);
    until(&collector, "it is over", |states| {
        let status = &states.outputs["default"].status;
        status.state == State::Healthy && status.message.contains("1 events were refused for good")
    })
    .await;
    collector.stop(Duration::from_secs(5)).await;
    let metrics = collector.metrics();
    assert_eq!((metrics.events_dead_lettered, metrics.events_lost), (1, 0));
}

/// The engine takes all lines but one, and no dead letter.
fn refuse_line_3_and_its_letter(engine: &Engine) {
    engine.mood(Mood::Each(Box::new(|document| match document["index"].as_str() {
        Some(INDEX) if message(document) == "line 3" => (400, "mapper_parsing_exception"),
        Some(INDEX) => (201, ""),
        _ => (403, "security_exception"),
    })));
}

/// How the output is when nothing is on its way any more: that an event is gone is still told.
async fn status_after_the_next_line(engine: &Engine, world: &World, collector: &Collector) -> Status {
    assert_eq!(engine.documents(INDEX).len(), 4);
    world.write("a.log", ["line 5".to_owned()]);
    engine.has(INDEX, 5).await;
    let acknowledged = async {
        while collector.metrics().events_acknowledged < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), acknowledged).await.unwrap();
    let status = collector.states().borrow().outputs["default"].status.clone();
    assert_eq!(status.state, State::Degraded, "{}", status.message);
    status
}

#[tokio::test]
async fn a_dead_letter_that_is_refused_too_is_kept_in_a_file() {
    let (engine, world) = (Engine::start().await, World::new());
    refuse_line_3_and_its_letter(&engine);
    world.write("a.log", numbered(0..5));
    let collector = world.start().await;
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    until(&collector, "the state tells it", |states| {
        states
            .outputs
            .get("default")
            .is_some_and(|output| output.status.message.contains("1 refused there, too, and kept in "))
    })
    .await;
    let output = status_after_the_next_line(&engine, &world, &collector).await;
    collector.stop(Duration::from_secs(5)).await;
    let path = world.directory.path().join("data/dead-letters/default.ndjson");
    assert!(output.message.contains(&path.display().to_string()), "{}", output.message);
    let letter: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert!(letter["message"].as_str().unwrap().contains("line 3"), "{letter}");
    assert_eq!(letter["error"]["type"], "mapper_parsing_exception");
    assert_private(&world.directory.path().join("data"));
    assert_eq!((collector.metrics().events_kept, collector.metrics().events_lost), (1, 0));
}

#[tokio::test]
async fn a_dead_letter_that_nothing_takes_is_counted_as_lost() {
    let (engine, world) = (Engine::start().await, World::new());
    refuse_line_3_and_its_letter(&engine);
    world.write("a.log", numbered(0..5));
    let collector = world.start().await;
    std::fs::write(world.directory.path().join("data/dead-letters"), "no directory").unwrap();
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    until(&collector, "the state tells it", |states| {
        states
            .outputs
            .get("default")
            .is_some_and(|output| output.status.message.contains("1 lost, since they could not be kept"))
    })
    .await;
    status_after_the_next_line(&engine, &world, &collector).await;
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_engine_that_never_answers_is_told_long_before_the_request_is_given_up() {
    let (engine, world) = (Engine::start().await, World::new());
    engine.mood(Mood::Silent);
    world.write("a.log", numbered(0..5));
    let collector = world.start().await;
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    let words = format!("http://{} has not answered for 10s; events wait", engine.address);
    until(&collector, &words, |states| {
        states
            .outputs
            .get("default")
            .is_some_and(|output| output.status.state == State::Degraded && output.status.message == words)
    })
    .await;
    let end = collector.stop(Duration::from_secs(600));
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("the end does not wait for an answer");
}

#[tokio::test]
async fn what_an_operator_has_to_allow_waits_and_holds_up_nobody_else() {
    let (engine, world) = (Engine::start().await, World::new());
    engine.mood(Mood::Each(Box::new(|document| match message(document) {
        "line 3" => (403, "security_exception"),
        _ => (201, ""),
    })));
    world.write("a.log", numbered(0..5));
    let collector = world.start().await;
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    until(&collector, "it says what is missing", |states| {
        states.outputs.get("default").is_some_and(|output| {
            let message = &output.status.message;
            message.contains("auto_configure and create_doc") && message.contains(INDEX)
        })
    })
    .await;
    engine.has(INDEX, 4).await;
    engine.mood(Mood::Well);
    engine.has(INDEX, 5).await;
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_split() {
    let (engine, world) = (Engine::start().await, World::new());
    engine.mood(Mood::Status(413));
    world.write("a.log", numbered(0..100));
    let collector = world.start().await;
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    engine.requested(3).await;
    engine.mood(Mood::Well);
    engine.has(INDEX, 100).await;
    assert_eq!(engine.requests()[..3], [100, 50, 25]);
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn hosts_that_fail_are_rested_and_others_take_over() {
    let (bad, good, world) = (Engine::start().await, Engine::start().await, World::new());
    bad.mood(Mood::Status(500));
    let collector = world.start().await;
    let hosts = [format!("http://{}", bad.address), format!("http://{}", good.address)];
    collector.apply(world.plan(&hosts, &json!({}))).await;
    for round in 0..6 {
        world.write("a.log", [format!("round {round}")]);
        good.has(INDEX, round + 1).await;
    }
    assert!(!bad.requests().is_empty());
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn after_a_crash_what_the_engine_has_is_not_there_twice() {
    let (engine, world) = (Engine::start().await, World::new());
    for round in 0..5 {
        world.write("a.log", numbered(round * 2000..round * 2000 + 2000));
        let collector = world.start().await;
        collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
        engine.has(INDEX, round * 2000 + 500).await;
        die(collector).await;
    }
    let collector = world.start().await;
    collector.apply(world.plan(&[format!("http://{}", engine.address)], &json!({}))).await;
    engine.has(INDEX, 10_000).await;
    collector.stop(Duration::from_secs(5)).await;
    assert!(engine.messages(INDEX).into_iter().eq(numbered(0..10_000)), "each line once, in order");
    assert!(engine.requests().iter().sum::<usize>() > 10_000, "some were sent twice");
}

#[tokio::test]
async fn the_end_does_not_wait_for_an_engine_that_is_away() {
    let (engine, world) = (Engine::start().await, World::new());
    engine.mood(Mood::Status(503));
    world.write("a.log", numbered(0..5));
    let collector = world.start().await;
    let plan = world.plan(&[format!("http://{}", engine.address)], &json!({}));
    collector.apply(plan.clone()).await;
    until(&collector, "it is known to be away", |states| {
        states.outputs.get("default").is_some_and(|output| output.status.state == State::Degraded)
    })
    .await;
    let end = collector.stop(Duration::from_secs(600));
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("the end does not wait the whole grace");
    // What was on its way is read again.
    engine.mood(Mood::Well);
    let collector = world.start().await;
    collector.apply(plan).await;
    engine.has(INDEX, 5).await;
    collector.stop(Duration::from_secs(5)).await;
}
