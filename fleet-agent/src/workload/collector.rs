//! The collector, in the process of the agent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_collect::{Collector, InputUnit, OutputUnit, Settings, UnitStatus};
use fleet_service::error::chain;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Common, State, States, UnitState, Workload};
use crate::fleet::Action;
use crate::health::streams_payload;
use crate::policy::{Input, Output};

/// Carries out inputs in the process.
#[derive(Debug)]
pub(super) struct Collecting {
    collector: Collector,
    states: watch::Sender<Arc<States>>,
    token: CancellationToken,
}

impl Collecting {
    /// Starts it, without anything to do.
    pub(super) async fn start(settings: Settings) -> Result<Arc<Collecting>, String> {
        let collector = Collector::start(settings).await.map_err(|error| chain(&error))?;
        let mut told = collector.states();
        let (states, token) = (watch::Sender::new(Arc::default()), CancellationToken::new());
        let (sender, stop) = (states.clone(), token.clone());
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            while told.changed().await.is_ok() {
                told.mark_unchanged();
                take_over(&told, &sender);
            }
        }));
        Ok(Arc::new(Collecting { collector, states, token }))
    }
}

/// Tells what the collector tells now. It is looked at under the lock under which it is told: of two tasks that do so at
/// one moment, the one that looked first cannot have the last word.
fn take_over(told: &watch::Receiver<Arc<fleet_collect::States>>, states: &watch::Sender<Arc<States>>) {
    states.send_modify(|states| *states = Arc::new(translate(&told.borrow())));
}

fn translate(told: &fleet_collect::States) -> States {
    let mut states = States::default();
    for (id, status) in &told.inputs {
        states.inputs.insert(id.clone(), unit(status));
    }
    for (name, status) in &told.outputs {
        states.outputs.insert(name.clone(), unit(status));
    }
    // What is wrong with its files concerns all that it reads.
    let bad = told.storage.iter().find(|(_, status)| status.state.is_trouble());
    if let Some((what, status)) = bad {
        for unit in states.inputs.values_mut().filter(|unit| is_to_run(unit.state)) {
            unit.state = State::Degraded;
            unit.message = format!("{what}: {}", status.message);
        }
    }
    states
}

/// Whether it is well, or on its way there.
fn is_to_run(state: State) -> bool {
    matches!(state, State::Starting | State::Configuring | State::Healthy)
}

fn unit(status: &UnitStatus) -> UnitState {
    let streams = status.streams.iter().map(|(id, stream)| {
        let is_well = !stream.state.is_trouble();
        (id.clone(), stream.state, if is_well { String::new() } else { stream.message.clone() })
    });
    UnitState {
        state: status.status.state,
        message: status.status.message.clone(),
        payload: streams_payload(streams),
    }
}

#[async_trait]
impl Workload for Collecting {
    fn name(&self) -> &'static str {
        "collector"
    }

    fn takes(&self, kind: &str) -> bool {
        fleet_collect::handles(kind)
    }

    async fn hear(&self, common: &Common) {
        if !common.host_name.is_empty() {
            self.collector.name_host(&common.host_name).await;
        }
    }

    async fn apply(&self, inputs: Vec<Input>, outputs: Vec<Output>) {
        let inputs = inputs.into_iter().map(|Input { id, kind, output, config, .. }| InputUnit {
            id,
            kind,
            output,
            config,
        });
        let outputs =
            outputs.into_iter().map(|Output { name, kind, config }| OutputUnit { name, kind, config });
        let plan = fleet_collect::Plan { inputs: inputs.collect(), outputs: outputs.collect() };
        self.collector.apply(plan).await;
        // Whoever asks right after this sees what is meant to run.
        take_over(&self.collector.states(), &self.states);
    }

    fn states(&self) -> watch::Receiver<Arc<States>> {
        self.states.subscribe()
    }

    async fn act(&self, action: &Action) -> Result<Value, String> {
        Err(format!("inputs of type {:?} take no actions", action.input_type))
    }

    async fn diagnostics(&self) -> Vec<(String, Vec<u8>)> {
        let rows = self.collector.metrics().rows();
        let figures: serde_json::Map<String, Value> =
            rows.into_iter().map(|(name, _, value)| (name.to_owned(), value.into())).collect();
        vec![("figures.yaml".to_owned(), crate::diagnostics::yaml(&Value::Object(figures)))]
    }

    fn metrics(&self) -> String {
        let rows = self.collector.metrics().rows();
        let lines = rows.iter().map(|(name, help, value)| {
            format!("# HELP fleet_agent_{name} {help}\n# TYPE fleet_agent_{name} gauge\nfleet_agent_{name} {value}\n")
        });
        lines.collect()
    }

    async fn stop(&self, grace: Duration) {
        self.collector.stop(grace).await;
        self.token.cancel();
    }
}
