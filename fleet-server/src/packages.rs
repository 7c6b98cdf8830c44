//! The integration packages that can be used: read, kept in the store, and shared once they are read.
//!
//! An archive is kept as it came, in parts that fit into a document each; its own document is written last, so
//! that an archive that is named is whole. What was read of it is in memory, within a bound.

mod cache;
mod stored;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fleet_integration::{Archive, ArchiveError, Package, PackageError};
use fleet_store::{Error, Store, WriteError};

use cache::Cache;
use stored::Stored;
pub use stored::{ArchiveKind, InstallSource, InstallStatus, InstalledPackage, PackageArchive};

/// The largest archive in bytes.
pub const LARGEST_ARCHIVE: usize = 100 << 20;

/// Why a package cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// What was sent is not an archive of a package.
    #[error("{0}")]
    Archive(ArchiveError),
    /// What is in the archive is not a package.
    #[error("{0}")]
    Package(PackageError),
    /// What is stored is not what was written.
    #[error("what is stored of package {0} is not what it should be: upload it again")]
    Corrupt(String),
    /// Too much at a time.
    #[error("too many packages are read at the moment")]
    Busy,
    /// The store does not answer.
    #[error("the store does not answer")]
    Store(#[source] WriteError),
}

impl From<Error> for PackagesError {
    fn from(error: Error) -> PackagesError {
        PackagesError::Store(WriteError::NotDone(error))
    }
}

impl From<WriteError> for PackagesError {
    fn from(error: WriteError) -> PackagesError {
        PackagesError::Store(error)
    }
}

/// The packages.
#[derive(Debug)]
pub struct Packages {
    stored: Stored,
    cache: Mutex<Cache>,
    /// Reading one takes memory and a core for a while.
    reading: tokio::sync::Semaphore,
}

impl Packages {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Packages {
        Packages {
            stored: Stored::new(store),
            cache: Mutex::default(),
            reading: tokio::sync::Semaphore::new(2),
        }
    }

    /// A package that is kept; `None`: it is not.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn get(&self, name: &str, version: &str) -> Result<Option<Arc<Package>>, PackagesError> {
        let key = key(name, version);
        if let Some(package) = self.cache().get(&key) {
            return Ok(Some(package));
        }
        let _permit = self.reading.acquire().await.map_err(|_| PackagesError::Busy)?;
        if let Some(package) = self.cache().get(&key) {
            return Ok(Some(package));
        }
        let Some((archive, bytes)) = self.stored.archive(&key).await? else { return Ok(None) };
        let (package, _) = read(archive.kind, bytes).await?;
        let package = Arc::new(package);
        self.cache().insert(key, &package);
        Ok(Some(package))
    }

    /// Keeps an archive. What it holds is what it is known by.
    ///
    /// # Errors
    /// [`PackagesError`]; nothing is kept then.
    pub async fn add(&self, kind: ArchiveKind, bytes: Bytes) -> Result<Arc<Package>, PackagesError> {
        let _permit = self.reading.acquire().await.map_err(|_| PackagesError::Busy)?;
        let (package, bytes) = read(kind, bytes).await?;
        let key = key(&package.name, &package.version);
        self.stored.keep(&key, kind, &package, &bytes).await?;
        let package = Arc::new(package);
        self.cache().insert(key, &package);
        Ok(package)
    }

    /// The package of this name that is installed; `None`: none is.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn installed(&self, name: &str) -> Result<Option<InstalledPackage>, PackagesError> {
        self.stored.installed(name).await
    }

    /// Says which version of a package is installed.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn install(&self, installed: &InstalledPackage) -> Result<(), PackagesError> {
        self.stored.install(installed).await
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(name: &str, version: &str) -> String {
    format!("{name}-{version}")
}

/// Reads an archive, where it holds up nobody.
async fn read(kind: ArchiveKind, bytes: Bytes) -> Result<(Package, Bytes), PackagesError> {
    let reading = tokio::task::spawn_blocking(move || {
        let archive = match kind {
            ArchiveKind::Zip => Archive::zip(&bytes),
            ArchiveKind::TarGz => Archive::tar_gz(&bytes),
        };
        let archive = archive.map_err(PackagesError::Archive)?;
        let mut package = Package::read(&archive).map_err(PackagesError::Package)?;
        // Pictures and dashboards stay in the store: templates are read already.
        package.archive = Archive::default();
        Ok((package, bytes))
    });
    // Reading does not panic; a runtime that ends reads no more.
    reading.await.map_err(|_| PackagesError::Busy)?
}
