//! The ways to engines that agents have keys in, kept beyond their outputs.
//!
//! An output may be removed, or name another engine, while agents still hold keys of the engine that it named. These
//! keys are over when the agents run a policy without them, or have left: somebody must be able to log in there until
//! then. So whatever worked last is kept for each cluster, sealed, before the first key is made there, and forgotten
//! when no agent has a key of it any more.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fleet_access::seal::{Context, Sealed};
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Collection, Expect, LeaseId, Scope, Typed, WriteError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::info;

use super::settings::{self, Whole};
use super::{Access, EngineProblem, Engines, FAILED_FOR, KNOWN_FOR, Known, Outcome, probe};
use crate::fleet::Fleet;

/// [`Way`] by the id of its cluster.
pub(super) static ENGINE_WAYS: Collection = Collection { name: "engine-ways", indexed: &[] };

/// That a way works is noted again after so long.
const NOTED_FOR: Duration = Duration::from_hours(24);
/// An engine that is no output any more, and of which nothing was heard for so long, will not answer again.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(30 * 24);

/// The way to a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Way {
    /// The output that named it.
    output_id: String,
    /// [`Whole`].
    sealed: Sealed,
    /// When it worked last, to the day.
    worked_at: Timestamp,
}

fn ways(fleet: &Fleet) -> Typed<Way> {
    Typed::new(Arc::clone(&fleet.store), &ENGINE_WAYS)
}

fn context(cluster: &str) -> Context<'_> {
    Context::new(ENGINE_WAYS.name, cluster, "output")
}

async fn opened(fleet: &Fleet, cluster: &str, way: &Way) -> Option<Whole> {
    let plain = fleet.keyring.unseal_fresh(context(cluster), &way.sealed).await.ok()?;
    serde_json::from_slice(&plain).ok()
}

/// Keeps a way that works. Until it is kept, no key is made there.
pub(super) async fn keep(fleet: &Fleet, cluster: &str, whole: &Whole) -> Result<(), EngineProblem> {
    let (ways, now) = (ways(fleet), fleet.clock.now());
    let known = ways.get(cluster).await.map_err(|_| EngineProblem::Store)?.map(|found| found.value);
    if let Some(known) = known.filter(|known| known.worked_at.until(now) < NOTED_FOR)
        && opened(fleet, cluster, &known).await.as_ref() == Some(whole)
    {
        return Ok(());
    }
    let plain = serde_json::to_vec(whole).map_err(|_| EngineProblem::Store)?;
    let sealed = fleet.keyring.seal(context(cluster), &plain);
    let sealed = sealed.map_err(|error| EngineProblem::Settings {
        output: whole.output_id.clone(),
        reason: format!("it cannot be kept for the end of its keys: {error}"),
    })?;
    let way = Way { output_id: whole.output_id.clone(), sealed, worked_at: now };
    ways.put(cluster, &way, Expect::Any, None, None).await.map_err(|_| EngineProblem::Store)?;
    Ok(())
}

impl Engines {
    /// The engine that is this cluster: through an output if that names it still, else on the way that was kept.
    pub(crate) async fn open_cluster(&self, fleet: &Fleet, output_id: &str, cluster: &str) -> Outcome {
        let problem = match self.open(fleet, output_id).await {
            Ok(access) if access.probe.cluster == cluster => return Ok(access),
            Ok(_) => EngineProblem::Gone(output_id.to_owned()),
            Err(problem) => problem,
        };
        match self.open_former(fleet, cluster).await {
            Ok(Some(access)) => Ok(access),
            // Nobody knows another way.
            Ok(None) => Err(problem),
            Err(former) if matches!(problem, EngineProblem::Gone(_)) => Err(former),
            Err(_) => Err(problem),
        }
    }

    /// What was known of a cluster turned out to be wrong: it is looked at again.
    pub(crate) async fn forget_cluster(&self, output_id: &str, cluster: &str) {
        self.forget(output_id).await;
        self.former.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }

    async fn open_former(&self, fleet: &Fleet, cluster: &str) -> Result<Option<Arc<Access>>, EngineProblem> {
        let cell = {
            let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(former.entry(cluster.to_owned()).or_default())
        };
        let mut known = cell.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return known.outcome.clone().map(Some);
        }
        let found = ways(fleet).get(cluster).await.map_err(|_| EngineProblem::Store)?;
        let Some(way) = found.map(|found| found.value) else {
            self.former.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
            return Ok(None);
        };
        let outcome = self.walk(fleet, cluster, &way).await;
        if outcome.is_err() && way.worked_at.until(fleet.clock.now()) > GIVEN_UP_AFTER {
            return Ok(None);
        }
        let keep = if outcome.is_ok() { KNOWN_FOR } else { FAILED_FOR };
        *known = Some(Known { of: Vec::new(), until: Instant::now() + keep, outcome: outcome.clone() });
        outcome.map(Some)
    }

    async fn walk(&self, fleet: &Fleet, cluster: &str, way: &Way) -> Outcome {
        let gone = || EngineProblem::Gone(way.output_id.clone());
        let whole = opened(fleet, cluster, way).await.ok_or_else(gone)?;
        let connection = settings::connection(&whole, self.login.get()).await?;
        let probe = probe::probe(&connection).await?;
        // Another one stands there now.
        if probe.cluster == cluster { Ok(Arc::new(Access { connection, probe })) } else { Err(gone()) }
    }

    /// Forgets the ways to these clusters.
    pub(super) async fn forget_ways(
        &self,
        fleet: &Fleet,
        clusters: &BTreeSet<String>,
        lease: LeaseId,
    ) -> Result<(), WriteError> {
        for cluster in clusters {
            ways(fleet).delete(cluster, Expect::Any, Some(lease)).await?;
            self.former.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
            info!(cluster, "no agent has a key of this engine any more: how to log in there is forgotten");
        }
        Ok(())
    }

    /// The clusters that a way is kept to although no output names them, as far as is known.
    pub(super) async fn without_output(&self, fleet: &Fleet) -> Result<BTreeSet<String>, WriteError> {
        let ways = ways(fleet).list(Scope::All).await.map_err(WriteError::NotDone)?.values;
        let (records, outputs) = (self.records.all(), fleet.settings.outputs.all());
        let named: BTreeSet<&str> = (records.iter())
            .filter(|(id, _)| outputs.get(*id).is_some_and(|output| output.value.kind.is_engine()))
            .filter_map(|(_, record)| record.value.cluster.as_deref())
            .collect();
        Ok(ways.into_iter().map(|way| way.id).filter(|cluster| !named.contains(&**cluster)).collect())
    }
}
