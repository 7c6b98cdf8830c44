//! Changes of very many agents.
//!
//! Such a change is written down before the action that it belongs to, with how far it is: so one that was begun is
//! ended, by its server or, when that has ended in between, by the keeper. Whom it is for, the action says. What is
//! done twice is done once: each change says what is to be, and not by how much.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_policy::documents::{Agent, Outcome};
use fleet_policy::keeper::Duty;
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::agent::ActionType;
use fleet_store::{Collection, Expect, LeaseId, Revision, Scope, Typed, Versioned, WriteError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::fleet::Fleet;

/// [`BulkJob`] by the id of its action.
static BULK_JOBS: Collection = Collection { name: "bulk-jobs", indexed: &[] };

/// After so many agents it is written down how far a change is.
const STEP: usize = 1_000;
/// How often it is looked for changes that nobody goes on with.
const ROUND: Duration = Duration::from_secs(5);
/// A change that is not farther after so long has lost its server. A step takes a second or two.
const LOST_AFTER: Duration = Duration::from_secs(30);
/// What fails so often will not be done.
const MOST_ATTEMPTS: u32 = 20;

/// What becomes of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It has left.
    Leave(Timestamp),
    /// It was asked to leave; `None`: it was not after all.
    AskedToLeave(Option<Timestamp>),
    /// It was asked to upgrade; `None`: it was not after all.
    Upgrade(Option<Timestamp>),
    /// It has these tags more, and those no more.
    Tags {
        /// Those that it gets.
        add: Vec<Arc<str>>,
        /// Those that it loses.
        remove: Vec<Arc<str>>,
    },
    /// It has this policy.
    Policy(Arc<str>),
}

impl Change {
    /// Changes an agent. Whether anything is different.
    pub fn apply(&self, agent: &mut Agent) -> bool {
        match self {
            Change::Leave(at) => {
                let was_active = agent.active;
                if was_active {
                    agent.active = false;
                    agent.unenrolled_at = agent.unenrolled_at.or(Some(*at));
                    agent.unenrolled_reason = Some(Arc::from("manual"));
                }
                was_active
            }
            // Who has left meanwhile is not leaving.
            Change::AskedToLeave(at) => {
                (agent.active || at.is_none()) && replace(&mut agent.unenrollment_started_at, *at)
            }
            Change::Upgrade(at) => replace(&mut agent.upgrade_started_at, *at),
            Change::Tags { add, remove } => {
                let after = retagged(&agent.tags, add, remove);
                replace(&mut agent.tags, after)
            }
            Change::Policy(policy) => replace(&mut agent.policy_id, Arc::clone(policy)),
        }
    }
}

fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let differs = *old != new;
    *old = new;
    differs
}

/// The tags of an agent after a change.
#[must_use]
pub fn retagged(tags: &[Arc<str>], add: &[Arc<str>], remove: &[Arc<str>]) -> Vec<Arc<str>> {
    let kept = tags.iter().filter(|tag| !remove.contains(tag));
    let mut after: Vec<Arc<str>> = Vec::with_capacity(tags.len() + add.len());
    for tag in kept.chain(add) {
        if !after.contains(tag) {
            after.push(Arc::clone(tag));
        }
    }
    after
}

/// A change, and how far it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct BulkJob {
    change: Change,
    /// The first so many agents of the action have been changed.
    #[serde(default)]
    done: usize,
    /// How often somebody else went on with it.
    #[serde(default)]
    attempts: u32,
}

/// A change that is written down, and nobody else goes on with.
#[derive(Debug)]
pub struct Begun {
    id: String,
    job: BulkJob,
    revision: Revision,
}

fn jobs(fleet: &Fleet) -> Typed<BulkJob> {
    Typed::new(Arc::clone(&fleet.store), &BULK_JOBS)
}

/// Writes a change down, before its action: a change whose action was never written is forgotten.
///
/// # Errors
/// The store does not take it.
pub async fn begin(fleet: &Fleet, action_id: &str, change: Change) -> Result<Begun, WriteError> {
    let job = BulkJob { change, done: 0, attempts: 0 };
    let revision = jobs(fleet).put(action_id, &job, Expect::Absent, None, None).await?;
    Ok(Begun { id: action_id.to_owned(), job, revision })
}

/// Goes on with a change until it is done, or somebody else goes on with it.
pub async fn run(fleet: &Fleet, mut begun: Begun, kind: ActionType, agents: &[String]) {
    match steps(fleet, &mut begun, kind, agents).await {
        Ok(()) | Err(WriteError::Conflict { .. }) => {}
        Err(error) => {
            let (error, done): (&dyn std::error::Error, _) = (&error, begun.job.done);
            warn!(action = begun.id, error, done, "not all agents are changed: it goes on later");
        }
    }
}

