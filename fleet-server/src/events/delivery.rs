//! Runs the couriers, as one of the keeper's duties.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_policy::keeper::Duty;
use fleet_store::{Error, ErrorKind, LeaseId, Revision, WriteError};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::courier::Courier;
use crate::fleet::Fleet;

/// How often it is looked whether webhooks were made, changed or removed.
const ROUND: Duration = Duration::from_millis(500);

/// Sends what webhooks ask for, as long as its server is the keeper.
#[derive(Debug)]
pub struct Delivery(Arc<Fleet>);

impl Delivery {
    /// That of this server.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>) -> Delivery {
        Delivery(fleet)
    }
}

#[async_trait]
impl Duty for Delivery {
    async fn serve(&self, lease: LeaseId) -> Result<(), WriteError> {
        // Dropped with this: couriers end with the keeper.
        let mut couriers: JoinSet<Result<(), WriteError>> = JoinSet::new();
        let mut running: HashMap<String, (Revision, AbortHandle)> = HashMap::new();
        loop {
            let webhooks = self.0.happenings.webhooks.all();
            let is_current = |id: &String, revision: Revision| {
                webhooks.get(id).is_some_and(|found| found.revision == revision && found.value.enabled)
            };
            running.retain(|id, (revision, courier)| {
                let stays = is_current(id, *revision);
                if !stays {
                    courier.abort();
                }
                stays
            });
            for (id, found) in webhooks.iter().filter(|(_, found)| found.value.enabled) {
                if !running.contains_key(id) {
                    let (fleet, id, webhook) = (Arc::clone(&self.0), id.clone(), found.value.clone());
                    let begun = Courier::begin(fleet, lease, id.clone(), webhook).await?;
                    let handle = couriers.spawn(begun.run());
                    running.insert(id, (found.revision, handle));
                }
            }
            tokio::select! {
                () = sleep(ROUND) => {}
                Some(ended) = couriers.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => {
                        let error = Error::caused_by(ErrorKind::Unavailable, "send webhooks", error);
                        return Err(WriteError::NotDone(error));
                    }
                },
            }
        }
    }
}
