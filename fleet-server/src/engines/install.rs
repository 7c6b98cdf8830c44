//! Puts what packages bring into one engine, and takes out what nobody wants any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_integration::assets::{Asset, AssetKind};
use fleet_store::{Expect, LeaseId, Typed, WriteError};
use tracing::{info, warn};

use super::calls::{apply, observe, remove, start};
use super::plan::{Observed, plan};
use super::record::{
    ENGINE_PACKAGES, ENGINES, EnginePackage, EngineRecord, EngineStatus, InstalledAsset, MOST_NOTES,
    package_id,
};
use super::refusals::Refusals;
use super::wanted::{WantedPackage, WantedPackages, targets};
use super::{Access, EngineProblem};
use crate::deployment::Deployer;
use crate::fleet::Fleet;

/// Who ships policies again when agents get keys of their own.
const AUTHOR: &str = "fleet-server";

/// One engine, while it is set up.
pub(super) struct Setup {
    pub(super) fleet: Arc<Fleet>,
    pub(super) lease: LeaseId,
    pub(super) output_id: String,
}

/// Why one package is not there.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Engine(#[from] EngineProblem),
    #[error("{0}")]
    Package(String),
    #[error(transparent)]
    Refused(Refusals),
    #[error("what was done cannot be noted")]
    Note(#[from] WriteError),
}

impl Setup {
    /// Sets it up. Answers whether all is as it should be.
    pub(super) async fn run(&self, wanted: &WantedPackages) -> Result<bool, WriteError> {
        let fleet = &self.fleet;
        let access = match fleet.engines.open(fleet, &self.output_id).await {
            Ok(access) if access.probe.missing.is_empty() => access,
            Ok(access) => {
                let problem = EngineProblem::Rights(access.probe.missing.clone());
                self.tell(Some(&access), Some(&problem)).await?;
                return Ok(false);
            }
            Err(problem) => {
                self.tell(None, Some(&problem)).await?;
                return Ok(false);
            }
        };
        match self.all(&access, wanted).await {
            Ok(is_done) => {
                self.tell(Some(&access), None).await?;
                Ok(is_done)
            }
            Err(Failure::Note(error)) => Err(error),
            Err(failure) => {
                // What was known of it may be over: the login was changed, or another engine stands there.
                fleet.engines.forget(&self.output_id).await;
                let problem = match failure {
                    Failure::Engine(problem) => problem,
                    other => {
                        EngineProblem::Settings { output: self.output_id.clone(), reason: other.to_string() }
                    }
                };
                self.tell(Some(&access), Some(&problem)).await?;
                Ok(false)
            }
        }
    }

    async fn all(&self, access: &Access, wanted: &WantedPackages) -> Result<bool, Failure> {
        let observed = observe(access).await?;
        let mut is_done = true;
        for (name, package) in wanted {
            is_done &= self.package(access, name, package, &observed).await?;
        }
        let known = self.fleet.engines.packages.refresh().await.map_err(WriteError::NotDone)?;
        let own = known.values().map(|found| &found.value).filter(|found| found.output_id == self.output_id);
        for over in own.filter(|found| !wanted.contains_key(&found.name)) {
            is_done &= self.remove_package(access, over, &observed).await?;
        }
        Ok(is_done)
    }