async fn steps(
    fleet: &Fleet,
    begun: &mut Begun,
    kind: ActionType,
    agents: &[String],
) -> Result<(), WriteError> {
    let jobs = jobs(fleet);
    while begun.job.done < agents.len() {
        let end = agents.len().min(begun.job.done + STEP);
        let change = begun.job.change.clone();
        let step = &agents[begun.job.done..end];
        fleet.agents.change_many(step, move |agent| change.apply(agent), None).await?;
        begun.job.done = end;
        let expect = Expect::Revision(begun.revision);
        begun.revision = jobs.put(&begun.id, &begun.job, expect, None, None).await?;
    }
    end(fleet, begun, kind, Outcome { at: fleet.clock.now(), acked: agents.len() as u64, failed: 0 }).await
}

/// Says what came of it. Agents say themselves what came of what they are told.
async fn end(fleet: &Fleet, begun: &Begun, kind: ActionType, outcome: Outcome) -> Result<(), WriteError> {
    if !kind.is_delivered() {
        fleet.actions.finish(&begun.id, outcome).await?;
    }
    jobs(fleet).delete(&begun.id, Expect::Revision(begun.revision), None).await.map(drop)
}

/// Goes on with changes whose servers have ended, as long as its server is the keeper.
#[derive(Debug)]
pub struct BulkKeeper(Arc<Fleet>);

impl BulkKeeper {
    /// That of this server.
    #[must_use]
    pub fn new(fleet: &Arc<Fleet>) -> BulkKeeper {
        BulkKeeper(Arc::clone(fleet))
    }

    /// Looks at all changes, and goes on with those that were as they are now in `seen` for too long.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn round(
        &self,
        seen: &mut HashMap<String, (Revision, Instant)>,
        lost_after: Duration,
    ) -> Result<(), WriteError> {
        let listed = jobs(&self.0).list(Scope::All).await.map_err(WriteError::NotDone)?.values;
        seen.retain(|id, _| listed.iter().any(|job| job.id == *id));
        for found in listed {
            let entry = seen.entry(found.id.clone()).or_insert((found.revision, Instant::now()));
            if entry.0 != found.revision {
                *entry = (found.revision, Instant::now());
            }
            if entry.1.elapsed() >= lost_after {
                seen.remove(&found.id);
                self.go_on(found).await?;
            }
        }
        Ok(())
    }

    async fn go_on(&self, found: Versioned<BulkJob>) -> Result<(), WriteError> {
        let (fleet, id) = (&self.0, found.id);
        let action = fleet.actions.all().into_iter().find(|action| action.document_id == id);
        let Some(action) = action else {
            if fleet.actions.seq_no(&id).await.map_err(WriteError::NotDone)?.is_none() {
                // Nobody was told that it would be done.
                unless_changed(jobs(fleet).delete(&id, Expect::Revision(found.revision), None).await)?;
            }
            return Ok(());
        };
        let job = BulkJob { attempts: found.value.attempts + 1, ..found.value };
        let put = jobs(fleet).put(&id, &job, Expect::Revision(found.revision), None, None).await;
        let Some(revision) = unless_changed(put)? else { return Ok(()) };
        let agents: Vec<String> = action.agents.iter().map(ToString::to_string).collect();
        let begun = Begun { id, job, revision };
        if begun.job.attempts > MOST_ATTEMPTS {
            let (done, all) = (begun.job.done as u64, agents.len() as u64);
            warn!(action = begun.id, done, all, "a change of agents fails again and again: it is given up");
            let outcome = Outcome { at: fleet.clock.now(), acked: done, failed: all.saturating_sub(done) };
            return unless_changed(end(fleet, &begun, action.kind, outcome).await).map(drop);
        }
        info!(action = begun.id, done = begun.job.done, "goes on with a change that its server did not end");
        run(fleet, begun, action.kind, &agents).await;
        Ok(())
    }
}

/// `None`: somebody else was faster.
fn unless_changed<T>(outcome: Result<T, WriteError>) -> Result<Option<T>, WriteError> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(WriteError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Duty for BulkKeeper {
    async fn serve(&self, _lease: LeaseId) -> Result<(), WriteError> {
        // What one server does at a time is settled by each change's own revision: a keeper that was replaced can do
        // no harm.
        let mut seen = HashMap::new();
        loop {
            self.round(&mut seen, LOST_AFTER).await?;
            sleep(ROUND).await;
        }
    }
}

#[cfg(test)]
mod tests;
