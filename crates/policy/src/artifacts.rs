//! Artifacts: made once, fetched by every agent whose policy names them.
//!
//! Thousands of agents ask for the same few at the same moment, when a policy that names them goes out. What is
//! loaded is shared and kept in a cache with a bound; an artifact is loaded once for all that wait for it, and
//! only a few are loaded at a time.

mod cache;
mod make;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleet_store::{Error, ErrorKind, Store, Typed, WriteError};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};

use crate::documents::{ARTIFACT_PARTS, ARTIFACTS, Artifact, DeployedPolicy};
use crate::files::{decode_part, is_sha256};
use cache::Cache;
pub use make::Make;

/// The largest artifact, as it is sent, in bytes.
pub const LARGEST: usize = 16 << 20;
/// So many are loaded at a time.
const LOADED_TOGETHER: usize = 8;
/// The longest identifier in bytes.
const LONGEST_IDENTIFIER: usize = 128;

/// Why there is no artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// What is asked for, or given, is not right.
    #[error("{0}")]
    Invalid(String),
    /// Too many are loaded.
    #[error("too many artifacts are loaded at the moment")]
    Busy,
    /// What is stored is not what was written.
    #[error("what is stored of artifact {0} is not what it should be")]
    Corrupt(String),
    /// It cannot be compressed.
    #[error("the artifact cannot be compressed")]
    Compress(#[source] std::io::Error),
    /// The store does not answer.
    #[error("the store does not answer")]
    Store(#[source] WriteError),
}

impl From<WriteError> for ArtifactError {
    fn from(error: WriteError) -> ArtifactError {
        ArtifactError::Store(error)
    }
}

impl From<Error> for ArtifactError {
    fn from(error: Error) -> ArtifactError {
        match error.kind {
            ErrorKind::Corrupt => ArtifactError::Corrupt(error.message),
            _ => ArtifactError::Store(WriteError::NotDone(error)),
        }
    }
}

type Load = Arc<OnceCell<Option<Bytes>>>;

/// The artifacts.
#[derive(Debug)]
pub struct Artifacts {
    store: Arc<dyn Store>,
    artifacts: Typed<Artifact>,
    cache: Mutex<Cache>,
    loads: Mutex<HashMap<String, Load>>,
    places: Semaphore,
}

impl Artifacts {
    /// The artifacts in `store`. Of what was loaded, `cache` bytes are kept at most, each for `keep` at most.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, cache: usize, keep: Duration) -> Artifacts {
        Artifacts {
            store: Arc::clone(store),
            artifacts: Typed::new(Arc::clone(store), &ARTIFACTS),
            cache: Mutex::new(Cache::new(cache, keep)),
            loads: Mutex::default(),
            places: Semaphore::new(LOADED_TOGETHER),
        }
    }

    /// What is sent of the artifact with this [`Artifact::id`], if there is one.
    ///
    /// # Errors
    /// See [`ArtifactError`].
    pub async fn get(&self, id: &str) -> Result<Option<Bytes>, ArtifactError> {
        if let Some(bytes) = self.cache().get(id) {
            return Ok(Some(bytes));
        }
        let load = Loading::of(self, id);
        load.cell.get_or_try_init(|| self.load(id)).await.cloned()
    }

    async fn load(&self, id: &str) -> Result<Option<Bytes>, ArtifactError> {
        // Whoever waited for another's load that failed may find it here.
        if let Some(bytes) = self.cache().get(id) {
            return Ok(Some(bytes));
        }
        let _place = self.places.try_acquire().map_err(|_| ArtifactError::Busy)?;
        let Some(found) = self.artifacts.get(id).await? else { return Ok(None) };
        let artifact = found.value;
        let bytes = match &artifact.body {
            Some(body) => STANDARD.decode(body).ok().map(Bytes::from),
            None => self.load_parts(&artifact).await?,
        };
        let is_right = |bytes: &Bytes| {
            hex::encode(digest(&SHA256, bytes).as_ref()).eq_ignore_ascii_case(&artifact.encoded_sha256)
        };
        let bytes = bytes.filter(is_right).ok_or_else(|| ArtifactError::Corrupt(id.to_owned()))?;
        self.cache().insert(id, &bytes);
        Ok(Some(bytes))
    }

    async fn load_parts(&self, artifact: &Artifact) -> Result<Option<Bytes>, Error> {
        let size = usize::try_from(artifact.encoded_size).unwrap_or(usize::MAX);
        if size > LARGEST {
            return Ok(None);
        }
        let mut whole = Vec::with_capacity(size);
        for part in 0..artifact.parts {
            let document = self.store.get(&ARTIFACT_PARTS, &artifact.part_id(part)).await?;
            let Some(bytes) = document.and_then(|document| decode_part(&document.body)) else {
                return Ok(None);
            };
            if bytes.len() > size - whole.len() {
                return Ok(None);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(Some(whole.into()))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Load>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for an artifact to be loaded.
struct Loading<'a> {
    artifacts: &'a Artifacts,
    id: &'a str,
    cell: Load,
}

impl<'a> Loading<'a> {
    fn of(artifacts: &'a Artifacts, id: &'a str) -> Loading<'a> {
        let cell = Arc::clone(artifacts.loads().entry(id.to_owned()).or_default());
        Loading { artifacts, id, cell }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut loads = self.artifacts.loads();
        // What is loaded is in the cache now, or too large for it; nobody is to find it here later.
        let is_over = self.cell.initialized() || Arc::strong_count(&self.cell) == 2;
        if is_over && loads.get(self.id).is_some_and(|load| Arc::ptr_eq(load, &self.cell)) {
            loads.remove(self.id);
        }
    }
}

/// The artifacts that a policy names, by their [`Artifact::id`]s: its agents may fetch them.
#[must_use]
pub fn named_by(policy: &DeployedPolicy) -> BTreeSet<Box<str>> {
    let inputs = policy.data.get("inputs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let manifests =
        inputs.iter().filter_map(|input| input.pointer("/artifact_manifest/artifacts")?.as_object());
    let named = manifests.flatten().filter_map(|(identifier, artifact)| {
        let decoded_sha256 = artifact.get("decoded_sha256")?.as_str()?;
        Some(Artifact::id(identifier, &decoded_sha256.to_ascii_lowercase()).into())
    });
    named.collect()
}

/// The [`Artifact::id`] of what is asked for by identifier and hash.
///
/// # Errors
/// One of them has not its form.
pub fn checked_id(identifier: &str, decoded_sha256: &str) -> Result<String, ArtifactError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if identifier.is_empty() || identifier.len() > LONGEST_IDENTIFIER || !identifier.bytes().all(is_plain) {
        let text = format!("the identifier may have {LONGEST_IDENTIFIER} letters, digits and any of - _ .");
        return Err(ArtifactError::Invalid(text));
    }
    if !is_sha256(decoded_sha256) {
        return Err(ArtifactError::Invalid("the hash must have 64 hexadecimal digits".to_owned()));
    }
    Ok(Artifact::id(identifier, &decoded_sha256.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests;
