//! Changes of the plan.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_collect::{InputUnit, Plan, State};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

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
        until(&collector, "healthy", |states| states.inputs["input-1"].status.state == State::Healthy).await;
    assert!(states.inputs["input-1"].status.message.contains("colour"), "{states:?}");
    for (id, words) in [
        ("processor", "processors[0].teleport: is not a processor"),
        ("kind", "\"telepathy\" is no input"),
        ("output", "no output \"nowhere\""),
        ("paths", "not absolute"),
    ] {
        let status = &states.inputs[id].status;
        assert_eq!(status.state, State::Failed, "{id}");
        assert!(status.message.contains(words), "{id}: {}", status.message);
    }
    engine.has(INDEX, 3).await;
    collector.stop(Duration::from_secs(5)).await;
}

/// Kinds of inputs, settings with mistakes, and which settings they are in.
fn mistaken() -> [(&'static str, Value, &'static [&'static str]); 7] {
    [
        (
            "filestream",
            json!({
                "paths": ["relative"], "encoding": "klingon", "harvester_limit": "many", "backoff.init": "soon",
                "parsers": [{"nothing": {}}], "processors": [{"teleport": {}}, {"drop_fields": {}}],
                "data_stream.dataset": "Big", "tags": {"a": 1},
            }),
            &[
                "processors[0].teleport",
                "processors[1].drop_fields.fields",
                "paths",
                "harvester_limit",
                "backoff.init",
                "encoding",
                "parsers[0].nothing",
                "data_stream.dataset",
                "tags",
            ],
        ),
        (
            "journald",
            json!({"seek": "end", "priorities": [9], "units": [""], "since": [], "data_stream.type": "?"}),
            &["since", "seek", "units", "priorities", "data_stream.type"],
        ),
        (
            "tcp",
            json!({"framing": "x", "network": "udp7", "max_connections": -1, "ssl.certificate": "/c.pem"}),
            &["framing", "max_connections", "ssl.key", "network", "host"],
        ),
        ("unix", json!({"mode": "999", "socket_type": "x"}), &["path", "socket_type", "mode"]),
        (
            "system/metrics",
            json!({"period": "1ms", "metricsets": ["cpu", "gpu"], "cpu.metrics": ["x"]}),
            &["period", "cpu.metrics", "metricsets"],
        ),
        (
            "otlp",
            json!({"signal": "smoke", "protocols": {"grpc": {"endpoint": "x"}, "http": {"tls": {"cert_file": "/c"}}}}),
            &["signal", "protocols.grpc.endpoint", "protocols.http.tls.key_file"],
        ),
        (
            "prometheus/metrics",
            json!({"period": "1ms", "hosts": [], "headers": {"a b": "c"}, "ssl.verification_mode": "maybe"}),
            &["period", "hosts", "headers.a b", "ssl.verification_mode"],
        ),
    ]
}

#[tokio::test]
async fn all_mistakes_of_a_unit_are_told_at_once() {
    let world = World::new();
    let wrong = mistaken();
    let mut inputs = Vec::new();
    for (kind, settings, _) in &wrong {
        let mut config = settings.as_object().unwrap().clone();
        config.insert("type".into(), json!(kind));
        let kind = (*kind).to_owned();
        inputs.push(InputUnit { id: kind.clone(), kind, output: "default".into(), config });
    }
    let outputs = vec![output(
        &[],
        &json!({"preset": "fast", "compression_level": 11, "timeout": "x", "ssl.verification_mode": "y", "queue.disk.max_size": "z"}),
    )];
    let collector = world.start().await;
    collector.apply(Plan { inputs, outputs }).await;
    let fields = |message: &str| -> Vec<String> {
        message.split("; ").map(|part| part.split(": ").next().unwrap().to_owned()).collect()
    };
    let states = until(&collector, "all failed", |states| {
        states.inputs.len() == wrong.len()
            && states.inputs.values().all(|input| input.status.state == State::Failed)
    })
    .await;
    for (kind, _, expected) in wrong {
        let status = states.inputs[kind].streams.values().next().unwrap();
        assert_eq!(fields(&status.message), expected, "{kind}: {}", status.message);
    }
    let expected =
        ["queue.disk.max_size", "preset", "hosts", "compression_level", "timeout", "ssl.verification_mode"];
    assert_eq!(fields(&states.outputs["default"].status.message), expected);
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

/// Keeps the warnings of this thread.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn what_cannot_be_built_is_logged_once() {
    let (warnings, world) = (Warnings::default(), World::new());
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let collector = world.start().await;
    let logged = || std::mem::take(&mut *warnings.0.lock().unwrap());
    let mut plan = world.plan(&[], &json!({"paths": ["relative/*.log"]}));
    let mut unknown = world.input(&json!({}));
    (unknown.id, unknown.kind) = ("other".into(), "telepathy".into());
    plan.inputs.push(unknown);
    collector.apply(plan.clone()).await;
    let first = logged();
    for words in [
        ["output=\"default\"", "hosts: "],
        ["stream=\"stream-1\"", "absolute"],
        ["input=\"other\"", "telepathy"],
    ] {
        let found = first.iter().filter(|line| words.iter().all(|word| line.contains(word))).count();
        assert_eq!(found, 1, "{words:?}: {first:#?}");
    }
    collector.apply(plan.clone()).await;
    assert_eq!(logged(), Vec::<String>::new());
    plan.inputs[1].kind = "clairvoyance".into();
    collector.apply(plan).await;
    assert!(matches!(&logged()[..], [line] if line.contains("clairvoyance")));
    collector.stop(Duration::from_secs(5)).await;
}
