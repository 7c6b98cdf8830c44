//! An agent's half: a supervisor, and the program in its folder of components.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_component::supervisor::{
    AgentFacts, ComponentState, Platform, Settings, Specs, States, Supervisor, UnitStatus, Wanted,
};
use fleet_component::unit::{State, UnitKey};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest time for something to come true.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);
/// The component.
pub(crate) const COMPONENT: &str = "fleet-server-default";
/// The policy of its agent.
pub(crate) const POLICY: &str = "servers";

/// A supervisor with a server that listens on two ports.
pub(crate) struct Host {
    pub(crate) supervisor: Supervisor,
    specs: Specs,
    pub(crate) port: u16,
    pub(crate) internal_port: u16,
    folder: TempDir,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

impl Host {
    pub(crate) async fn start() -> Host {
        let folder = tempfile::tempdir().expect("a directory");
        let components = folder.path().join("components");
        fs::create_dir(&components).expect("a folder");
        symlink(env!("CARGO_BIN_EXE_fleet-server"), components.join("fleet-server")).expect("the program");
        install_spec(&components, &folder.path().join("data"));
        let (specs, problems) = Specs::load(&components, Platform::here());
        assert!(problems.is_empty(), "{problems:?}");
        let facts = AgentFacts { version: "9.6.0".to_owned(), ..AgentFacts::default() };
        let mut settings = Settings::new(folder.path(), facts);
        let sockets = folder.path().join("s");
        fs::create_dir(&sockets).expect("a folder");
        settings.metrics_sockets = Some(sockets);
        let supervisor = Supervisor::start(settings).await.expect("a supervisor");
        Host { supervisor, specs, port: free_port(), internal_port: free_port(), folder }
    }

    /// What the server is at the agent's first start.
    pub(crate) fn server(&self) -> Value {
        json!({"host": "127.0.0.1", "port": self.port, "internal_port": self.internal_port})
    }

    /// Says what the server should be: an input of this id, with this in `server`.
    pub(crate) async fn apply(&self, input: &str, server: &Value, output_revision: u64) {
        let outputs = json!({"default": {
            "type": "elasticsearch",
            "hosts": ["localhost:9200"],
            "revision": output_revision,
            "bootstrap": {"protocol": "http", "hosts": ["localhost:9200"], "service_token": "s"},
        }});
        let input = json!({
            "id": input, "type": "fleet-server", "policy": {"id": POLICY}, "server": server,
            "revision": output_revision, "streams": [],
        });
        let wanted = Wanted {
            inputs: vec![input],
            outputs: outputs.as_object().cloned().expect("a map"),
            ..Wanted::default()
        };
        self.supervisor.apply(self.specs.components(&wanted)).await;
    }

    /// The component, as soon as `holds` of it.
    pub(crate) async fn until(&self, holds: impl Fn(&ComponentState) -> bool) -> Arc<ComponentState> {
        let mut states = self.supervisor.states();
        let component = |states: &States| states.components.get(COMPONENT).cloned();
        let reached = states.wait_for(|states| component(states).is_some_and(|component| holds(&component)));
        match tokio::time::timeout(LONGEST, reached).await {
            Ok(states) => component(&states.expect("a supervisor")).expect("a component"),
            Err(_) => panic!("{:#?}", self.supervisor.states().borrow()),
        }
    }

    pub(crate) async fn until_healthy(&self, input: &str) -> Arc<ComponentState> {
        let key = input_unit(input);
        self.until(|component| component.is_healthy() && component.units.contains_key(&key)).await
    }

    /// Says that the agent has enrolled.
    pub(crate) async fn enrolled(&self, id: &str) {
        let facts = AgentFacts { id: id.to_owned(), version: "9.6.0".to_owned(), ..AgentFacts::default() };
        self.supervisor.set_agent(facts).await;
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

pub(crate) fn input_unit(input: &str) -> UnitKey {
    UnitKey::input(format!("{COMPONENT}-{input}"))
}

/// The unit, if it is in this state.
pub(crate) fn in_state<'a>(
    component: &'a ComponentState,
    unit: &UnitKey,
    state: State,
) -> Option<&'a UnitStatus> {
    component.units.get(unit).filter(|status| status.state == state)
}

/// The spec file that is deployed, for a server that keeps to itself.
fn install_spec(components: &Path, data: &Path) {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/components/fleet-server.spec.yml");
    let spec = fs::read_to_string(spec).expect("the spec file");
    let arguments = format!(
        "args:\n        - \"-Edata_dir={}\"\n        - \"-E\"\n        - \"management.port=0\"\n",
        data.display()
    );
    assert!(spec.contains("args:\n"));
    fs::write(components.join("fleet-server.spec.yml"), spec.replace("args:\n", &arguments)).expect("a file");
}
