//! Agents that were unenrolled long ago are removed, if the settings say so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_policy::agents::Snapshot;
use fleet_policy::keeper::Duty;
use fleet_store::{LeaseId, WriteError};
use tokio::time::sleep;
use tracing::info;

use crate::fleet::Fleet;

/// How often it is looked for them.
const ROUND: Duration = Duration::from_secs(60);
/// An agent that was unenrolled is shown for so long.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Removes agents that were unenrolled long ago.
#[derive(Debug)]
pub struct Leavers(Arc<Fleet>);

impl Leavers {
    /// Those of `fleet`.
    #[must_use]
    pub fn new(fleet: &Arc<Fleet>) -> Leavers {
        Leavers(Arc::clone(fleet))
    }

    /// Removes those that are to be removed now. Returns how many.
    ///
    /// # Errors
    /// The store does not take it, or the lease is over.
    pub async fn round(&self, lease: LeaseId) -> Result<usize, WriteError> {
        let setting = self.0.settings.everything().delete_unenrolled_agents;
        if !setting.is_some_and(|setting| setting.enabled) {
            return Ok(0);
        }
        let now = self.0.clock.now();
        let mut gone: Vec<Snapshot> = Vec::new();
        self.0.agents.for_each(|found| {
            let left = found.agent.unenrolled_at.filter(|_| !found.agent.active);
            if left.is_some_and(|at| at.until(now) > KEPT) {
                gone.push(found.clone());
            }
        });
        if gone.is_empty() {
            return Ok(0);
        }
        let count = self.0.agents.delete_many(&gone, lease).await?;
        info!(agents = count, "agents that were unenrolled long ago are removed");
        Ok(count)
    }
}

#[async_trait]
impl Duty for Leavers {
    async fn serve(&self, lease: LeaseId) -> Result<(), WriteError> {
        loop {
            self.round(lease).await?;
            sleep(ROUND).await;
        }
    }
}
