//! Changes of the plan.

use std::time::Duration;

use fleet_collect::{Plan, UnitState};
use serde_json::json;

use crate::engine::{Engine, Mood};
use crate::world::{INDEX, World, numbered, output, until};

#[tokio::test]
async fn a_unit_that_cannot_be_built_says_why_and_stops_no_other() {
    let (engine, world) = (Engine::start().await, World::new());
    world.write("a.log", numbered(0..3));
    let mut plan = world.plan(&[format!("http://{}", engine.address)], &json!({"colour": "red"}));
    let mut bad = |id: &str, kind: &str, output: &str, more: serde_json::Value| {
        let mut unit = world.input(&more);
        unit.id = id.into();
        unit.kind = kind.into();
        unit.output = output.into();
        plan.inputs.push(unit);
    };
    bad("processor", "filestream", "default", json!({"processors": [{"teleport": {"to": "x"}}]}));
    bad("kind", "telepathy", "default", json!({}));
    bad("output", "filestream", "nowhere", json!({}));
    bad("paths", "filestream", "default", json!({"paths": ["relative/*.log"]}));
    let collector = world.start().await;
    collector.apply(plan).await;
    let states =
        until(&collector, "healthy", |states| states.inputs["input-1"].status.state == UnitState::Healthy)
            .await;
    assert!(states.inputs["input-1"].status.message.contains("colour"), "{states:?}");
    for (id, words) in [
        ("processor", "processors[0].teleport: is not a processor"),
        ("kind", "\"telepathy\" is no input"),
        ("output", "no output \"nowhere\""),
        ("paths", "not absolute"),
    ] {
        let status = &states.inputs[id].status;
        assert_eq!(status.state, UnitState::Failed, "{id}");
        assert!(status.message.contains(words), "{id}: {}", status.message);
    }
    engine.has(INDEX, 3).await;
    collector.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_did_not_change_goes_on_and_what_waits_goes_to_the_new_host() {
    let (old, new, world) = (Engine::start().await, Engine::start().await, World::new());
    old.mood(Mood::Status(503));
    world.write("a.log", numbered(0..100));
    let collector = world.start().await;
    let plan = world.plan(&[format!("http://{}", old.address)], &json!({}));
    collector.apply(plan.clone()).await;
    old.requested(1).await;
    let changed = Plan { outputs: vec![output(&[format!("http://{}", new.address)], &json!({}))], ..plan };
    collector.apply(changed.clone()).await;
    new.has(INDEX, 100).await;
    // The input was not read again: its events were made once.
    assert_eq!(collector.metrics().events_read, 100);
    collector.apply(changed).await;
    world.write("a.log", numbered(100..101));
    new.has(INDEX, 101).await;
    assert_eq!(collector.metrics().events_read, 101);
    collector.apply(Plan::default()).await;
    let states =
        until(&collector, "all gone", |states| states.inputs.is_empty() && states.outputs.is_empty()).await;
    assert!(states.storage.is_empty());
    collector.stop(Duration::from_secs(5)).await;
}
