//! Packages in the store.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fleet_integration::Package;
use fleet_policy::files::{PART, decode_part, encode_part};
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Collection, Expect, Store, Typed, Write, WriteError};
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LARGEST_ARCHIVE, PackagesError};

/// [`InstalledPackage`] by the package's name.
pub(super) static PACKAGES: Collection = Collection { name: "packages", indexed: &[] };
/// [`PackageArchive`] by `<name>-<version>`.
pub(super) static PACKAGE_ARCHIVES: Collection = Collection { name: "package-archives", indexed: &[] };
/// The bytes of archives, in parts, by `<SHA-256 of the archive>.<number>`.
pub(super) static PACKAGE_PARTS: Collection = Collection { name: "package-parts", indexed: &[] };

/// Parts that are written at a time.
const PARTS_AT_A_TIME: usize = 4;

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
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it is packed.
    pub kind: ArchiveKind,
    /// Its size in bytes.
    pub size: usize,
    /// What its parts are known by, and checked against.
    pub sha256: String,
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
}

/// The version of a package that is installed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstalledPackage {
    /// The package's name.
    pub name: String,
    /// Its version.
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
}

#[derive(Debug)]
pub(super) struct Stored {
    store: Arc<dyn Store>,
    installed: Typed<InstalledPackage>,
    archives: Typed<PackageArchive>,
}

impl Stored {
    pub(super) fn new(store: &Arc<dyn Store>) -> Stored {
        Stored {
            store: Arc::clone(store),
            installed: Typed::new(Arc::clone(store), &PACKAGES),
            archives: Typed::new(Arc::clone(store), &PACKAGE_ARCHIVES),
        }
    }

    pub(super) async fn archive(&self, key: &str) -> Result<Option<(PackageArchive, Bytes)>, PackagesError> {
        let Some(found) = self.archives.get(key).await? else { return Ok(None) };
        let archive = found.value;
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
        Ok(Some((archive, whole.freeze())))
    }

    pub(super) async fn keep(
        &self,
        key: &str,
        kind: ArchiveKind,
        package: &Package,
        bytes: &[u8],
    ) -> Result<(), PackagesError> {
        let archive = PackageArchive {
            name: package.name.clone(),
            version: package.version.clone(),
            kind,
            size: bytes.len(),
            sha256: sha256(bytes),
        };
        let parts: Vec<(usize, &[u8])> = bytes.chunks(PART).enumerate().collect();
        for some in parts.chunks(PARTS_AT_A_TIME) {
            let writes = some.iter().map(|(number, part)| {
                Write::put(part_id(&archive.sha256, *number), Expect::Any, encode_part(part))
            });
            let writes = writes.collect();
            for written in Arc::clone(&self.store).write_many(&PACKAGE_PARTS, writes, None).await {
                written?;
            }
        }
        let replaced = self.archives.get(key).await?;
        self.archives.put(key, &archive, Expect::Any, None, None).await?;
        if let Some(replaced) = replaced
            && replaced.value.sha256 != archive.sha256
        {
            self.forget_parts(&replaced.value).await?;
        }
        Ok(())
    }

    async fn forget_parts(&self, archive: &PackageArchive) -> Result<(), WriteError> {
        let parts = 0..archive.size.div_ceil(PART);
        let parts = parts.map(|part| Write::delete(part_id(&archive.sha256, part), Expect::Any)).collect();
        for answer in Arc::clone(&self.store).write_many(&PACKAGE_PARTS, parts, None).await {
            answer?;
        }
        Ok(())
    }

    pub(super) async fn installed(&self, name: &str) -> Result<Option<InstalledPackage>, PackagesError> {
        Ok(self.installed.get(name).await?.map(|found| found.value))
    }

    pub(super) async fn install(&self, package: &InstalledPackage) -> Result<(), PackagesError> {
        self.installed.put(&package.name, package, Expect::Any, None, None).await?;
        Ok(())
    }
}

fn part_id(sha256: &str, part: usize) -> String {
    format!("{sha256}.{part:05}")
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
