//! Collectors that were told to start again, and are not heard of any more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_policy::agents::{SaveError, Snapshot};
use fleet_policy::keeper::Duty;
use fleet_policy::opamp::{RESTARTS_WITHIN, give_up};
use fleet_store::{LeaseId, WriteError};
use tokio::time::sleep;

use crate::fleet::Fleet;

/// How often it is looked for them.
const ROUND: Duration = Duration::from_secs(30);
/// Whoever is heard of has this time longer to tell by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Gives up on restarts that do not show.
#[derive(Debug)]
pub struct Restarts(Arc<Fleet>);

impl Restarts {
    /// Those of `fleet`.
    #[must_use]
    pub fn new(fleet: &Arc<Fleet>) -> Restarts {
        Restarts(Arc::clone(fleet))
    }

    /// Gives up on those that are to be given up now. Returns how many.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn round(&self) -> Result<usize, WriteError> {
        let now = self.0.clock.now();
        let mut late: Vec<Snapshot> = Vec::new();
        self.0.agents.for_each(|found| {
            let restart = found.state.opamp.as_ref().and_then(|opamp| opamp.restart.as_ref());
            if restart.is_some_and(|restart| restart.at.until(now) >= RESTARTS_WITHIN + GRACE) {
                late.push(found.clone());
            }
        });
        let mut count = 0;
        for agent in &late {
            let Some((state, result)) = give_up(agent, now) else { continue };
            // First, so that none is missing of what counts as over. It is written once, whoever does.
            self.0.actions.record(&result).await?;
            match self.0.agents.save_state(agent, state).await {
                Ok(_) => count += 1,
                // It was heard of at this moment, and has told by itself.
                Err(SaveError::Changed) => {}
                Err(SaveError::Store(error)) => return Err(error),
            }
        }
        Ok(count)
    }
}

#[async_trait]
impl Duty for Restarts {
    async fn serve(&self, _: LeaseId) -> Result<(), WriteError> {
        loop {
            self.round().await?;
            sleep(ROUND).await;
        }
    }
}
