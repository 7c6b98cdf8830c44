//! Outputs, brought up and changed without losing what waits for them.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failures::Reasons;
use super::{Collector, Running, STOP_UNIT};
use crate::link::Link;
use crate::outlet::Outlet;
use crate::output;
use crate::plan::{OutputUnit, Plan};
use crate::state::{State, Status, Unit};

/// An output that runs, or failed to.
#[derive(Debug)]
pub(super) struct RunningOutput {
    pub(super) unit: OutputUnit,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl RunningOutput {
    pub(super) fn abandon(&self) {
        self.stop.cancel();
    }
}

/// What inputs depend on: a change of it means to start them anew.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OutputPart {
    pub(super) processors: Option<Value>,
}

impl OutputPart {
    pub(super) fn of(unit: &OutputUnit) -> OutputPart {
        OutputPart { processors: unit.config.get("processors").cloned() }
    }
}

/// The part of the plan's output of this name that inputs depend on.
pub(super) fn part(plan: &Plan, name: &str) -> Option<OutputPart> {
    plan.outputs.iter().find(|unit| unit.name == name).map(OutputPart::of)
}

impl Collector {
    /// Makes the outputs be those of the plan. A changed one takes over what waited for the old one.
    pub(super) async fn apply_outputs(&self, running: &mut Running, plan: &Plan) {
        let wanted = |name: &str| plan.outputs.iter().find(|unit| unit.name == name);
        let going: Vec<String> = running
            .outputs
            .iter()
            .filter(|(name, output)| wanted(name) != Some(&output.unit))
            .map(|(name, _)| name.clone())
            .collect();
        for name in going {
            let Some(output) = running.outputs.remove(&name) else { continue };
            output.stop.cancel();
            output.tasks.close();
            if tokio::time::timeout(STOP_UNIT, output.tasks.wait()).await.is_err() {
                tracing::warn!(name, "an output does not stop; going on without it");
            }
            if wanted(&name).is_none() {
                if let Some(link) = running.links.remove(&name) {
                    link.close().await;
                }
                self.common.board.remove(&Unit::Output(name));
            }
        }
        for unit in &plan.outputs {
            if running.outputs.contains_key(&unit.name) {
                continue;
            }
            let outlet = self.link(running, unit).await;
            let started = self.start_output(running, &outlet, unit);
            running.outputs.insert(unit.name.clone(), started);
        }
    }

    /// The way to an output; what an earlier run has left on the disk goes out, whether anybody adds to it or not.
    async fn link(&self, running: &mut Running, unit: &OutputUnit) -> Arc<Outlet> {
        if let Some(link) = running.links.get(&unit.name) {
            return Arc::clone(link.outlet());
        }
        let link = Link::new(&self.common.settings.data, unit, &self.common.parts());
        link.resume().await;
        let outlet = Arc::clone(link.outlet());
        running.links.insert(unit.name.clone(), Arc::new(link));
        outlet
    }

    fn start_output(&self, running: &mut Running, outlet: &Arc<Outlet>, unit: &OutputUnit) -> RunningOutput {
        let common = &self.common;
        let name = Unit::Output(unit.name.clone());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        match output::build(unit) {
            Ok((output, unknown)) => {
                running.failures.built(&name, Reasons::new());
                common.board.unit(&name, Status::new(State::Starting, "starting"));
                let note = if unknown.is_empty() {
                    String::new()
                } else {
                    tracing::warn!(
                        output = unit.name,
                        ?unknown,
                        "settings that are not known have no effect"
                    );
                    format!("settings without effect here: {}", unknown.join(", "))
                };
                output.start(output::Context {
                    outlet: Arc::clone(outlet),
                    counters: common.counters.clone(),
                    board: common.board.clone(),
                    unit: name,
                    data: common.settings.data.clone(),
                    note,
                    stop: stop.clone(),
                    tasks: tasks.clone(),
                });
            }
            Err(mistakes) => {
                common.board.unit(&name, Status::new(State::Failed, mistakes.to_string()));
                running.failures.built(&name, Reasons::from([(String::new(), mistakes.to_string())]));
            }
        }
        RunningOutput { unit: unit.clone(), stop, tasks }
    }
}
