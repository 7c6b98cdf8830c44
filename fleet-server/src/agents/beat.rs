//! The slow beat by which agents that are held are known to be there.

use std::sync::Arc;
use std::time::Duration;

use fleet_policy::documents::AgentState;
use fleet_policy::session::BEAT;
use tracing::warn;

use crate::fleet::Fleet;

/// How often it is looked who is due.
const INTERVAL: Duration = Duration::from_secs(10);
/// States that are written together.
const BATCH: usize = 500;

/// Writes that held agents are there, each once a [`BEAT`] and not more often than it tells something new
/// itself. For ever.
pub async fn beat(fleet: Arc<Fleet>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = fleet.clock.now();
        let mut due = Vec::new();
        let is_due = |state: &AgentState| state.last_checkin.is_some_and(|last| last.until(now) >= BEAT);
        for agent in fleet.agents.with_state(&fleet.sessions.agents(), is_due) {
            let state = AgentState { last_checkin: Some(now), ..(*agent.state).clone() };
            due.push((agent, state));
        }
        while !due.is_empty() {
            let batch = due.split_off(due.len().saturating_sub(BATCH));
            if let Err(error) = fleet.agents.save_states(batch).await {
                warn!(error = &error as &dyn std::error::Error, "cannot write that agents are there");
                break;
            }
        }
    }
}
