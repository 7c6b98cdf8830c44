//! A component in Go, on gRPC's own library: what programs of others need, and what they may do wrong.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fleet_component::supervisor::{
    AgentFacts, ComponentState, Platform, Settings, Specs, Supervisor, UnitStatus,
};
use fleet_component::unit::{State, UnitKey};
use serde_json::{Map, Value, json};

use crate::host::{COMPONENT, Host, LONGEST, Written};
use crate::programs;

/// The program; `None`: it cannot be built here.
pub(crate) fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(|| programs::build(Path::new(env!("CARGO_TARGET_TMPDIR")), "component")).as_deref()
}

/// A supervisor with it as its component. `None`: it cannot be built here.
async fn start(args: &str, timeouts: &str, change: impl FnOnce(&mut Settings)) -> Option<Host> {
    let program = program()?;
    let folder = tempfile::tempdir().unwrap();
    symlink(program, folder.path().join("gopher")).unwrap();
    let spec = format!(
        "version: 2\ninputs:\n  - name: probe\n    platforms: [linux/amd64, linux/arm64]\n    outputs: [file]\n    \
         command:\n      args: [{args}]\n      timeouts: {{{timeouts}}}\n"
    );
    std::fs::write(folder.path().join("gopher.spec.yml"), spec).unwrap();
    let (specs, problems) = Specs::load(folder.path(), Platform::here());
    assert!(problems.is_empty(), "{problems:?}");
    let written = Arc::new(Written::default());
    let facts = AgentFacts { version: "9.6.0".to_owned(), ..AgentFacts::default() };
    let mut settings = Settings::new(folder.path(), facts);
    settings.logs = Arc::clone(&written) as _;
    change(&mut settings);
    let supervisor = Supervisor::start(settings).await.unwrap();
    Some(Host { supervisor, specs, written, folder })
}

fn input(id: &str, greet: &str) -> Value {
    json!({"id": id, "type": "probe", "greet": greet})
}

fn unit(id: &str) -> UnitKey {
    UnitKey::input(format!("{COMPONENT}-{id}"))
}

fn status<'a>(component: &'a ComponentState, id: &str) -> Option<&'a UnitStatus> {
    component.units.get(&unit(id))
}

/// Whether the unit is well and says this.
fn says(component: &ComponentState, id: &str, text: &str) -> bool {
    status(component, id).is_some_and(|unit| unit.state == State::Healthy && unit.message.contains(text))
}

async fn ask(host: &Host, id: &str, what: &str) -> Value {
    let params = Map::from_iter([("data".to_owned(), json!({"do": what, "whom": "you"}))]);
    let done = host.supervisor.action(COMPONENT, unit(id), "probe", params, LONGEST).await;
    Value::Object(done.unwrap())
}

