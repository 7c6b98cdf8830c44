//! All workloads of an agent, as one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Common, State, States, UnitState, Workload};
use crate::fleet::Action;
use crate::policy::{Input, Output, Plan};

/// Inputs that nobody carries out, with the reason.
pub type Rejected = BTreeMap<String, UnitState>;

/// All workloads of an agent. The first one that takes an input gets it.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    all: Vec<Arc<dyn Workload>>,
}

impl Workloads {
    /// These.
    #[must_use]
    pub fn new(all: Vec<Arc<dyn Workload>>) -> Workloads {
        Workloads { all }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Workload>> {
        self.all.iter()
    }

    /// Calls inputs by the names of their kinds, not by aliases.
    pub fn name(&self, plan: &mut Plan) {
        for input in &mut plan.inputs {
            if let Some(workload) = self.all.iter().find(|workload| workload.takes(&input.kind)) {
                input.kind = workload.own_name(&input.kind);
            }
        }
    }

    /// Carries out a plan. `log_level`: the agent's own. Returns the inputs that nobody takes.
    pub async fn apply(&self, plan: &Plan, log_level: &str) -> Rejected {
        let mut shares: Vec<Vec<Input>> = self.all.iter().map(|_| Vec::new()).collect();
        let mut rejected = Rejected::new();
        for input in &plan.inputs {
            match self.all.iter().position(|workload| workload.takes(&input.kind)) {
                Some(index) => shares[index].push(input.clone()),
                None => {
                    let message = format!("inputs of type {:?} are not supported by this agent", input.kind);
                    rejected.insert(input.id.clone(), UnitState::new(State::Failed, message));
                }
            }
        }
        let common = Common {
            host_name: plan.host_name.clone(),
            log_level: log_level.to_owned(),
            features: plan.settings.features.clone(),
            limits: plan.settings.limits.clone(),
        };
        for (workload, inputs) in self.all.iter().zip(shares) {
            let outputs = outputs_of(&inputs, plan);
            workload.hear(&common).await;
            workload.apply(inputs, outputs).await;
        }
        rejected
    }

    /// How all units are.
    #[must_use]
    pub fn states(&self) -> States {
        let mut states = States::default();
        for workload in &self.all {
            let of = workload.states().borrow().clone();
            states.inputs.extend(of.inputs.iter().map(|(id, state)| (id.clone(), state.clone())));
            for (name, state) in &of.outputs {
                // Two workloads may share an output: the worse counts.
                let known = states.outputs.entry(name.clone()).or_insert_with(|| state.clone());
                if state.state.is_worse_than(known.state) {
                    known.clone_from(state);
                }
            }
            states
                .process_outputs
                .extend(of.process_outputs.iter().map(|(of, state)| (of.clone(), state.clone())));
        }
        states
    }

    /// Waits until some state changes.
    pub async fn changed(&self, seen: &mut Vec<tokio::sync::watch::Receiver<Arc<States>>>) {
        if seen.is_empty() {
            seen.extend(self.all.iter().map(|workload| workload.states()));
        }
        let waits = seen.iter_mut().map(|states| {
            Box::pin(async move {
                if states.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        let waits: Vec<_> = waits.collect();
        first_of(waits).await;
    }

    /// Gives an action to the workload that carries out inputs of its kind.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn act(&self, action: &Action) -> Result<Value, String> {
        match self.all.iter().find(|workload| workload.takes(&action.input_type)) {
            Some(workload) => workload.act(action).await,
            None => Err(format!("no input of type {:?} runs here", action.input_type)),
        }
    }

    /// Lets whoever wants to know hear of what the agent is about to do.
    pub async fn pass_on(&self, action: &Action) {
        for workload in &self.all {
            workload.pass_on(action).await;
        }
    }

    /// Removes what was installed on the machine: the agent leaves for good.
    pub async fn leave(&self) {
        for workload in self.all.iter() {
            workload.leave().await;
        }
    }

    /// Ends all, at the same time.
    pub async fn stop(&self, grace: Duration) {
        let tasks: Vec<_> = self
            .all
            .iter()
            .map(|workload| {
                let workload = Arc::clone(workload);
                tokio::spawn(async move { workload.stop(grace).await })
            })
            .collect();
        for task in tasks {
            // A task that panicked has said so.
            let _ = task.await;
        }
    }
}

/// The outputs that these inputs go to.
fn outputs_of(inputs: &[Input], plan: &Plan) -> Vec<Output> {
    let is_used = |output: &&Output| inputs.iter().any(|input| input.output == output.name);
    plan.outputs.iter().filter(is_used).cloned().collect()
}

async fn first_of<F: Future + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|context| {
        let ready = futures.iter_mut().any(|future| std::pin::Pin::new(future).poll(context).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
