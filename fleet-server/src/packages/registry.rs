//! A registry of packages: somebody else's server, over HTTP.
//!
//! Nothing that is installed depends on it: its answers are kept for a while, used longer when it does not
//! answer, and it is not asked again at once after it failed.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fleet_integration::Package;
use fleet_policy::timestamp::Timestamp;
use fleet_service::config::value::Secret;
use fleet_service::tls::{Pem, TlsError, client};
use http::{Request, StatusCode};
use rustls::ClientConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::Instant;

use super::cache::Cache;
use super::stored::{ArchiveKind, Found, InstallSource};
use super::summary::Summary;
use super::{LARGEST_ARCHIVE, Opened, Packages, PackagesError, lock};
use crate::upstream::{FetchError, Proxy, send_through};

/// The largest list of packages in bytes. The largest that is known has 4 MiB.
const LARGEST_LIST: usize = 32 << 20;
/// The largest description of one package, and the largest file of one.
const LARGEST_ANSWER: usize = 8 << 20;
/// For a list or a description.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// For an archive.
const ARCHIVE_MAX: Duration = Duration::from_secs(300);
/// How long a list counts as new.
const FRESH: Duration = Duration::from_secs(60);
/// It is not asked again for so long after it did not answer.
const PAUSE: Duration = Duration::from_secs(10);
/// Bytes of descriptions and files in memory. What a version is described as never changes.
const KEPT: usize = 16 << 20;
/// Archives that are fetched at a time: each is in memory.
const ARCHIVES_AT_A_TIME: usize = 2;

/// Why a registry gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The address of the proxy is none.
    #[error("that is not the URL of a proxy, http://host:port (registry_proxy_url)")]
    Proxy,
    /// There is nothing to trust it by.
    #[error("TLS cannot be used for the registry of packages")]
    Tls(#[source] TlsError),
    /// It does not answer as it should.
    #[error("the registry of packages {registry} does not give {what}")]
    Fetch {
        /// Its address.
        registry: String,
        /// What was asked for.
        what: String,
        /// Why not.
        #[source]
        source: FetchError,
    },
    /// It did not answer a moment ago.
    #[error("the registry of packages {0} did not answer a moment ago")]
    Away(String),
    /// It answers something else than it should.
    #[error("the registry of packages {registry} answers {what} with something else")]
    Answer {
        /// Its address.
        registry: String,
        /// What was asked for.
        what: String,
    },
}

/// Where a registry is, and how it is reached.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// `http://…` or `https://…`, perhaps with a path.
    pub url: String,
    /// `http://host:port` of a proxy. It may have a password in it.
    pub proxy_url: Option<Secret>,
    /// Whom to trust; nobody in particular: whom the system trusts.
    pub authorities: Vec<Pem>,
}

/// A category as a registry tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Category {
    /// As `observability`.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// How many packages stand in it.
    #[serde(default)]
    pub count: usize,
    /// The category that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// What that one is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_title: Option<String>,
}

/// A list that was fetched, and when.
type Fetched<T> = AsyncMutex<Option<(Instant, Arc<Vec<T>>)>>;

/// A registry.
pub struct Registry {
    base: String,
    server_version: String,
    tls: Option<Arc<ClientConfig>>,
    proxy: Option<Proxy>,
    /// Without and with what comes before a release.
    packages: [Fetched<Summary>; 2],
    categories: [Fetched<Category>; 2],
    kept: Mutex<Cache<Bytes>>,
    away: Mutex<Option<Instant>>,
    archives: Semaphore,
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Registry({})", self.base)
    }
}

impl Registry {
    /// A registry. Reads the files of authorities.
    ///
    /// # Errors
    /// They cannot be read, or the proxy has no address.
    pub fn new(options: RegistryOptions, server_version: &str) -> Result<Registry, RegistryError> {
        let proxy = match options.proxy_url {
            Some(url) => Some(Proxy::parse(url.reveal().trim()).ok_or(RegistryError::Proxy)?),
            None => None,
        };
        let tls = client::trusting(&options.authorities).map_err(RegistryError::Tls);
        let tls = if options.url.starts_with("https://") { Some(tls?) } else { None };
        Ok(Registry {
            base: options.url.trim_end_matches('/').to_owned(),
            server_version: server_version.split(['-', '+']).next().unwrap_or_default().to_owned(),
            tls,
            proxy,
            packages: Default::default(),
            categories: Default::default(),
            kept: Mutex::new(Cache::new(KEPT)),
            away: Mutex::default(),
            archives: Semaphore::new(ARCHIVES_AT_A_TIME),
        })
    }

