//! Packages in the store.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fleet_policy::files::{PART, decode_part, encode_part};
use fleet_policy::settings::Table;
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Collection, Expect, ListRequest, Store, Typed, Versioned, Write, WriteError};
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::summary::Summary;
use super::{LARGEST_ARCHIVE, PackagesError, key};
use crate::integrations::{PACKAGE_POLICIES, Row};

/// [`InstalledPackage`] by the package's name.
pub(super) static PACKAGES: Collection = Collection { name: "packages", indexed: &[] };
/// [`PackageArchive`] by `<name>@<version>`.
pub(super) static PACKAGE_ARCHIVES: Collection = Collection { name: "package-archives", indexed: &[] };
/// The bytes of archives, in parts, by `<SHA-256 of the archive>.<number>`.
pub(super) static PACKAGE_PARTS: Collection = Collection { name: "package-parts", indexed: &[] };

/// Parts that are written at a time.
const PARTS_AT_A_TIME: usize = 4;
/// A document is changed again so often when others change it at the same time.
const MOST_ATTEMPTS: usize = 10;
/// The longest name and version together, in bytes.
const LONGEST_KEY: usize = 600;
/// Integrations that are read at a time.
const PAGE: usize = 500;

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveKind {
    /// A zip.
    Zip,
    /// A tar, compressed with gzip.
    TarGz,
}

/// An archive that is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PackageArchive {
    /// How it is packed.
    pub kind: ArchiveKind,
    /// Its size in bytes.
    pub size: usize,
    /// What its parts are known by, and checked against.
    pub sha256: String,
    /// Where it came from.
    pub source: InstallSource,
    /// When it came.
    pub kept_at: Timestamp,
    /// What lists tell of the package: with name and version.
    pub summary: Summary,
}

/// How far an installation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstallStatus {
    /// It can be used.
    Installed,
    /// It could not be installed.
    InstallFailed,
}

/// Where a package came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstallSource {
    /// From somebody who sent it.
    Upload,
    /// From a registry.
    Registry,
    /// It came with the server.
    Bundled,
    /// Made here, of a name and datasets.
    Custom,
}

/// A version that could not be installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedAttempt {
    /// When it was tried.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Which version.
    pub target_version: String,
    /// Why not.
    pub error: FailedReason,
}

/// Why a version could not be installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedReason {
    /// What kind of reason.
    pub name: String,
    /// For people.
    pub message: String,
}

/// The version of a package that is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledPackage {
    /// The package's name.
    pub name: String,
    /// Its version; of one that could not be installed, the version that was tried.
    pub version: String,
    /// How far the installation is.
    pub install_status: InstallStatus,
    /// Where it came from.
    pub install_source: InstallSource,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// Whether its integrations are upgraded with it.
    #[serde(default)]
    pub keep_policies_up_to_date: bool,
    /// What was installed before: where a roll-back goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<String>,
    /// The space of whoever installed it. It is there for every space all the same.
    #[serde(default)]
    pub space: String,
    /// Spaces that asked for it later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_spaces: Vec<String>,
    /// The last attempts that failed, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<FailedAttempt>,
}

impl InstalledPackage {
    /// Whether it can be used.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.install_status == InstallStatus::Installed
    }
}

#[derive(Debug)]
pub(super) struct Stored {
    store: Arc<dyn Store>,
    pub(super) installed: Table<InstalledPackage>,
    pub(super) archives: Table<PackageArchive>,
}

/// An archive with its bytes.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: ArchiveKind,
    pub(super) source: InstallSource,
    pub(super) bytes: Bytes,
}

impl Stored {
    pub(super) fn new(store: &Arc<dyn Store>) -> Stored {
        Stored {
            store: Arc::clone(store),
            installed: Table::new(store, &PACKAGES),
            archives: Table::new(store, &PACKAGE_ARCHIVES),
        }
    }

    /// What is installed of a package, or could not be.
    pub(super) async fn record(&self, name: &str) -> Result<Option<InstalledPackage>, PackagesError> {
        Ok(self.versioned(name).await?.map(|found| found.value.clone()))
    }

    async fn versioned(&self, name: &str) -> Result<Option<Arc<Versioned<InstalledPackage>>>, PackagesError> {
        if is_possible(name) { Ok(self.installed.read(name).await?) } else { Ok(None) }
    }

    /// What is known of an archive.
    pub(super) async fn head(
        &self,
        key: &str,
    ) -> Result<Option<Arc<Versioned<PackageArchive>>>, PackagesError> {
        if is_possible(key) { Ok(self.archives.read(key).await?) } else { Ok(None) }
    }

