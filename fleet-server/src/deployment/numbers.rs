//! Numbers of revisions: each save of a policy has one, and none is left out.
//!
//! The number of a save is taken with the write of the agent policy, by compare-and-swap. What belongs to it is
//! written after that, and then the revision is kept. So the next number is taken only when the revision before is
//! kept: whoever saves leaves whoever saved before some time for that, and keeps it as the store has it then, should
//! that server have ended in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use fleet_policy::documents::AgentPolicy;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep, timeout};

use super::revisions::{self, Revision};
use super::{DeployError, Deployer};

/// Whoever does not have their turn within this is told to come again: the store is in trouble.
const TURN_WITHIN: Duration = Duration::from_secs(20);
/// For so long whoever took a number is left to keep its revision: more than the writes in between take on a store
/// that is well.
const LEFT_TO_SAVER: Duration = Duration::from_secs(2);
/// It is looked again after this long, and twice that each time until [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// The longest time between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Whose turn it is to take the next number of a policy, among the saves of one server: they come one after the other,
/// in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

/// Nobody else of this server takes a number of the policy while this is held.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "it is held, and never looked at")] OwnedMutexGuard<()>);

impl Turns {
    async fn take(&self, policy_id: &str) -> Turn {
        let turn = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody waits for.
            known.retain(|_, turn| turn.strong_count() > 0);
            let turn = known.get(policy_id).and_then(Weak::upgrade).unwrap_or_default();
            known.insert(policy_id.to_owned(), Arc::downgrade(&turn));
            turn
        };
        Turn(turn.lock_owned().await)
    }
}

impl Deployer {
    /// Waits until nobody else of this server is about to take a number of the policy.
    ///
    /// # Errors
    /// [`DeployError::Busy`]: there are too many before this one.
    pub async fn turn(&self, policy_id: &str) -> Result<Turn, DeployError> {
        let turn = timeout(TURN_WITHIN, self.fleet.turns.take(policy_id)).await;
        turn.map_err(|_| DeployError::Busy(policy_id.to_owned()))
    }

    /// Sees to it that the revision which `policy` is at is kept. Only then it may have a next one.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn settle_number(&self, policy: &AgentPolicy) -> Result<(), DeployError> {
        let (id, number) = (&policy.id, policy.revision);
        // What is out was kept before.
        if number == 0 || self.fleet.policies.head(id).is_some_and(|head| head.rendered.revision >= number) {
            return Ok(());
        }
        let read = |error| DeployError::Read(id.clone(), error);
        let store = &self.fleet.store;
        let (began, mut pause) = (Instant::now(), SHORTEST_PAUSE);
        loop {
            if revisions::is_kept(store, id, number).await.map_err(read)? {
                return Ok(());
            }
            if began.elapsed() >= LEFT_TO_SAVER {
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let integrations = self.integrations_of(policy).await.map_err(read)?;
        let integrations: Vec<_> = integrations.into_iter().map(Arc::new).collect();
        let kept = revisions::keep(store, &Revision::of(policy, &integrations), &integrations).await;
        kept.map_err(|error| DeployError::Write(id.clone(), error))
    }
}
