//! What the keeper does: look, compare, tell, remove what is old.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use fleet_store::{LeaseId, WriteError};
use tokio::time::sleep;

use super::log::Events;
use super::term::Term;
use crate::actions::Actions;
use crate::agents::Agents;
use crate::keeper::Duty;
use crate::policies::Policies;
use crate::timestamp::Timestamp;

/// How often it is looked what has changed: what delays an event at most, and joins what changes together.
const ROUND: Duration = Duration::from_secs(1);

/// How many events are kept.
#[derive(Clone, Copy, Debug)]
pub struct EventBounds {
    /// The most.
    pub most: usize,
    /// The oldest.
    pub oldest: Duration,
}

impl Default for EventBounds {
    /// A hundred thousand, and a month: some 50 MB in the store at the worst.
    fn default() -> EventBounds {
        EventBounds { most: 100_000, oldest: Duration::from_secs(30 * 24 * 3600) }
    }
}

/// What tells events, as long as its server is the keeper.
pub struct Watcher<'a> {
    pub(super) agents: &'a Agents,
    pub(super) policies: &'a Policies,
    pub(super) actions: &'a Actions,
    pub(super) events: &'a Events,
    pub(super) bounds: EventBounds,
    pub(super) now: &'a (dyn Fn() -> Timestamp + Send + Sync),
}

impl<'a> Watcher<'a> {
    /// Tells what happens to these. `now` tells the time of day.
    #[must_use]
    pub fn new(
        agents: &'a Agents,
        policies: &'a Policies,
        actions: &'a Actions,
        events: &'a Events,
        now: &'a (dyn Fn() -> Timestamp + Send + Sync),
    ) -> Watcher<'a> {
        Watcher { agents, policies, actions, events, bounds: EventBounds::default(), now }
    }
}

impl fmt::Debug for Watcher<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watcher").finish_non_exhaustive()
    }
}

#[async_trait]
impl Duty for Watcher<'_> {
    async fn serve(&self, lease: LeaseId) -> Result<(), WriteError> {
        let _tracking = Tracking::begin(self.agents);
        let mut term = Term::begin(self, lease).await?;
        loop {
            if !term.round().await? {
                sleep(ROUND).await;
            }
        }
    }
}

/// Notes which agents change, until it is dropped.
struct Tracking<'a>(&'a Agents);

impl<'a> Tracking<'a> {
    fn begin(agents: &'a Agents) -> Tracking<'a> {
        agents.track_changes();
        Tracking(agents)
    }
}

impl Drop for Tracking<'_> {
    fn drop(&mut self) {
        self.0.forget_changes();
    }
}
