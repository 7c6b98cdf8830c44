//! From nothing to an enrolled agent: the server is started, says which key to enrol with, and takes the enrolment.

use std::sync::Arc;
use std::time::Duration;

use fleet_component::supervisor::Platform;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use super::settings::{FleetServer, KIND};
use crate::enrolment::{self, EnrolmentError, Wanted};
use crate::fleet::log_attempt;
use crate::paths::Paths;
use crate::state::{Identity, StateStore};
use crate::workload::{self, State, States, UnitState, Workload};

/// The server has so long to stop; it is started again with the agent's id.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Why the agent has no server, or is none of its agents.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// There is no program for it.
    #[error(
        "there is no component for the input fleet-server: put fleet-server and fleet-server.spec.yml into the folder components beside fleet-agent"
    )]
    NoComponent,
    /// It is not ready in time.
    #[error("the Fleet Server is not ready within {} s (--fleet-server-timeout, FLEET_SERVER_TIMEOUT): {message}", within.as_secs())]
    NotReady {
        /// How long was waited.
        within: Duration,
        /// What it says.
        message: String,
    },
    /// It names no key, and none was given.
    #[error(
        "the Fleet Server says no key to enroll with: take one from its policy and give --enrollment-token (FLEET_ENROLLMENT_TOKEN)"
    )]
    NoToken,
    /// It did not take the enrolment.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
}

/// Brings up the server, enrols with it, and stops it. `told` hears how far that is, for people.
///
/// # Errors
/// [`BootstrapError`].
pub async fn enroll(
    (paths, platform): (&Paths, &Platform),
    store: &StateStore,
    wanted: &Wanted,
    (server, within): (&FleetServer, Duration),
    told: &watch::Sender<String>,
) -> Result<Identity, BootstrapError> {
    let who = workload::Who { platform: platform.clone(), ..workload::Who::default() };
    let components = workload::components(paths, &who).filter(|components| components.takes(KIND));
    let components = components.ok_or(BootstrapError::NoComponent)?;
    let plan = server.first_plan();
    components.apply(plan.inputs, plan.outputs).await;
    let enrolled = enroll_at(&components, store, wanted, within, told).await;
    components.stop(STOP_MAX).await;
    enrolled
}

async fn enroll_at(
    components: &Arc<dyn Workload>,
    store: &StateStore,
    wanted: &Wanted,
    within: Duration,
    told: &watch::Sender<String>,
) -> Result<Identity, BootstrapError> {
    let ready = timeout(within, ready(components.states(), told)).await;
    let unit = ready.map_err(|_| BootstrapError::NotReady { within, message: told.borrow().clone() })?;
    let mut wanted = wanted.clone();
    if wanted.token.is_empty() {
        let token = unit.payload.as_ref().and_then(|payload| payload.get("enrollment_token")?.as_str());
        wanted.token = token.filter(|token| !token.is_empty()).ok_or(BootstrapError::NoToken)?.to_owned();
    }
    told.send_replace("The agent enrolls with its Fleet Server".to_owned());
    Ok(enrolment::carry_out(store, &wanted, &log_attempt).await?)
}

/// Waits until the server takes enrolments: it says so by being degraded, for its agent has no id yet.
async fn ready(mut states: watch::Receiver<Arc<States>>, told: &watch::Sender<String>) -> UnitState {
    loop {
        let unit = states.borrow_and_update().inputs.get(KIND).cloned();
        if let Some(unit) = unit {
            let text = format!("Fleet Server - {}: {}", unit.state.name(), unit.message);
            told.send_if_modified(|before| {
                let is_news = *before != text;
                *before = text;
                is_news
            });
            if matches!(unit.state, State::Degraded | State::Healthy) {
                return unit;
            }
        }
        if states.changed().await.is_err() {
            // Nothing will be said any more: whoever waits has a limit.
            std::future::pending::<Value>().await;
        }
    }
}