    /// Puts one package there. One that cannot be put there holds up no other.
    async fn package(
        &self,
        access: &Access,
        name: &str,
        wanted: &WantedPackage,
        observed: &Observed,
    ) -> Result<bool, Failure> {
        let fleet = &self.fleet;
        let before = fleet.engines.packages.read(&package_id(&self.output_id, name)).await;
        let before =
            before.map_err(WriteError::NotDone)?.map(|found| found.value.clone()).unwrap_or_default();
        let mut record = EnginePackage {
            output_id: self.output_id.clone(),
            name: name.to_owned(),
            version: wanted.version.clone(),
            assets: before.assets.clone(),
            ..EnginePackage::default()
        };
        let outcome = self.put_package(access, wanted, observed, &before, &mut record).await;
        record.status = EngineStatus::Installed;
        let is_done = match outcome {
            Ok(()) => true,
            Err(failure @ (Failure::Note(_) | Failure::Engine(EngineProblem::Unreachable { .. }))) => {
                return Err(failure);
            }
            Err(failure) => {
                record.status = EngineStatus::InstallFailed;
                record.problem = Some(failure.to_string());
                if before.problem != record.problem {
                    let output = &self.output_id;
                    let problem = failure.to_string();
                    warn!(output, package = name, problem, "a package cannot be put into an engine");
                }
                false
            }
        };
        self.note(before, record).await?;
        Ok(is_done)
    }

    async fn put_package(
        &self,
        access: &Access,
        wanted: &WantedPackage,
        observed: &Observed,
        before: &EnginePackage,
        record: &mut EnginePackage,
    ) -> Result<(), Failure> {
        let (fleet, name) = (&self.fleet, record.name.clone());
        let failed = |error: crate::packages::PackagesError| Failure::Package(error.to_string());
        let targets = targets(fleet, &name, wanted).await.map_err(failed)?;
        let engine = access.probe.engine.clone();
        let made =
            fleet.packages.engine_assets(&name, &wanted.version, targets, engine).await.map_err(failed)?;
        let made =
            made.ok_or_else(|| Failure::Package(format!("package {name}-{} is not there", wanted.version)))?;
        let plan = plan(&made.assets, &before.assets, observed);
        let of = |asset: &Asset| InstalledAsset { id: asset.name.clone(), kind: asset.kind };
        let ours = made.assets.iter().map(of).filter(|asset| !plan.foreign.contains(asset));
        let ours: BTreeSet<InstalledAsset> = ours.collect();
        record.notes = made.notes.iter().take(MOST_NOTES).cloned().collect();
        record.foreign.clone_from(&plan.foreign);
        let all: BTreeSet<InstalledAsset> = ours.iter().chain(&before.assets).cloned().collect();
        record.assets = all.into_iter().collect();
        if !plan.put.is_empty() {
            // First: what is put there and not noted would stay for ever.
            record.status = EngineStatus::Installing;
            self.note(before.clone(), record.clone()).await?;
            info!(output = self.output_id, package = name, assets = plan.put.len(), "goes into an engine");
        }
        let refusals = apply(&access.connection, &plan, &made.assets, observed).await?;
        // What was put there by a server that ended may not run yet. What people have stopped stays so.
        let is_new = |asset: &&Asset| before.status != EngineStatus::Installed || plan.put.contains(asset);
        let runs = made.assets.iter().filter(|asset| asset.is_started && !refusals.concern(asset));
        for asset in runs.filter(is_new) {
            start(&access.connection, &asset.name).await?;
        }
        if !refusals.is_empty() {
            // What is there of another version goes on working in its place.
            let is_there = |asset: &InstalledAsset| {
                let asset = made.assets.iter().find(|made| made.kind == asset.kind && made.name == asset.id);
                asset.is_none_or(|asset| !refusals.concern(asset))
            };
            record.assets.retain(|asset| before.assets.contains(asset) || is_there(asset));
            return Err(Failure::Refused(refusals));
        }
        let left = remove(&access.connection, &plan.remove).await?;
        let unseen = unseen(access, &before.assets);
        record.assets = ours.into_iter().chain(left).chain(unseen).collect();
        Ok(())
    }

