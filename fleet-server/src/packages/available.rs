//! Which packages there are, and in which versions.

use std::collections::BTreeMap;

use tracing::warn;

use super::bundled::{BUNDLED, Bundled};
use super::stored::{InstallSource, InstalledPackage};
use super::summary::Summary;
use super::{Packages, key, version};

/// A package that there is.
#[derive(Clone, Debug)]
pub struct Available {
    /// Of the version that lists show: the newest one; of a package that somebody sent, the installed one.
    pub summary: Summary,
    /// Where that comes from.
    pub source: InstallSource,
    /// The newest version.
    pub latest: String,
    /// What is installed of it, or could not be.
    pub installed: Option<InstalledPackage>,
}

impl Available {
    /// Whether what is installed was sent by somebody, who knows of no other version.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.installed.as_ref().is_some_and(is_sent)
    }
}

fn is_sent(installed: &InstalledPackage) -> bool {
    let is_own = matches!(installed.install_source, InstallSource::Upload | InstallSource::Custom);
    installed.is_installed() && is_own
}

impl Packages {
    /// All packages by their names. A registry that does not answer has none: what is here stays usable.
    pub async fn available(&self, prerelease: bool) -> Vec<Available> {
        let mut versions = self.local();
        if let Some(registry) = self.registry() {
            match registry.search(prerelease).await {
                Ok(found) => {
                    for summary in found.iter() {
                        let of_name = versions.entry(summary.name.clone()).or_default();
                        of_name.push((summary.clone(), InstallSource::Registry));
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "the registry of packages does not answer: what is here is shown");
                }
            }
        }
        let chosen = versions.into_iter().filter_map(|(name, versions)| self.choose(&name, &versions));
        chosen.collect()
    }

    /// One package, if it is here: kept, or part of the program.
    #[must_use]
    pub fn available_here(&self, name: &str) -> Option<Available> {
        let versions = self.local().remove(name)?;
        self.choose(name, &versions)
    }

    /// What is installed, as this server knows it, by name.
    #[must_use]
    pub fn all_installed(&self) -> Vec<InstalledPackage> {
        let all = self.stored.installed.all();
        all.values().map(|found| found.value.clone()).filter(InstalledPackage::is_installed).collect()
    }

    /// What lists tell of a version that is here.
    #[must_use]
    pub fn summary(&self, name: &str, version: &str) -> Option<Summary> {
        if let Some(archive) = self.stored.archives.get(&key(name, version)) {
            return Some(archive.value.summary.clone());
        }
        let is_it = |one: &&Bundled| one.summary.name == name && one.summary.version == version;
        BUNDLED.iter().find(is_it).map(|bundled| bundled.summary.clone())
    }

    fn local(&self) -> BTreeMap<String, Vec<(Summary, InstallSource)>> {
        let mut versions: BTreeMap<String, Vec<(Summary, InstallSource)>> = BTreeMap::new();
        for archive in self.stored.archives.all().values() {
            let (summary, source) = (archive.value.summary.clone(), archive.value.source);
            versions.entry(summary.name.clone()).or_default().push((summary, source));
        }
        for bundled in BUNDLED.iter() {
            let summary = bundled.summary.clone();
            versions.entry(summary.name.clone()).or_default().push((summary, InstallSource::Bundled));
        }
        versions
    }

    fn choose(&self, name: &str, versions: &[(Summary, InstallSource)]) -> Option<Available> {
        let installed = self.stored.installed.get(name).map(|found| found.value.clone());
        let latest = versions.iter().map(|(summary, _)| &summary.version);
        let latest = latest.max_by(|a, b| version::compare(a, b))?.clone();
        let shown = match &installed {
            Some(installed) if is_sent(installed) => &installed.version,
            _ => &latest,
        };
        let of = |wanted: &str| versions.iter().find(|(summary, _)| summary.version == wanted);
        let found = of(shown).or_else(|| of(&latest));
        let (summary, source) = found.cloned()?;
        Some(Available { summary, source, latest, installed })
    }
}
