//! The workloads of an agent that has enrolled.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_component::supervisor::AgentFacts as ComponentFacts;
use serde_json::Value;
use tokio::sync::watch;

use super::collector::Collecting;
use super::components::Components;
use super::otelcol::Otelcol;
use super::{State, States, UnitState, Workload, Workloads};
use crate::fleet::Action;
use crate::machine::Machine;
use crate::paths::Paths;
use crate::policy::{Input, Output};

/// The folder of spec files, beside the program.
pub(crate) const FOLDER: &str = "components";

/// Starts what carries out inputs. What cannot be started fails its inputs, and nothing else.
///
/// `collector`: where an OpenTelemetry collector is; `None`: it is looked for among the components.
pub async fn start(paths: &Paths, agent_id: &str, collector: Option<PathBuf>) -> Workloads {
    let version = crate::version::current();
    let settings = fleet_collect::Settings {
        data: paths.collector(),
        agent: fleet_collect::AgentFacts {
            id: agent_id.to_owned(),
            version: version.to_owned(),
            name: Machine::read().hostname,
            ephemeral_id: uuid::Uuid::new_v4().to_string(),
        },
        host_name: None,
    };
    let mut all: Vec<Arc<dyn Workload>> = Vec::new();
    match Collecting::start(settings).await {
        Ok(collecting) => all.push(collecting),
        Err(reason) => {
            tracing::error!(reason, "the collector cannot be started");
            all.push(Arc::new(Unavailable { reason, states: watch::Sender::new(Arc::default()) }));
        }
    }
    all.extend(components(paths, agent_id));
    all.push(Arc::new(Otelcol::new(paths, collector, folders(paths))));
    Workloads::new(all)
}

/// What supervises components, if there are any. `agent_id`: empty until the agent has enrolled.
#[must_use]
pub fn components(paths: &Paths, agent_id: &str) -> Option<Arc<dyn Workload>> {
    let version = crate::version::current();
    let facts = ComponentFacts {
        id: agent_id.to_owned(),
        version: version.to_owned(),
        is_snapshot: version.contains("SNAPSHOT"),
        is_standalone: false,
        is_unprivileged: !rustix::process::geteuid().is_root(),
    };
    let found = folders(paths)
        .into_iter()
        .find_map(|folder| Components::find(&folder, &paths.components(), facts.clone()));
    found.map(|components| components as Arc<dyn Workload>)
}

/// Where components may lie: beside the program, and in the agent's home.
fn folders(paths: &Paths) -> Vec<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.canonicalize().ok()?.parent()?.join(FOLDER)));
    beside.into_iter().chain([paths.home.join(FOLDER)]).collect()
}

/// Stands in for a collector that cannot be started.
#[derive(Debug)]
struct Unavailable {
    reason: String,
    states: watch::Sender<Arc<States>>,
}

#[async_trait]
impl Workload for Unavailable {
    fn name(&self) -> &'static str {
        "collector"
    }

    fn takes(&self, kind: &str) -> bool {
        fleet_collect::handles(kind)
    }

    async fn apply(&self, inputs: Vec<Input>, _outputs: Vec<Output>) {
        let failed = |input: Input| (input.id, UnitState::new(State::Failed, self.reason.clone()));
        let states = States { inputs: inputs.into_iter().map(failed).collect(), ..States::default() };
        self.states.send_replace(Arc::new(states));
    }

    fn states(&self) -> watch::Receiver<Arc<States>> {
        self.states.subscribe()
    }

    async fn act(&self, _action: &Action) -> Result<Value, String> {
        Err(self.reason.clone())
    }

    async fn diagnostics(&self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }

    fn metrics(&self) -> String {
        String::new()
    }

    async fn stop(&self, _grace: Duration) {}
}
