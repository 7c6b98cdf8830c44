//! Which version of a package is installed, and what becomes of the others.
//!
//! To be installed is a record: the version that new integrations are made of. The archive is kept with it, and
//! so are those of versions that integrations still are of, and that of the version before, to go back to.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_integration::Package;
use fleet_policy::timestamp::Timestamp;

use super::stored::{
    ArchiveKind, FailedAttempt, FailedReason, InstallSource, InstallStatus, InstalledPackage,
};
use super::{Packages, PackagesError, key, version};
use crate::config::DEFAULT_VERSION;
use crate::integrations::Row;

/// Attempts that failed which are told.
const MOST_ATTEMPTS_TOLD: usize = 5;
/// Integrations that are named when they are in the way.
const MOST_NAMED: usize = 10;

/// An archive is kept for so long although nobody uses it yet.
const SPARED: Duration = Duration::from_secs(15 * 60);

/// What is to be installed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Install<'a> {
    /// The package.
    pub name: &'a str,
    /// The newest one if it is not said.
    pub version: Option<&'a str>,
    /// Whether going back to an older version is meant.
    pub force: bool,
    /// Whether it does not matter what the package says it needs.
    pub ignore_constraints: bool,
    /// Whether the newest one may be one before a release.
    pub prerelease: bool,
    /// The space of whoever asks.
    pub space: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// What was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The package.
    pub package: Arc<Package>,
    /// What is known of it now.
    pub record: InstalledPackage,
    /// Whether it was installed in this version before.
    pub was_installed: bool,
}