/// How often it was spoken to.
fn heard(component: &ComponentState, id: &str) -> u64 {
    let payload = status(component, id).and_then(|unit| unit.payload.as_ref());
    payload.and_then(|payload| payload["heard"].as_u64()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_a_message_goes_in_pieces_both_ways() {
    let Some(host) = start("-pieces, '2000'", "", |settings| settings.max_message_size = 20_000).await else {
        return;
    };
    let greeting = "x".repeat(1000);
    let mut inputs: Vec<Value> = (0..100).map(|number| input(&format!("u{number}"), &greeting)).collect();
    host.apply(inputs.clone()).await;
    let before = host.until(|component| component.units.len() == 101 && component.is_healthy()).await;
    assert_eq!(before.version.as_ref().map(|version| version.name.as_str()), Some("go-component"));

    // One changes, and the others are not touched.
    inputs[7] = input("u7", "another");
    host.apply(inputs.clone()).await;
    let after = host.until(|component| says(component, "u7", "greet=another blob=0 idx=2")).await;
    let untouched = after.units.values().filter(|unit| unit.message.contains("idx=1")).count();
    assert_eq!((untouched, after.pid, after.restarts), (100, before.pid, 0));

    // One that fits no message is told, and stops no other.
    inputs[8] = input("u8", &"x".repeat(30_000));
    inputs[9] = input("u9", "still there");
    host.apply(inputs).await;
    let after = host.until(|component| says(component, "u9", "still there")).await;
    let large = status(&after, "u8").unwrap();
    assert!(large.state == State::Failed && large.message.contains("bytes"), "{large:#?}");
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_units_are_no_trouble() {
    let Some(host) = start("", "", |_| {}).await else { return };
    let inputs: Vec<Value> = (0..1000).map(|number| input(&format!("u{number}"), "one")).collect();
    host.apply(inputs.clone()).await;
    let before = host.until(|component| component.units.len() == 1001 && component.is_healthy()).await;
    // Nine of ten go, in one message.
    host.apply(inputs[..100].to_vec()).await;
    let after = host.until(|component| component.units.len() == 101 && component.is_healthy()).await;
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    host.supervisor.stop(Duration::from_secs(5)).await;
}

/// More than gRPC's libraries take unless they are told to.
#[tokio::test(flavor = "multi_thread")]
async fn a_unit_may_be_large() {
    const LARGE: usize = 20 << 20;
    let Some(host) = start("", "", |_| {}).await else { return };
    let mut large = input("a", "large");
    large["blob"] = "b".repeat(LARGE).into();
    host.apply(vec![large.clone(), input("b", "one")]).await;
    host.until(|component| says(component, "a", &format!("blob={LARGE} ")) && component.is_healthy()).await;
    // It is not sent again when another one changes.
    host.apply(vec![large, input("b", "two")]).await;
    let after = host.until(|component| says(component, "b", "two")).await;
    assert!(says(&after, "a", "idx=1 "), "{after:#?}");
    assert_eq!(after.restarts, 0);
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_may_go_and_come_again() {
    let Some(host) = start("", "", |_| {}).await else { return };
    for round in 0..5 {
        let text = format!("round-{round}");
        host.apply(vec![input("a", &text), input("b", &text)]).await;
        host.until(|component| says(component, "a", &text) && says(component, "b", &text)).await;
        host.apply(vec![input("a", &text)]).await;
        // Sometimes it is told to stop and has not yet, when it is wanted again.
        if round % 2 == 0 {
            host.until(|component| status(component, "b").is_none()).await;
        }
    }
    let component = host.until(|component| component.is_healthy()).await;
    assert_eq!(component.restarts, 0);
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused_and_the_component_goes_on() {
    let Some(host) = start("", "", |_| {}).await else { return };
    host.apply(vec![input("a", "one")]).await;
    let before = host.until(|component| says(component, "a", "one")).await;
    ask(&host, "a", "garbage").await;
    host.written.until(|record| record.message == "garbage: done").await;
    let answers = host.written.all();
    assert!(answers.iter().any(|record| record.message.contains("Unimplemented")), "{answers:#?}");
    // It was told of a unit that nobody wants.
    ask(&host, "a", "ghost").await;
    let ghost = UnitKey::input("nobody");
    let told = host.until(|component| component.units.contains_key(&ghost)).await;
    assert!(told.units[&ghost].message.contains("unknown"), "{told:#?}");
    host.apply(vec![input("a", "two")]).await;
    let after = host.until(|component| says(component, "a", "two")).await;
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_talks_without_end_is_heard_at_a_pace_and_spoken_to() {
    let Some(host) = start("", "", |_| {}).await else { return };
    host.apply(vec![input("a", "one")]).await;
    let before = host.until(|component| says(component, "a", "one")).await;
    let mut states = host.supervisor.states();
    ask(&host, "a", "loop").await;
    let mut changes = 0_u32;
    let counting = async {
        loop {
            states.changed().await.unwrap();
            changes += 1;
        }
    };
    // It talks for two seconds: as fast as it can that would be tens of thousands of messages.
    let window = Duration::from_secs(2);
    assert!(tokio::time::timeout(window, counting).await.is_err());
    assert!((50..400).contains(&changes), "{changes}");
    host.apply(vec![input("a", "two")]).await;
    let after = host.until(|component| says(component, "a", "two")).await;
    assert!(heard(&after, "a") < 10, "{after:#?}");
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_does_not_listen_misses_what_is_overtaken() {
    let Some(host) = start("", "", |_| {}).await else { return };
    host.apply(vec![input("a", "one")]).await;
    host.until(|component| says(component, "a", "one")).await;
    ask(&host, "a", "deaf").await;
    // Much more than its connection holds.
    for number in 0..200 {
        host.apply(vec![input("a", &format!("{number}-{}", "x".repeat(20_000)))]).await;
    }
    let after = host.until(|component| says(component, "a", "greet=199-")).await;
    assert!(heard(&after, "a") < 50, "{}", heard(&after, "a"));
    assert_eq!(after.restarts, 0);
    host.supervisor.stop(Duration::from_secs(5)).await;
}
