//! The workloads of an agent that has enrolled.

use std::path::PathBuf;
use std::sync::Arc;

use fleet_component::supervisor::{AgentFacts as ComponentFacts, Platform, StartError};

use super::collector::Collecting;
use super::components::Components;
use super::otelcol::Otelcol;
use super::unavailable::Unavailable;
use super::{Workload, Workloads};
use crate::machine::Machine;
use crate::paths::Paths;

/// The folder of spec files, beside the program.
pub(crate) const FOLDER: &str = "components";

/// Whose workloads these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The agent's id; empty until it has enrolled.
    pub id: String,
    /// Whether it belongs to no fleet.
    pub is_standalone: bool,
    /// What its components are to be for.
    pub platform: Platform,
}

/// Starts what carries out inputs. What cannot be started fails its inputs, and nothing else.
///
/// `collector`: where an OpenTelemetry collector is; `None`: it is looked for among the components.
pub async fn start(paths: &Paths, who: &Who, collector: Option<PathBuf>) -> Workloads {
    let version = crate::version::current();
    let settings = fleet_collect::Settings {
        data: paths.collector(),
        agent: fleet_collect::AgentFacts {
            id: who.id.clone(),
            version: version.to_owned(),
            name: Machine::read().hostname,
            ephemeral_id: uuid::Uuid::new_v4().to_string(),
        },
        host_name: None,
    };
    let mut all: Vec<Arc<dyn Workload>> = Vec::new();
    match Collecting::start(settings.clone()).await {
        Ok(collecting) => all.push(collecting),
        Err(reason) => {
            tracing::error!(reason, "the collector cannot be started, and is tried again");
            all.push(Unavailable::new(settings, reason));
        }
    }
    all.extend(components(paths, who));
    all.push(Arc::new(Otelcol::new(paths, collector, folders(paths))));
    Workloads::new(all)
}

/// What supervises components, if there are any.
#[must_use]
pub fn components(paths: &Paths, who: &Who) -> Option<Arc<dyn Workload>> {
    let version = crate::version::current();
    let facts = ComponentFacts {
        id: who.id.clone(),
        version: version.to_owned(),
        is_snapshot: version.contains("SNAPSHOT"),
        is_standalone: who.is_standalone,
        is_unprivileged: !rustix::process::geteuid().is_root(),
    };
    let found = folders(paths)
        .into_iter()
        .find_map(|folder| Components::find(&folder, paths, &who.platform, facts.clone()));
    found.map(|components| components as Arc<dyn Workload>)
}

/// Uninstalls the services of the system that agents of these paths have installed. Returns those that are there still.
///
/// # Errors
/// They cannot be looked at.
pub async fn remove_services(paths: &Paths) -> Result<Vec<String>, StartError> {
    Components::remove_services(paths).await
}

/// Where components may lie: beside the program, and in the agent's home.
fn folders(paths: &Paths) -> Vec<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.canonicalize().ok()?.parent()?.join(FOLDER)));
    beside.into_iter().chain([paths.home.join(FOLDER)]).collect()
}
