//! What carries out the inputs of a policy. The agent knows several: the collector in the process, and components in
//! processes of their own.

mod collector;
mod components;
mod otelcol;
mod set;
mod start;
mod unavailable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use fleet_health::State;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::fleet::Action;
use crate::policy::{Input, Output};

pub use set::{Rejected, Workloads};
pub(crate) use start::FOLDER;
pub use start::{Who, components, remove_services, start};

/// How a unit is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitState {
    /// How.
    pub state: State,
    /// Why, for a person.
    pub message: String,
    /// More: how each stream is.
    pub payload: Option<Value>,
}

impl UnitState {
    /// Without more.
    pub fn new(state: State, message: impl Into<String>) -> UnitState {
        UnitState { state, message: message.into(), payload: None }
    }
}

/// How all units of a workload are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// By the input's id.
    pub inputs: BTreeMap<String, UnitState>,
    /// By the output's name.
    pub outputs: BTreeMap<String, UnitState>,
    /// Outputs that processes have for themselves, by the kind of their inputs and the output's name. They go before
    /// `outputs`: one process may reach an output that another one does not.
    pub process_outputs: BTreeMap<(String, String), UnitState>,
}

/// What holds for all units, whatever carries them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// What the machine is called; empty: as its system says.
    pub host_name: String,
    /// The agent's own log level.
    pub log_level: String,
    /// `agent.features` of the policy.
    pub features: Map<String, Value>,
    /// `agent.limits` of the policy.
    pub limits: Map<String, Value>,
}

/// Something that carries out inputs.
#[async_trait]
pub trait Workload: std::fmt::Debug + Send + Sync {
    /// Its name: in diagnostics, and in the log.
    fn name(&self) -> &'static str;

    /// Whether it carries out inputs of this kind.
    fn takes(&self, kind: &str) -> bool;

    /// The name of a kind that it takes, if that is an alias of another one.
    fn own_name(&self, kind: &str) -> String {
        kind.to_owned()
    }

    /// Hears, before each [`Workload::apply`], what holds for all units.
    async fn hear(&self, _common: &Common) {}

    /// Carries out these inputs and no others from now on. What is the same goes on untouched; what cannot be done is
    /// told by [`Workload::states`] and stops no other.
    async fn apply(&self, inputs: Vec<Input>, outputs: Vec<Output>);

    /// How its units are.
    fn states(&self) -> watch::Receiver<Arc<States>>;

    /// Gives an action to its inputs of that kind.
    ///
    /// # Errors
    /// What went wrong, for a person.
    async fn act(&self, action: &Action) -> Result<Value, String>;

    /// Lets whoever wants to know hear of what the agent is about to do, such as `UNENROLL`.
    async fn pass_on(&self, action: &Action) {
        let _ = action;
    }

    /// Removes what it has installed on the machine, which lives without the agent otherwise.
    async fn leave(&self) {}

    /// What helps to find out what is wrong, by file name. Secrets are taken out by whoever asks.
    async fn diagnostics(&self) -> Vec<(String, Vec<u8>)>;

    /// Counters in the text format of Prometheus.
    fn metrics(&self) -> String;

    /// Ends all, and waits so long for what is under way.
    async fn stop(&self, grace: Duration);
}