impl Packages {
    /// The version of this package that is installed; `None`: none is.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn installed(&self, name: &str) -> Result<Option<InstalledPackage>, PackagesError> {
        Ok(self.attempted(name).await?.filter(InstalledPackage::is_installed))
    }

    /// What is installed of this package, or could not be ([`InstalledPackage::is_installed`]).
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn attempted(&self, name: &str) -> Result<Option<InstalledPackage>, PackagesError> {
        self.stored.record(name).await
    }

    /// Installs a package: one that is kept, part of the program, or in the registry. An installed one is
    /// installed again.
    ///
    /// # Errors
    /// [`PackagesError`]. Why an existing version could not be installed is kept.
    pub async fn install(&self, ask: &Install<'_>) -> Result<Installed, PackagesError> {
        let version = match ask.version {
            Some(version) => version.to_owned(),
            None => self.newest(ask.name, ask.prerelease).await?,
        };
        let installed = self.installed(ask.name).await?;
        let obtained = self.obtain(ask.name, &version, ask.now).await;
        let (package, source) = match obtained {
            Ok(Some(obtained)) => obtained,
            Ok(None) => {
                return Err(PackagesError::NotFound { name: ask.name.to_owned(), version: Some(version) });
            }
            Err(error) => return Err(self.failed(ask, &version, error).await),
        };
        if let Err(error) = self.check(&package, installed.as_ref(), ask) {
            return Err(self.failed(ask, &version, error).await);
        }
        self.keep_archive(&package, source, ask.now).await?;
        let was_installed = installed.is_some_and(|installed| installed.version == version);
        let record = self.record(&package, source, ask.space, ask.now).await?;
        self.prune(ask.name, Some(ask.now)).await?;
        Ok(Installed { package, record, was_installed })
    }

    /// Keeps an archive that somebody sent, and installs what is in it.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn upload(
        &self,
        kind: ArchiveKind,
        source: InstallSource,
        bytes: Bytes,
        space: &str,
        now: Timestamp,
    ) -> Result<Installed, PackagesError> {
        let package = self.add(kind, source, bytes, now).await?;
        let record = self.record(&package, source, space, now).await?;
        self.prune(&package.name, Some(now)).await?;
        Ok(Installed { package, record, was_installed: false })
    }

    /// What integrations of a version need: that it is here. If the package is not installed yet, or in an older
    /// version, it is installed: that is its first use.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn ensure_installed(
        &self,
        name: &str,
        version: &str,
        now: Timestamp,
    ) -> Result<Arc<Package>, PackagesError> {
        let installed = self.installed(name).await?;
        let is_newer_or_same =
            |installed: InstalledPackage| version::compare(&installed.version, version) != Ordering::Less;
        if installed.is_some_and(is_newer_or_same) {
            // Perhaps an older one, for integrations that are not upgraded yet.
            let obtained = self.obtain(name, version, now).await?;
            let not_found =
                || PackagesError::NotFound { name: name.to_owned(), version: Some(version.to_owned()) };
            let (package, source) = obtained.ok_or_else(not_found)?;
            self.keep_archive(&package, source, now).await?;
            return Ok(package);
        }
        let ask = Install {
            name,
            version: Some(version),
            force: false,
            ignore_constraints: false,
            prerelease: true,
            space: "default",
            now,
        };
        Ok(self.install(&ask).await?.package)
    }

    /// Goes back to the version that was installed before.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn roll_back(
        &self,
        name: &str,
        space: &str,
        now: Timestamp,
    ) -> Result<Installed, PackagesError> {
        let installed = self.installed(name).await?;
        let installed = installed.ok_or_else(|| PackagesError::NotInstalled(name.to_owned()))?;
        let previous = installed.previous_version.ok_or_else(|| {
            PackagesError::Refused(format!("{name} was not installed in another version before"))
        })?;
        let ask = Install {
            name,
            version: Some(&previous),
            force: true,
            ignore_constraints: true,
            prerelease: true,
            space,
            now,
        };
        self.install(&ask).await
    }

    /// Removes a package. Versions that integrations are of stay in the store until they are not.
    ///
    /// # Errors
    /// It is not installed; integrations are of it and it is not forced; the store does not answer.
    pub async fn uninstall(
        &self,
        name: &str,
        version: Option<&str>,
        force: bool,
    ) -> Result<(), PackagesError> {
        let installed = self.stored.record(name).await?;
        let is_whole =
            installed.as_ref().is_some_and(|found| version.is_none_or(|version| version == found.version));
        let uses = self.stored.uses_of(name).await?;
        if !is_whole {
            let key = version.map(|version| key(name, version));
            let is_kept = match &key {
                Some(key) => self.stored.head(key).await?.is_some(),
                None => false,
            };
            let Some(key) = key.filter(|_| is_kept) else {
                return Err(PackagesError::NotInstalled(name.to_owned()));
            };
            // An archive that integrations need stays until they do not: as a version it is not installed all the same.
            if uses.iter().any(|one| used_version(one) == version) {
                return Err(PackagesError::NotInstalled(name.to_owned()));
            }
            self.stored.remove(&key).await?;
            return Ok(());
        }
        if !force {
            refuse_used(name, uses.iter())?;
        }
        self.stored.installed.delete(name, fleet_store::Expect::Any).await?;
        self.prune(name, None).await
    }

    /// Sets whether integrations are upgraded with their package.
    ///
    /// # Errors
    /// It is not installed; the store does not answer.
    pub async fn keep_policies_up_to_date(
        &self,
        name: &str,
        keep: bool,
    ) -> Result<InstalledPackage, PackagesError> {
        self.change_installed(name, |installed| installed.keep_policies_up_to_date = keep).await
    }

    /// Notes that a space has asked for a package, or does not want it any more. It is there for all the same.
    ///
    /// # Errors
    /// It is not installed; the store does not answer.
    pub async fn note_spaces(
        &self,
        name: &str,
        spaces: &[String],
        wants: bool,
    ) -> Result<InstalledPackage, PackagesError> {
        self.change_installed(name, |installed| {
            installed.other_spaces.retain(|space| !spaces.contains(space));
            if wants {
                let new = spaces.iter().filter(|space| **space != installed.space).cloned();
                installed.other_spaces.extend(new);
                installed.other_spaces.dedup();
            }
        })
        .await
    }

    async fn change_installed(
        &self,
        name: &str,
        change: impl Fn(&mut InstalledPackage) + Send,
    ) -> Result<InstalledPackage, PackagesError> {
        let changed = self.stored.change(name, |before| {
            let mut after = before.filter(|before| before.is_installed())?.clone();
            change(&mut after);
            Some(after)
        });
        changed.await?.ok_or_else(|| PackagesError::NotInstalled(name.to_owned()))
    }

    /// The newest version that there is, here or in the registry.
    ///
    /// # Errors
    /// There is none; the registry does not answer, and there is none here.
    pub async fn newest(&self, name: &str, prerelease: bool) -> Result<String, PackagesError> {
        let here = self.available_here(name).map(|found| found.latest);
        let there = match self.registry() {
            Some(registry) => registry.newest(name, prerelease).await,
            None => Ok(None),
        };
        let there = match (there, &here) {
            (Ok(there), _) => there,
            // What is here can be installed without it.
            (Err(_), Some(_)) => None,
            (Err(error), None) => return Err(PackagesError::Registry(error)),
        };
        let newest = here.into_iter().chain(there).max_by(|a, b| version::compare(a, b));
        newest.ok_or_else(|| PackagesError::NotFound { name: name.to_owned(), version: None })
    }

    /// What the package says it needs, and whether it goes back.
    fn check(
        &self,
        package: &Package,
        installed: Option<&InstalledPackage>,
        ask: &Install<'_>,
    ) -> Result<(), PackagesError> {
        let (name, version) = (&package.name, &package.version);
        let is_older =
            |installed: &&InstalledPackage| version::compare(version, &installed.version) == Ordering::Less;
        if let Some(newer) = installed.filter(is_older)
            && !ask.force
        {
            let text = format!(
                "{name}-{version} is out-of-date and cannot be installed or updated: {} is installed; send \
                 \"force\": true to go back",
                newer.version
            );
            return Err(PackagesError::Refused(text));
        }
        let Some(range) = package.conditions.kibana_version.as_deref().filter(|_| !ask.ignore_constraints)
        else {
            return Ok(());
        };
        let server = self.setup().map_or(DEFAULT_VERSION, |setup| setup.server_version.as_str());
        let problem = match version::fits(range, server) {
            Ok(true) => return Ok(()),
            Ok(false) => format!("needs a server of version {range}, and this is {server}"),
            Err(error) => format!("has a condition kibana.version that cannot be checked: {error}"),
        };
        Err(PackagesError::Refused(format!(
            "{name}-{version} {problem}: install another version, or send \"ignore_constraints\": true"
        )))
    }

    async fn keep_archive(
        &self,
        package: &Package,
        source: InstallSource,
        now: Timestamp,
    ) -> Result<(), PackagesError> {
        let key = key(&package.name, &package.version);
        if source != InstallSource::Bundled || self.stored.head(&key).await?.is_some() {
            return Ok(());
        }
        // The next version of the program may have another one, and integrations stay what they are.
        let bytes = super::bundled::find(&package.name, &package.version).unwrap_or_default();
        self.add(ArchiveKind::TarGz, source, bytes, now).await.map(|_| ())
    }

    async fn record(
        &self,
        package: &Package,
        source: InstallSource,
        space: &str,
        now: Timestamp,
    ) -> Result<InstalledPackage, PackagesError> {
        let changed = self.stored.change(&package.name, |before| {
            let before = before.cloned();
            let was_installed = before.as_ref().is_some_and(InstalledPackage::is_installed);
            let mut after = before.unwrap_or_else(|| InstalledPackage {
                name: package.name.clone(),
                version: package.version.clone(),
                install_status: InstallStatus::Installed,
                install_source: source,
                installed_at: now,
                keep_policies_up_to_date: false,
                previous_version: None,
                space: space.to_owned(),
                other_spaces: Vec::new(),
                failed_attempts: Vec::new(),
            });
            if was_installed && after.version != package.version {
                after.previous_version = Some(after.version.clone());
            }
            after.version.clone_from(&package.version);
            after.install_status = InstallStatus::Installed;
            after.install_source = source;
            after.installed_at = now;
            after.failed_attempts.retain(|failed| failed.target_version != package.version);
            Some(after)
        });
        changed.await?.ok_or(PackagesError::Busy)
    }

    /// Keeps why a version could not be installed. Returns what whoever asked is told.
    async fn failed(&self, ask: &Install<'_>, version: &str, error: PackagesError) -> PackagesError {
        let name = match &error {
            PackagesError::Refused(_) => "PackageConstraintError",
            PackagesError::Registry(_) => "RegistryError",
            PackagesError::Archive(_) | PackagesError::Package(_) | PackagesError::Corrupt(_) => {
                "PackageInvalidArchiveError"
            }
            // Nothing is wrong with the package.
            _ => return error,
        };
        let attempt = FailedAttempt {
            created_at: ask.now,
            target_version: version.to_owned(),
            error: FailedReason { name: name.to_owned(), message: error.to_string() },
        };
        let kept = self.stored.change(ask.name, |before| {
            let mut after = before.cloned().unwrap_or_else(|| InstalledPackage {
                name: ask.name.to_owned(),
                version: version.to_owned(),
                install_status: InstallStatus::InstallFailed,
                install_source: InstallSource::Registry,
                installed_at: ask.now,
                keep_policies_up_to_date: false,
                previous_version: None,
                space: ask.space.to_owned(),
                other_spaces: Vec::new(),
                failed_attempts: Vec::new(),
            });
            after.failed_attempts.insert(0, attempt.clone());
            after.failed_attempts.truncate(MOST_ATTEMPTS_TOLD);
            Some(after)
        });
        match kept.await {
            // The store is in trouble, which is worse.
            Err(worse @ PackagesError::Store(_)) => worse,
            _ => error,
        }
    }

    /// Removes the archives of versions that nobody needs. At `now`, those that came a moment ago are spared:
    /// somebody may be about to use them.
    async fn prune(&self, name: &str, now: Option<Timestamp>) -> Result<(), PackagesError> {
        let installed = self.installed(name).await?;
        let uses = self.stored.uses_of(name).await?;
        let mut needed: BTreeSet<&str> = uses.iter().filter_map(used_version).collect();
        if let Some(installed) = &installed {
            needed.insert(&installed.version);
            needed.extend(installed.previous_version.as_deref());
        }
        let all = self.stored.archives.all();
        for archive in all.values().map(|archive| &archive.value) {
            let version = archive.summary.version.as_str();
            let is_new = now.is_some_and(|now| archive.kept_at.until(now) < SPARED);
            if archive.summary.name == name && !needed.contains(version) && !is_new {
                self.stored.remove(&key(name, version)).await?;
            }
        }
        Ok(())
    }
}

fn used_version(one: &Row) -> Option<&str> {
    one.package.as_ref().map(|package| &*package.version)
}

fn refuse_used<'a>(name: &str, uses: impl Iterator<Item = &'a Row>) -> Result<(), PackagesError> {
    let names: Vec<&str> = uses.map(|one| &*one.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let told = names[..names.len().min(MOST_NAMED)].join(", ");
    let more = match names.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(PackagesError::InUse(format!(
        "unable to remove package {name}: integrations are of it ({told}{more}); remove them first, or send force=true"
    )))
}
