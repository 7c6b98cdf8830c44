//! The integration packages that can be used: read, kept in the store, and shared once they are read.
//!
//! An archive is kept as it came, in parts that fit into a document each; its own document is written last, so
//! that an archive that is named is whole. What was read of it is in memory, within a bound.
//!
//! | module | what |
//! |---|---|
//! | `stored` | the documents |
//! | `summary` | what lists tell of a package: of all of them in memory |
//! | `bundled` | our own packages, which are part of the program |
//! | `registry` | packages that somebody else serves over HTTP |
//! | `available` | all of these together: which packages there are, and in which versions |
//! | `install` | which version is installed, and what becomes of the others |
//! | `engine_assets` | what they put into engines |
//! | `custom` | packages that are made here |
//! | `tasks` | what is done to many packages after whoever asked was answered |
//! | `version` | which version is newer, and which fits a condition |

mod available;
mod bundled;
mod cache;
pub mod custom;
mod engine_assets;
mod install;
pub mod registry;
mod stored;
pub mod summary;
pub mod tasks;
pub mod version;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use fleet_integration::{Archive, ArchiveError, Package, PackageError};
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Error, Store, WriteError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use available::Available;
use cache::Cache;
pub use install::{Install, Installed};
use registry::{Registry, RegistryError};
pub use stored::{
    ArchiveKind, FailedAttempt, FailedReason, InstallSource, InstallStatus, InstalledPackage, PackageArchive,
};
use stored::{Found, Stored, sha256};
use summary::Summary;