    /// The newest version of each package that fits this server.
    ///
    /// # Errors
    /// It does not answer, and never has.
    pub async fn search(&self, prerelease: bool) -> Result<Arc<Vec<Summary>>, RegistryError> {
        let path = format!("/search?prerelease={prerelease}&kibana.version={}", self.server_version);
        self.list(&self.packages[usize::from(prerelease)], &path).await
    }

    /// The categories that packages stand in.
    ///
    /// # Errors
    /// It does not answer, and never has.
    pub async fn categories(&self, prerelease: bool) -> Result<Arc<Vec<Category>>, RegistryError> {
        let path = format!(
            "/categories?prerelease={prerelease}&include_policy_templates=true&kibana.version={}",
            self.server_version
        );
        self.list(&self.categories[usize::from(prerelease)], &path).await
    }

    /// The newest version of a package that fits this server.
    pub(super) async fn newest(&self, name: &str, prerelease: bool) -> Result<Option<String>, RegistryError> {
        let found = self.search(prerelease).await?;
        Ok(found.iter().find(|summary| summary.name == name).map(|summary| summary.version.clone()))
    }

    /// How it describes a version of a package; `None`: it has none such.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn package(&self, name: &str, version: &str) -> Result<Option<Value>, RegistryError> {
        let Some(bytes) = self.file(name, version, "").await? else { return Ok(None) };
        let answer: Option<Value> = serde_json::from_slice(&bytes).ok();
        let is_it = |value: &Value| value["name"] == name && value["version"] == version;
        let what = format!("/package/{name}/{version}/");
        let registry = self.base.clone();
        answer.filter(is_it).map(Some).ok_or(RegistryError::Answer { registry, what })
    }

    /// A file of a package; `None`: it has none such.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn file(&self, name: &str, version: &str, path: &str) -> Result<Option<Bytes>, RegistryError> {
        if !is_plain(name) || !is_plain(version) || !path.split('/').all(is_plain_or_empty) {
            return Ok(None);
        }
        let path = format!("/package/{name}/{version}/{path}");
        if let Some(bytes) = lock(&self.kept).get(&path) {
            return Ok(Some(bytes));
        }
        let found = self.fetch(&path, LARGEST_ANSWER, ANSWER_MAX).await?;
        if let Some(bytes) = &found {
            lock(&self.kept).insert(path, bytes.clone(), bytes.len());
        }
        Ok(found)
    }

    /// The archive of a version; `None`: it has none such.
    async fn archive(&self, name: &str, version: &str) -> Result<Option<Bytes>, RegistryError> {
        if !is_plain(name) || !is_plain(version) {
            return Ok(None);
        }
        // It is never closed.
        let _permit = self.archives.acquire().await.ok();
        self.fetch(&format!("/epr/{name}/{name}-{version}.zip"), LARGEST_ARCHIVE, ARCHIVE_MAX).await
    }

    async fn list<T>(&self, fetched: &Fetched<T>, path: &str) -> Result<Arc<Vec<T>>, RegistryError>
    where
        T: for<'de> Deserialize<'de>,
    {
        // Held while it is fetched: once for all who wait.
        let mut fetched = fetched.lock().await;
        if let Some((at, list)) = &*fetched
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(list));
        }
        let answer = || RegistryError::Answer { registry: self.base.clone(), what: path.to_owned() };
        let found = match self.fetch(path, LARGEST_LIST, ANSWER_MAX).await {
            Ok(Some(bytes)) => serde_json::from_slice::<Vec<Value>>(&bytes).map_err(|_| answer()),
            Ok(None) => Err(answer()),
            Err(error) => Err(error),
        };
        match (found, &*fetched) {
            (Ok(found), _) => {
                // One that nobody can read hides no other.
                let list = found.into_iter().filter_map(|one| serde_json::from_value(one).ok());
                let list: Arc<Vec<T>> = Arc::new(list.collect());
                *fetched = Some((Instant::now(), Arc::clone(&list)));
                Ok(list)
            }
            (Err(_), Some((_, old))) => Ok(Arc::clone(old)),
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(&self, path: &str, most: usize, time: Duration) -> Result<Option<Bytes>, RegistryError> {
        if lock(&self.away).is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(RegistryError::Away(self.base.clone()));
        }
        let fetched = self.ask(&format!("{}{path}", self.base), most, time).await;
        *lock(&self.away) = match &fetched {
            Ok(_) | Err(FetchError::Status(_) | FetchError::TooLarge(_)) => None,
            Err(_) => Some(Instant::now()),
        };
        match fetched {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FetchError::Status(StatusCode::NOT_FOUND)) => Ok(None),
            Err(source) => {
                Err(RegistryError::Fetch { registry: self.base.clone(), what: path.to_owned(), source })
            }
        }
    }

    async fn ask(&self, url: &str, most: usize, time: Duration) -> Result<Bytes, FetchError> {
        let request = Request::get(url).body(Bytes::new()).map_err(|_| FetchError::Url(url.to_owned()))?;
        let answer = send_through(self.proxy.as_ref(), request, self.tls.as_ref(), most, time).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(FetchError::Status(status)),
        }
    }
}

