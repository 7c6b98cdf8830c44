//! A supervisor with the probe as its component.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_component::supervisor::{
    AgentFacts, ComponentState, Launcher, LogRecord, LogSink, Platform, Settings, Specs, States, Supervisor,
    Wanted,
};
use fleet_component::unit::UnitKey;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest time for something to come true.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);
/// The component.
pub(crate) const COMPONENT: &str = "probe-default";

/// What components have written.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<Vec<LogRecord>>);

impl LogSink for Written {
    fn write(&self, record: LogRecord) {
        self.0.lock().unwrap().push(record);
    }
}

impl Written {
    pub(crate) fn all(&self) -> Vec<LogRecord> {
        self.0.lock().unwrap().clone()
    }

    /// The last ones, for whoever looks for the reason of something.
    fn last(&self) -> String {
        let all = self.0.lock().unwrap();
        let lines =
            all.iter().rev().take(20).rev().map(|record| &record.message[..record.message.len().min(300)]);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Waits for a line that `holds`.
    pub(crate) async fn until(&self, holds: impl Fn(&LogRecord) -> bool) -> LogRecord {
        let looking = async {
            loop {
                if let Some(found) = self.all().into_iter().find(|record| holds(record)) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LONGEST, looking).await.expect("a line")
    }
}

pub(crate) struct Host {
    pub(crate) supervisor: Supervisor,
    pub(crate) specs: Specs,
    pub(crate) written: Arc<Written>,
    pub(crate) folder: TempDir,
}

/// The probe and its spec file in `folder`.
pub(crate) fn install(folder: &Path, mode: &str, timeouts: &str) -> Specs {
    symlink(env!("CARGO_BIN_EXE_component-probe"), folder.join("probe")).unwrap();
    let spec = format!(
        "version: 2\ninputs:\n  - name: probe\n    platforms: [linux/amd64, linux/arm64]\n    outputs: [file]\n    \
         command:\n      args: [{mode}]\n      timeouts: {{{timeouts}}}\n      env: [{{name: A, value: b}}]\n"
    );
    fs::write(folder.join("probe.spec.yml"), spec).unwrap();
    let (specs, problems) = Specs::load(folder, Platform::here());
    assert!(problems.is_empty(), "{problems:?}");
    specs
}

impl Host {
    pub(crate) async fn start(mode: &str, timeouts: &str) -> Host {
        Host::start_with(mode, timeouts, Launcher::default()).await
    }

    pub(crate) async fn start_with(mode: &str, timeouts: &str, launcher: Launcher) -> Host {
        let folder = tempfile::tempdir().unwrap();
        let specs = install(folder.path(), mode, timeouts);
        let written = Arc::new(Written::default());
        let mut settings = Settings::new(folder.path(), AgentFacts::default());
        settings.logs = Arc::clone(&written) as _;
        settings.launcher = launcher;
        let supervisor = Supervisor::start(settings).await.unwrap();
        let host = Host { supervisor, specs, written, folder };
        host.say("one").await;
        host
    }

    /// Has its one input say this.
    pub(crate) async fn say(&self, text: &str) {
        self.apply(vec![json!({"id": "a", "type": "probe", "say": text})]).await;
    }

    pub(crate) async fn apply(&self, inputs: Vec<Value>) {
        let outputs = json!({"default": {"type": "file"}});
        let outputs = outputs.as_object().cloned().unwrap();
        let wanted = Wanted { inputs, outputs, ..Wanted::default() };
        self.supervisor.apply(self.specs.components(&wanted)).await;
    }

    pub(crate) async fn until(&self, holds: impl Fn(&ComponentState) -> bool) -> Arc<ComponentState> {
        self.until_of(COMPONENT, holds).await
    }

    pub(crate) async fn until_of(
        &self,
        id: &str,
        holds: impl Fn(&ComponentState) -> bool,
    ) -> Arc<ComponentState> {
        let mut states = self.supervisor.states();
        let component = |states: &States| states.components.get(id).cloned();
        let reached = states.wait_for(|states| component(states).is_some_and(|component| holds(&component)));
        match tokio::time::timeout(LONGEST, reached).await {
            Ok(states) => component(&states.unwrap()).unwrap(),
            Err(_) => panic!("{}\n{:#?}", self.written.last(), self.supervisor.states().borrow()),
        }
    }
}

/// What the input says last.
pub(crate) fn input_message(component: &ComponentState) -> &str {
    component.units.get(&UnitKey::input("probe-default-a")).map_or("", |unit| unit.message.as_str())
}
