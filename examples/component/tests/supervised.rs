//! The example, under our supervisor.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fleet_component::supervisor::{AgentFacts, Platform, Settings, Specs, States, Supervisor, Wanted};
use fleet_component::unit::{State, UnitKey};
use serde_json::{Map, Value, json};

const LONGEST: Duration = Duration::from_secs(20);

/// The program and its spec file in a folder, as an agent has them.
fn install(folder: &Path) -> Specs {
    let binary = folder.join("example-component");
    fs::copy(env!("CARGO_BIN_EXE_example-component"), &binary).expect("the program");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("its mode");
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("example-component.spec.yml");
    fs::copy(spec, folder.join("example-component.spec.yml")).expect("its spec file");
    let (specs, problems) = Specs::load(folder, Platform::here());
    assert!(problems.is_empty(), "{problems:?}");
    specs
}

fn wanted(input: Value) -> Wanted {
    let outputs = json!({"default": {"type": "elasticsearch", "hosts": ["https://localhost:9200"]}});
    Wanted { inputs: vec![input], outputs: outputs.as_object().cloned().expect("a map"), ..Wanted::default() }
}

async fn until(supervisor: &Supervisor, holds: impl Fn(&States) -> bool) {
    let mut states = supervisor.states();
    let reached = tokio::time::timeout(LONGEST, states.wait_for(|states| holds(states))).await;
    assert!(reached.is_ok(), "{:#?}", supervisor.states().borrow());
}

#[tokio::test]
async fn it_greets_whom_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a directory");
    let specs = install(folder.path());
    let settings = Settings::new(folder.path(), AgentFacts::default());
    let supervisor = Supervisor::start(settings).await.expect("a supervisor");
    supervisor
        .apply(specs.components(&wanted(json!({"id": "a", "type": "greeting", "greet": "world"}))))
        .await;
    let unit = UnitKey::input("greeting-default-a");
    let says = |states: &States, state: State, message: &str| {
        let component = states.components.get("greeting-default");
        let unit = component.and_then(|component| component.units.get(&unit));
        unit.is_some_and(|unit| unit.state == state && unit.message == message)
    };
    until(&supervisor, |states| says(states, State::Healthy, "Hello, world!")).await;

    supervisor.apply(specs.components(&wanted(json!({"id": "a", "type": "greeting"})))).await;
    until(&supervisor, |states| says(states, State::Failed, "greet is missing: name whom to greet")).await;

    let params = Map::from_iter([("data".to_owned(), json!({"whom": "you"}))]);
    let done = supervisor.action("greeting-default", unit.clone(), "greet", params, LONGEST).await;
    assert_eq!(done.map(Value::Object), Ok(json!({"greeted": "you"})));

    supervisor.stop(Duration::from_secs(5)).await;
    let states = supervisor.states().borrow().clone();
    assert_eq!(states.components["greeting-default"].state, State::Stopped);
}