/// Whether it can stand in an address as it is, and leads nowhere else.
fn is_plain(part: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    !part.is_empty() && part.len() <= 256 && !part.starts_with('.') && part.bytes().all(fits)
}

fn is_plain_or_empty(part: &str) -> bool {
    part.is_empty() || is_plain(part)
}

impl Packages {
    /// The registry, if one is configured.
    #[must_use]
    pub fn registry(&self) -> Option<&Registry> {
        self.setup().and_then(|setup| setup.registry.as_ref())
    }

    /// A package from wherever it is. What comes from the registry is read, and not kept.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn look_at(&self, name: &str, version: &str) -> Result<Option<Arc<Opened>>, PackagesError> {
        if let Some(opened) = self.open(name, version).await? {
            return Ok(Some(opened));
        }
        let Some(found) = self.fetch_archive(name, version).await? else { return Ok(None) };
        let permit = self.reading_permit().await?;
        let (opened, _) = self.read(found, false, permit).await?;
        is_what_was_asked_for(&opened.package, name, version)?;
        Ok(Some(opened))
    }

    /// A package that is to be installed. What comes from the registry is kept.
    pub(super) async fn obtain(
        &self,
        name: &str,
        version: &str,
        now: Timestamp,
    ) -> Result<Option<(Arc<Package>, InstallSource)>, PackagesError> {
        if let Some(opened) = self.open(name, version).await?
            && (opened.is_stored || opened.source == InstallSource::Bundled)
        {
            return Ok(Some((Arc::clone(&opened.package), opened.source)));
        }
        let Some(found) = self.fetch_archive(name, version).await? else { return Ok(None) };
        let permit = self.reading_permit().await?;
        let (opened, found) = self.read(found, true, permit).await?;
        is_what_was_asked_for(&opened.package, name, version)?;
        self.stored.keep(&found, Summary::of(&opened.package), now).await?;
        Ok(Some((Arc::clone(&opened.package), opened.source)))
    }

    async fn fetch_archive(&self, name: &str, version: &str) -> Result<Option<Found>, PackagesError> {
        let Some(registry) = self.registry() else { return Ok(None) };
        let bytes = registry.archive(name, version).await.map_err(PackagesError::Registry)?;
        Ok(bytes.map(|bytes| Found { kind: ArchiveKind::Zip, source: InstallSource::Registry, bytes }))
    }
}

fn is_what_was_asked_for(package: &Package, name: &str, version: &str) -> Result<(), PackagesError> {
    if package.name == name && package.version == version {
        return Ok(());
    }
    Err(PackagesError::Refused(format!(
        "the registry gave {}-{} for {name}-{version}",
        package.name, package.version
    )))
}