/// The largest archive in bytes.
pub const LARGEST_ARCHIVE: usize = 100 << 20;
/// Bytes of packages in memory, as far as they can be estimated.
const READ_SIZE: usize = 32 << 20;
/// Bytes of pictures and texts in memory.
const FILES_SIZE: usize = 16 << 20;
/// The largest of them that is kept in memory.
const LARGEST_KEPT_FILE: usize = 1 << 20;
/// What a package takes in memory for each byte of its manifests and templates.
const GROWTH: usize = 4;

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
    /// There is no such package.
    #[error("package {name}{} not found", version.as_deref().map(|version| format!(" {version}")).unwrap_or_default())]
    NotFound {
        /// Its name.
        name: String,
        /// Its version, if one was asked for.
        version: Option<String>,
    },
    /// It needs another server, or goes back.
    #[error("{0}")]
    Refused(String),
    /// It is not installed.
    #[error("{0} is not installed")]
    NotInstalled(String),
    /// Integrations are of it.
    #[error("{0}")]
    InUse(String),
    /// The registry does not give it.
    #[error("{0}")]
    Registry(#[source] RegistryError),
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

/// What a server is told at its start.
#[derive(Debug)]
pub struct Setup {
    /// The version that the server says it is, which packages have conditions on.
    pub server_version: String,
    /// Where packages are that nobody has uploaded.
    pub registry: Option<Registry>,
}

/// A package that was read.
#[derive(Debug)]
pub struct Opened {
    /// The package; its archive is left out.
    pub package: Arc<Package>,
    /// Where it came from.
    pub source: InstallSource,
    /// The paths of all its files, in order.
    pub paths: Vec<Box<str>>,
    /// Whether the store has it.
    is_stored: bool,
    sha256: String,
}

/// The packages.
#[derive(Debug)]
pub struct Packages {
    stored: Stored,
    opened: Mutex<Cache<Arc<Opened>>>,
    files: Mutex<Cache<Bytes>>,
    /// Unpacking one takes memory and a core for a while.
    reading: Arc<Semaphore>,
    setup: OnceLock<Setup>,
}

impl Packages {
    /// How many collections are followed.
    pub const COLLECTIONS: usize = 2;

    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Packages {
        Packages {
            stored: Stored::new(store),
            opened: Mutex::new(Cache::new(READ_SIZE)),
            files: Mutex::new(Cache::new(FILES_SIZE)),
            reading: Arc::new(Semaphore::new(1)),
            setup: OnceLock::new(),
        }
    }

    /// Tells it, once, what a configuration says. Without, the server has the default version and no registry.
    pub fn set_up(&self, setup: Setup) {
        // A second time changes nothing: there is one configuration.
        let _ = self.setup.set(setup);
    }

    /// Follows what is installed, for ever. `ready` is called for each collection once it has been read.
    pub async fn follow(&self, ready: impl Fn() + Send + Sync) {
        // So that nobody waits for it later. It does not panic; a runtime that ends reads no more.
        let _ = tokio::task::spawn_blocking(|| bundled::BUNDLED.len()).await;
        tokio::join!(self.stored.installed.follow(&ready), self.stored.archives.follow(&ready),);
    }

    /// A package that is kept, or that is part of the program; `None`: it is neither.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn get(&self, name: &str, version: &str) -> Result<Option<Arc<Package>>, PackagesError> {
        Ok(self.open(name, version).await?.map(|opened| Arc::clone(&opened.package)))
    }

    /// As [`Packages::get`], with what else is known of it.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn open(&self, name: &str, version: &str) -> Result<Option<Arc<Opened>>, PackagesError> {
        let key = key(name, version);
        if let Some(opened) = self.cached(&key) {
            return Ok(Some(opened));
        }
        let permit = self.reading_permit().await?;
        if let Some(opened) = self.cached(&key) {
            return Ok(Some(opened));
        }
        let (found, is_stored) = match self.stored.archive(&key).await? {
            Some(found) => (found, true),
            None => match bundled::find(name, version) {
                Some(bytes) => {
                    (Found { kind: ArchiveKind::TarGz, source: InstallSource::Bundled, bytes }, false)
                }
                None => return Ok(None),
            },
        };
        let (opened, _) = self.read(found, is_stored, permit).await?;
        Ok(Some(opened))
    }

    /// Keeps an archive. What it holds is what it is known by.
    ///
    /// # Errors
    /// [`PackagesError`]; nothing is kept then.
    pub async fn add(
        &self,
        kind: ArchiveKind,
        source: InstallSource,
        bytes: Bytes,
        now: Timestamp,
    ) -> Result<Arc<Package>, PackagesError> {
        let permit = self.reading_permit().await?;
        let (opened, found) = self.read(Found { kind, source, bytes }, true, permit).await?;
        self.stored.keep(&found, Summary::of(&opened.package), now).await?;
        Ok(Arc::clone(&opened.package))
    }

    /// A file of a package that is kept, or that is part of the program.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn file(&self, name: &str, version: &str, path: &str) -> Result<Option<Bytes>, PackagesError> {
        let key = key(name, version);
        let Some(opened) = self.open(name, version).await? else { return Ok(None) };
        if !opened.paths.iter().any(|known| **known == *path) {
            return Ok(None);
        }
        let of_file = format!("{}/{path}", opened.sha256);
        if let Some(bytes) = lock(&self.files).get(&of_file) {
            return Ok(Some(bytes));
        }
        let permit = self.reading_permit().await?;
        if let Some(bytes) = lock(&self.files).get(&of_file) {
            return Ok(Some(bytes));
        }
        let found = self.stored.archive(&key).await?.map(|found| (found.kind, found.bytes));
        let found = found.or_else(|| bundled::find(name, version).map(|bytes| (ArchiveKind::TarGz, bytes)));
        let Some((kind, bytes)) = found else { return Ok(None) };
        let archive = unpack(kind, bytes, permit).await?;
        self.keep_files(&opened.sha256, &archive);
        Ok(archive.file(path).cloned())
    }

    /// Pictures and texts: pages ask for all of them one after the other.
    fn keep_files(&self, sha256: &str, archive: &Archive) {
        let mut files = lock(&self.files);
        for (path, bytes) in ["docs/", "img/"].into_iter().flat_map(|folder| archive.below(folder)) {
            if bytes.len() <= LARGEST_KEPT_FILE {
                files.insert(format!("{sha256}/{path}"), bytes.clone(), bytes.len());
            }
        }
    }

    fn cached(&self, key: &str) -> Option<Arc<Opened>> {
        let opened = lock(&self.opened).get(key)?;
        // Another server may have replaced or removed the archive.
        let is_known = match self.stored.archives.get(key) {
            Some(archive) => archive.value.sha256 == opened.sha256,
            None => !opened.is_stored,
        };
        is_known.then_some(opened)
    }

    async fn reading_permit(&self) -> Result<OwnedSemaphorePermit, PackagesError> {
        Arc::clone(&self.reading).acquire_owned().await.map_err(|_| PackagesError::Busy)
    }

    /// Reads an archive, where it holds up nobody.
    async fn read(
        &self,
        found: Found,
        is_stored: bool,
        permit: OwnedSemaphorePermit,
    ) -> Result<(Arc<Opened>, Found), PackagesError> {
        let Found { kind, source, bytes } = found;
        let reading = tokio::task::spawn_blocking(move || {
            // Whoever asked may go away meanwhile: it goes on, and counts, until it is done.
            let _permit = permit;
            let archive = unpack_now(kind, &bytes)?;
            let mut package = Package::read(&archive).map_err(PackagesError::Package)?;
            // Pictures and dashboards stay in the store: templates are read already.
            package.archive = Archive::default();
            let opened = Opened {
                package: Arc::new(package),
                source,
                paths: archive.paths().map(Box::from).collect(),
                is_stored,
                sha256: sha256(&bytes),
            };
            Ok::<_, PackagesError>((opened, estimate(&archive), bytes))
        });
        // Reading does not panic; a runtime that ends reads no more.
        let (opened, size, bytes) = reading.await.map_err(|_| PackagesError::Busy)??;
        let opened = Arc::new(opened);
        let key = key(&opened.package.name, &opened.package.version);
        lock(&self.opened).insert(key, Arc::clone(&opened), size);
        Ok((opened, Found { kind, source, bytes }))
    }

    fn setup(&self) -> Option<&Setup> {
        self.setup.get()
    }
}

/// What a package and its version are known by. In neither is an `@`.
fn key(name: &str, version: &str) -> String {
    format!("{name}@{version}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn unpack(
    kind: ArchiveKind,
    bytes: Bytes,
    permit: OwnedSemaphorePermit,
) -> Result<Archive, PackagesError> {
    let unpacking = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        unpack_now(kind, &bytes)
    });
    unpacking.await.map_err(|_| PackagesError::Busy)?
}

fn unpack_now(kind: ArchiveKind, bytes: &[u8]) -> Result<Archive, PackagesError> {
    let archive = match kind {
        ArchiveKind::Zip => Archive::zip(bytes),
        ArchiveKind::TarGz => Archive::tar_gz(bytes),
    };
    archive.map_err(PackagesError::Archive)
}

/// About how many bytes a package takes once it is read: what its manifests, templates and texts become, and
/// the paths of the rest.
fn estimate(archive: &Archive) -> usize {
    let is_kept = |path: &str| {
        path.ends_with("manifest.yml")
            || path.ends_with(".hbs")
            || matches!(path, "changelog.yml" | "docs/README.md")
    };
    let paths = archive.paths();
    paths
        .map(|path| {
            let content = archive.file(path).filter(|_| is_kept(path)).map_or(0, Bytes::len);
            path.len() + content * GROWTH
        })
        .sum()
}