    pub(super) async fn archive(&self, key: &str) -> Result<Option<Found>, PackagesError> {
        let Some(found) = self.head(key).await? else { return Ok(None) };
        let archive = &found.value;
        let corrupt = || PackagesError::Corrupt(key.to_owned());
        if archive.size > LARGEST_ARCHIVE {
            return Err(corrupt());
        }
        let mut whole = BytesMut::with_capacity(archive.size);
        for part in 0..archive.size.div_ceil(PART) {
            let document = self.store.get(&PACKAGE_PARTS, &part_id(&archive.sha256, part)).await?;
            let bytes = document.and_then(|document| decode_part(&document.body)).ok_or_else(corrupt)?;
            whole.extend_from_slice(&bytes);
        }
        if sha256(&whole) != archive.sha256 {
            return Err(corrupt());
        }
        Ok(Some(Found { kind: archive.kind, source: archive.source, bytes: whole.freeze() }))
    }

    /// Keeps an archive in place of the one that the package's version had.
    pub(super) async fn keep(
        &self,
        found: &Found,
        summary: Summary,
        kept_at: Timestamp,
    ) -> Result<(), PackagesError> {
        let key = key(&summary.name, &summary.version);
        let sha256 = sha256(&found.bytes);
        let parts: Vec<(usize, &[u8])> = found.bytes.chunks(PART).enumerate().collect();
        for some in parts.chunks(PARTS_AT_A_TIME) {
            let writes = some
                .iter()
                .map(|(number, part)| Write::put(part_id(&sha256, *number), Expect::Any, encode_part(part)));
            for written in Arc::clone(&self.store).write_many(&PACKAGE_PARTS, writes.collect(), None).await {
                written?;
            }
        }
        let replaced = self.head(&key).await?;
        let archive = PackageArchive {
            kind: found.kind,
            size: found.bytes.len(),
            sha256: sha256.clone(),
            source: found.source,
            kept_at,
            summary,
        };
        self.archives.put(&key, archive, Expect::Any).await?;
        match replaced {
            Some(replaced) if replaced.value.sha256 != sha256 => {
                Ok(self.forget_parts(&replaced.value).await?)
            }
            _ => Ok(()),
        }
    }

    /// Removes an archive. Whether there was one.
    pub(super) async fn remove(&self, key: &str) -> Result<bool, PackagesError> {
        let Some(found) = self.head(key).await? else { return Ok(false) };
        self.archives.delete(key, Expect::Any).await?;
        self.forget_parts(&found.value).await?;
        Ok(true)
    }

    async fn forget_parts(&self, archive: &PackageArchive) -> Result<(), WriteError> {
        let parts = 0..archive.size.div_ceil(PART);
        let parts = parts.map(|part| Write::delete(part_id(&archive.sha256, part), Expect::Any)).collect();
        for answer in Arc::clone(&self.store).write_many(&PACKAGE_PARTS, parts, None).await {
            answer?;
        }
        Ok(())
    }

    /// Changes what is installed of a package; `change` may be called more than once.
    pub(super) async fn change(
        &self,
        name: &str,
        mut change: impl FnMut(Option<&InstalledPackage>) -> Option<InstalledPackage>,
    ) -> Result<Option<InstalledPackage>, PackagesError> {
        for _ in 0..MOST_ATTEMPTS {
            // What this server knows may be old: a conflict shows it.
            let before = self.versioned(name).await?;
            let Some(after) = change(before.as_ref().map(|before| &before.value)) else { return Ok(None) };
            let expect = before.map_or(Expect::Absent, |before| Expect::Revision(before.revision));
            match self.installed.put(name, after.clone(), expect).await {
                Ok(_) => return Ok(Some(after)),
                Err(WriteError::Conflict { .. } | WriteError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PackagesError::Busy)
    }

    /// The integrations of a package as the store has them now.
    pub(super) async fn uses_of(&self, name: &str) -> Result<Vec<Row>, PackagesError> {
        let documents: Typed<Row> = Typed::new(Arc::clone(&self.store), &PACKAGE_POLICIES);
        let mut request = ListRequest { limit: Some(PAGE), ..ListRequest::all() };
        let mut found = Vec::new();
        loop {
            let (listing, next) = documents.page(request.clone()).await?;
            let uses = listing.values.into_iter().map(|one| one.value);
            found.extend(
                uses.filter(|one| one.package.as_ref().is_some_and(|package| *package.name == *name)),
            );
            let Some(next) = next else { return Ok(found) };
            request.page = Some(next);
        }
    }
}

/// Whether something could be known by it: what stands in a path may be anything.
fn is_possible(key: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'@');
    !key.is_empty() && key.len() <= LONGEST_KEY && key.bytes().all(fits)
}

fn part_id(sha256: &str, part: usize) -> String {
    format!("{sha256}.{part:05}")
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes).as_ref())
}
