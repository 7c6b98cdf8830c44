//! Sets engines up when packages, integrations or outputs change, and looks from time to time whether all is
//! there still.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_policy::keeper::Duty;
use fleet_store::{Error, ErrorKind, Expect, LeaseId, Typed, WriteError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::install::Setup;
use super::record::{ENGINE_PACKAGES, ENGINES, EnginePackage, EngineRecord};
use super::wanted::{Wanted, WantedPackages};
use crate::fleet::Fleet;

/// How often it is looked whether something has changed. Nothing is asked for that: all of it is in memory.
const ROUND: Duration = Duration::from_secs(1);
/// An engine that is as it should be is looked at again after so long: people remove things.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
/// The first pause after a failure; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// One engine may take so long: hundreds of packages, on a slow one.
const LONGEST: Duration = Duration::from_mins(10);

/// Sets engines up, as long as its server is the keeper.
#[derive(Debug)]
pub struct Installer(Arc<Fleet>);

/// What came of an engine the last time.
#[derive(Clone, Copy, Debug)]
struct Seen {
    recipe: u64,
    next: Instant,
    failures: u32,
}

type Ended = (String, u64, Result<bool, WriteError>);

impl Installer {
    /// That of this server.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>) -> Installer {
        Installer(fleet)
    }

    /// What engines should have. One that has something and should have nothing is among them.
    fn wanted(&self) -> BTreeMap<String, WantedPackages> {
        let fleet = &self.0;
        let mut wanted = Wanted::now(fleet).0;
        let outputs = fleet.settings.outputs.all();
        for record in fleet.engines.packages.all().values() {
            let id = &record.value.output_id;
            if outputs.get(id).is_some_and(|output| output.value.kind.is_engine()) {
                wanted.entry(id.clone()).or_default();
            }
        }
        wanted
    }

    /// What is known of outputs that are gone is forgotten: nobody can log in there any more.
    async fn forget_gone(&self, lease: LeaseId) -> Result<(), WriteError> {
        let fleet = &self.0;
        let outputs = fleet.settings.outputs.all();
        let is_gone = |id: &str| !outputs.get(id).is_some_and(|output| output.value.kind.is_engine());
        let records: Typed<EngineRecord> = Typed::new(Arc::clone(&fleet.store), &ENGINES);
        for (id, _) in fleet.engines.records.all().iter().filter(|(id, _)| is_gone(id)) {
            let revision = records.delete(id, Expect::Any, Some(lease)).await?;
            fleet.engines.records.forget(id, revision);
        }
        let packages: Typed<EnginePackage> = Typed::new(Arc::clone(&fleet.store), &ENGINE_PACKAGES);
        let all = fleet.engines.packages.all();
        for (id, _) in all.iter().filter(|(_, found)| is_gone(&found.value.output_id)) {
            let revision = packages.delete(id, Expect::Any, Some(lease)).await?;
            fleet.engines.packages.forget(id, revision);
        }
        Ok(())
    }
}

#[async_trait]
impl Duty for Installer {
    async fn serve(&self, lease: LeaseId) -> Result<(), WriteError> {
        let mut seen: HashMap<String, Seen> = HashMap::new();
        // Dropped with this. Each has its own, so that a slow engine holds up no other.
        let mut running: JoinSet<Ended> = JoinSet::new();
        let mut busy: HashMap<String, ()> = HashMap::new();
        loop {
            self.forget_gone(lease).await?;
            let wanted = self.wanted();
            seen.retain(|id, _| wanted.contains_key(id));
            for (output_id, packages) in wanted {
                let recipe = Wanted::recipe(&self.0, &output_id, &packages);
                let last = seen.get(&output_id);
                let is_due = last.is_none_or(|last| last.recipe != recipe || Instant::now() >= last.next);
                if is_due && busy.insert(output_id.clone(), ()).is_none() {
                    let setup = Setup { fleet: Arc::clone(&self.0), lease, output_id: output_id.clone() };
                    running.spawn(async move {
                        let outcome = timeout(LONGEST, Box::pin(setup.run(&packages))).await;
                        (output_id, recipe, outcome.unwrap_or(Ok(false)))
                    });
                }
            }
            tokio::select! {
                () = sleep(ROUND) => {}
                Some(ended) = running.join_next() => {
                    let (output_id, recipe, outcome) = ended.map_err(not_done)?;
                    busy.remove(&output_id);
                    let failures = match seen.get(&output_id) {
                        Some(last) if last.recipe == recipe => last.failures,
                        _ => 0,
                    };
                    seen.insert(output_id, next(recipe, outcome?, failures));
                }
            }
        }
    }
}

fn next(recipe: u64, is_done: bool, failures: u32) -> Seen {
    if is_done {
        return Seen { recipe, next: Instant::now() + LOOK_AGAIN, failures: 0 };
    }
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    Seen { recipe, next: Instant::now() + pause, failures: failures + 1 }
}

fn not_done(error: tokio::task::JoinError) -> WriteError {
    WriteError::NotDone(Error::caused_by(ErrorKind::Unavailable, "set up an engine", error))
}
