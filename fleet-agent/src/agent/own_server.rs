//! A server that the agent runs and is an agent of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::core::Agent;
use crate::fleet_server::KIND;
use crate::workload::{State, States};

impl Agent {
    /// Runs the server alone, if there is one: the first policy comes from it.
    pub(super) async fn begin_with_own_server(&mut self) {
        let Some(server) = &self.identity.fleet_server else { return };
        let plan = server.first_plan();
        self.rejected = self.context.workloads.apply(&plan).await;
        self.plan = plan;
    }

    /// Is done when the server is healthy: to ask one that is not there yet would only put off the first check-in. With
    /// a policy there is no limit to that, for what ran before will run again.
    pub(super) fn own_server(&self) -> impl Future<Output = ()> + Send + 'static {
        let inputs = self.plan.inputs.iter().filter(|input| input.kind == KIND);
        let ids: Vec<String> = inputs.map(|input| input.id.clone()).collect();
        let within = self.identity.fleet_server.as_ref().map(|server| server.init_within());
        let within = if self.policy.is_some() { Duration::MAX } else { within.unwrap_or_default() };
        let takers = self.context.workloads.iter().filter(|workload| workload.takes(KIND));
        let states = takers.map(|workload| workload.states()).next();
        async move {
            let Some(mut states) = states.filter(|_| !ids.is_empty()) else { return };
            tracing::info!("waiting until the Fleet Server of this agent is healthy");
            if timeout(within, healthy(&mut states, &ids)).await.is_err() {
                tracing::error!(
                    within = within.as_secs(),
                    "the Fleet Server of this agent is not healthy in time (--fleet-init-timeout, FLEET_SERVER_INIT_TIMEOUT): checking in all the same"
                );
            }
        }
    }
}

async fn healthy(states: &mut watch::Receiver<Arc<States>>, ids: &[String]) {
    let is_healthy = |states: &Arc<States>| {
        let mut inputs = ids.iter().map(|id| states.inputs.get(id));
        inputs.all(|unit| unit.is_some_and(|unit| unit.state == State::Healthy))
    };
    if states.wait_for(is_healthy).await.is_err() {
        // The agent ends.
        std::future::pending::<()>().await;
    }
}
