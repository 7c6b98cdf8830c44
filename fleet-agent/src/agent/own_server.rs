//! A server that the agent runs and is an agent of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::core::Agent;
use crate::fleet_server::KIND;
use crate::state::Identity;
use crate::workload::{State, States};

impl Agent {
    /// Runs the server alone, if there is one: the first policy comes from it.
    pub(super) async fn begin_with_own_server(&mut self) {
        let Some(server) = &self.identity.fleet_server else { return };
        let plan = server.first_plan();
        self.rejected = self.context.workloads.apply(&plan, self.level()).await;
        self.plan = plan;
    }

    /// Renews the certificate that was made for the server, when that is due. The server goes over to it in its process:
    /// whoever is connected stays so.
    pub(super) async fn keep_certificate(&mut self) {
        let now = crate::clock::now_seconds();
        let lifetime = self.context.certificate_lifetime;
        let mut identity = self.identity.clone();
        match identity.fleet_server.as_mut().map(|server| server.renew(now, lifetime)) {
            Some(Ok(true)) => {}
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                return tracing::error!(error, "the certificate of the Fleet Server is not renewed");
            }
            _ => return,
        }
        // The server must not have one that is forgotten at the next start: it is made again soon.
        if let Err(error) = self.context.store.save(Identity::NAME, &identity) {
            return self.tell_disk(&error);
        }
        self.identity = identity;
        tracing::info!("the certificate of the Fleet Server is renewed");
        match self.policy.clone() {
            Some(policy) => match self.make_plan(&policy, &self.facts) {
                Ok(made) => self.carry_out((*policy).clone(), made).await,
                Err(reason) => {
                    tracing::error!(reason, "the renewed certificate is used after the next start");
                }
            },
            None => self.begin_with_own_server().await,
        }
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