    /// Takes out what a package has put there that nobody wants any more.
    async fn remove_package(
        &self,
        access: &Access,
        over: &EnginePackage,
        observed: &Observed,
    ) -> Result<bool, Failure> {
        let plan = plan(&[], &over.assets, observed);
        let mut left = remove(&access.connection, &plan.remove).await?;
        let unseen = unseen(access, &over.assets);
        if left.is_empty() && unseen.is_empty() {
            info!(output = self.output_id, package = over.name, "was taken out of an engine");
            let documents: Typed<EnginePackage> = Typed::new(Arc::clone(&self.fleet.store), &ENGINE_PACKAGES);
            documents.delete(&package_id(&self.output_id, &over.name), Expect::Any, Some(self.lease)).await?;
            return Ok(true);
        }
        let problem = match unseen.is_empty() {
            true => "data streams still use the rest: it goes when they are deleted".to_owned(),
            false => {
                let why = &access.probe.engine;
                let why = why.no_lifecycles.as_ref().or(why.no_transforms.as_ref());
                format!("the rest cannot be removed: {}", why.map_or("", String::as_str))
            }
        };
        left.extend(unseen);
        let record = EnginePackage {
            status: EngineStatus::Removing,
            problem: Some(problem),
            assets: left,
            ..over.clone()
        };
        self.note(over.clone(), record).await?;
        // Nobody can do more about it here, so that it is no failure.
        Ok(true)
    }

    /// Notes what was done, if that is not known.
    async fn note(&self, before: EnginePackage, mut record: EnginePackage) -> Result<(), WriteError> {
        record.since = before.since;
        if record == before {
            return Ok(());
        }
        record.since = self.fleet.clock.now();
        let documents: Typed<EnginePackage> = Typed::new(Arc::clone(&self.fleet.store), &ENGINE_PACKAGES);
        let id = package_id(&self.output_id, &record.name);
        documents.put(&id, &record, Expect::Any, None, Some(self.lease)).await.map(drop)
    }

    /// Notes what the engine is, or why it cannot be used.
    async fn tell(&self, access: Option<&Access>, problem: Option<&EngineProblem>) -> Result<(), WriteError> {
        let known = self.fleet.engines.records.get(&self.output_id).map(|found| found.value.clone());
        let before = known.clone().unwrap_or_default();
        let mut record =
            EngineRecord { problem: problem.map(ToString::to_string), since: before.since, ..before.clone() };
        if let Some(access) = access {
            record.family = Some(access.probe.engine.family);
            record.version = Some(access.probe.engine.version);
            record.cluster = Some(access.probe.cluster.clone());
            record.makes_keys = access.probe.makes_keys;
        }
        if known.is_some_and(|known| known == record) {
            return Ok(());
        }
        if let Some(problem) = &record.problem {
            // Many have none, or want it so: whoever looks at a package is told.
            info!(output = self.output_id, problem, "an engine cannot be administered");
        }
        record.since = self.fleet.clock.now();
        let documents: Typed<EngineRecord> = Typed::new(Arc::clone(&self.fleet.store), &ENGINES);
        documents.put(&self.output_id, &record, Expect::Any, None, Some(self.lease)).await?;
        if record.makes_keys != before.makes_keys {
            self.ship_again().await?;
        }
        Ok(())
    }

    /// Agents get keys of their own from now on, or no more.
    async fn ship_again(&self) -> Result<(), WriteError> {
        // So that what was noted just now is known here.
        self.fleet.engines.records.read(&self.output_id).await.map_err(WriteError::NotDone)?;
        if let Err(error) = Deployer::new(Arc::clone(&self.fleet)).redeploy_outdated(AUTHOR).await {
            let error: &dyn std::error::Error = &error;
            warn!(output = self.output_id, error, "policies are shipped with other keys a little later");
        }
        Ok(())
    }
}

/// What cannot be seen in the engine, since the login may not any more: nobody knows whether it is there.
fn unseen(access: &Access, assets: &[InstalledAsset]) -> Vec<InstalledAsset> {
    let engine = &access.probe.engine;
    let is_unseen = |asset: &&InstalledAsset| match asset.kind {
        AssetKind::IlmPolicy | AssetKind::IsmPolicy => engine.no_lifecycles.is_some(),
        AssetKind::Transform => engine.no_transforms.is_some(),
        _ => false,
    };
    assets.iter().filter(is_unseen).cloned().collect()
}
