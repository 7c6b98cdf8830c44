//! `GET /api/agents/upgrades/{version}/pgp-public-key`: the key that packages of upgrades are signed with.
//!
//! Agents without a way to the internet ask for it here. It is the same for every version; whoever runs the
//! server may put a key of their own in its place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::info;

use super::AgentsApi;
use super::error::ApiError;
use crate::http::{Request, Response};
use crate::upstream::{FetchError, fetch};

/// The key's file in its directory.
const NAME: &str = "default.pgp";
/// The only mode that it may have.
const MODE: u32 = 0o600;
/// The largest key in bytes.
const LARGEST: usize = 1 << 20;
/// For fetching it.
const FETCH_MAX: Duration = Duration::from_secs(20);
/// Anybody may ask for the key: where it comes from is not asked more often than this.
const PAUSE: Duration = Duration::from_secs(10);
/// What a key begins with (RFC 9580, 6.2.1).
const ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum PgpError {
    #[error(
        "{} has mode {mode:04o}: somebody else could have put it there or changed it; check it and run chmod \
         0600 {}", path.display(), path.display()
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("{} is not a file of at most {LARGEST} bytes", .0.display())]
    NotAKeyFile(PathBuf),
    #[error("{} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the key cannot be fetched from {url}: put it into {} with mode 0600 (pgp.dir)", path.display())]
    Fetch {
        url: String,
        path: PathBuf,
        #[source]
        source: Box<FetchError>,
    },
    #[error("what {0} answers is not a PGP public key")]
    NotAKey(String),
    #[error("it could not be fetched a moment ago")]
    Pause,
}

/// Where the key is, and where it comes from.
#[derive(Clone, Debug)]
pub struct SignerKey {
    /// The directory of `default.pgp`.
    pub dir: PathBuf,
    /// Where it is fetched from if it is not there.
    pub upstream_url: String,
}

/// The key, fetched when it is asked for first.
#[derive(Debug)]
pub(super) struct Keeper {
    at: SignerKey,
    /// When it was fetched last, in vain. Held by whoever fetches it: once for all who wait.
    tried: Mutex<Option<Instant>>,
}

impl Keeper {
    pub(super) fn new(at: SignerKey) -> Keeper {
        Keeper { at, tried: Mutex::default() }
    }

    async fn key(&self) -> Result<Bytes, PgpError> {
        if let Some(key) = self.read().await? {
            return Ok(key);
        }
        let mut tried = self.tried.lock().await;
        if let Some(key) = self.read().await? {
            return Ok(key);
        }
        if tried.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(PgpError::Pause);
        }
        // Before it is tried: who asks and goes away at once counts too.
        *tried = Some(Instant::now());
        let url = &self.at.upstream_url;
        let key = fetch(url, LARGEST, FETCH_MAX).await.map_err(|source| PgpError::Fetch {
            url: url.clone(),
            path: self.path(),
            source: Box::new(source),
        })?;
        if !key.trim_ascii_start().starts_with(ARMOR) {
            return Err(PgpError::NotAKey(url.clone()));
        }
        let (dir, path, bytes) = (self.at.dir.clone(), self.path(), key.clone());
        blocking(self.path(), move || write(&dir, &path, &bytes)).await?;
        info!(url, path = %self.path().display(), "the key that upgrades are signed with is here");
        *tried = None;
        Ok(key)
    }

    async fn read(&self) -> Result<Option<Bytes>, PgpError> {
        let path = self.path();
        blocking(self.path(), move || read(&path)).await
    }

    fn path(&self) -> PathBuf {
        self.at.dir.join(NAME)
    }
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, PgpError> + Send + 'static,
) -> Result<T, PgpError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| PgpError::Read { path, source: error.into() })?
}

fn read(path: &Path) -> Result<Option<Bytes>, PgpError> {
    let unread = |source| PgpError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(error)),
    };
    let metadata = file.metadata().map_err(unread)?;
    if !metadata.is_file() || metadata.len() > LARGEST as u64 {
        return Err(PgpError::NotAKeyFile(path.to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode != MODE {
        return Err(PgpError::Mode { path: path.to_owned(), mode });
    }
    let mut key = Vec::new();
    file.take(LARGEST as u64).read_to_end(&mut key).map_err(unread)?;
    Ok(Some(key.into()))
}

/// Writes the key so that it is there whole, or not at all.
fn write(dir: &Path, path: &Path, key: &[u8]) -> Result<(), PgpError> {
    let unwritten = |source| PgpError::Write { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritten)?;
    let new = dir.join(format!(".{NAME}.{}", uuid::Uuid::new_v4().simple()));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new).and_then(|mut file| {
            file.write_all(key)?;
            file.sync_all()?;
            std::fs::rename(&new, path)
        });
    written.map_err(|source| {
        let _ = std::fs::remove_file(&new);
        unwritten(source)
    })
}

impl AgentsApi {
    pub(super) async fn pgp_public_key(
        &self,
        version: &str,
        request: &Request,
    ) -> Result<Response, ApiError> {
        if !request.is_encrypted {
            return Err(ApiError::TlsRequired);
        }
        if !is_version(version) {
            let text = "the version must be three numbers, such as 9.6.0".to_owned();
            return Err(ApiError::BadRequest(text));
        }
        let key = self.signer_key.key().await?;
        Ok(Response::empty(StatusCode::OK).with_body("application/pgp-keys", key))
    }
}

fn is_version(text: &str) -> bool {
    let is_number =
        |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split('.').count() == 3 && text.split('.').all(is_number)
}

impl From<PgpError> for ApiError {
    fn from(error: PgpError) -> ApiError {
        match error {
            PgpError::Fetch { .. } | PgpError::NotAKey(_) | PgpError::Pause => {
                ApiError::Upstream(Box::new(error))
            }
            error => ApiError::Internal(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_numbers() {
        for good in ["9.6.0", "10.0.12"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "9", "9.6", "9.6.0.1", "9.6.x", "9..0", "v9.6.0", "9.6.0-SNAPSHOT", "9.6.0000000000"]
        {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_nobody_else_may() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("a/b");
        let path = dir.join(NAME);
        assert!(read(&path).unwrap().is_none());
        write(&dir, &path, b"key").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), "key");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&dir)), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        for other in [0o644, 0o400, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(other)).unwrap();
            let refused = read(&path).unwrap_err();
            assert!(refused.to_string().contains("chmod 0600"), "{refused}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(read(&path), Err(PgpError::NotAKeyFile(_))));
    }
}
