//! Sending a file in chunks.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use ring::digest::{Context, SHA256, digest};
use serde::Deserialize;
use serde_json::json;

use super::backoff::Backoff;
use super::client::{Call, CallError, FleetClient};

/// The longest time for a chunk.
const CHUNK_TIME: Duration = Duration::from_secs(300);
/// The largest chunk that a server may ask for.
const LARGEST_CHUNK: usize = 64 * 1024 * 1024;

/// Why a file is not sent.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// A step failed, and doing it again did not help.
    #[error("{step} failed")]
    Step {
        /// Which.
        step: String,
        /// Why.
        #[source]
        source: CallError,
    },
    /// The server wants chunks of a size that makes no sense.
    #[error("the server wants chunks of {0} bytes")]
    ChunkSize(usize),
}

/// How failures are met.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// How often a step is tried again.
    pub most: u32,
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { most: 10, first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// What is sent, and why.
#[derive(Clone, Debug)]
pub struct Upload<'a> {
    /// The agent.
    pub agent_id: &'a str,
    /// Its key.
    pub key: &'a str,
    /// The action that asked for it.
    pub action_id: &'a str,
    /// The file's name.
    pub name: &'a str,
    /// Its type.
    pub mime_type: &'a str,
    /// Its content.
    pub content: Bytes,
}

#[derive(Deserialize)]
struct Begun {
    upload_id: String,
    chunk_size: usize,
}

/// Sends a file. Returns the upload's id, which belongs into the acknowledgement.
///
/// # Errors
/// [`UploadError`].
pub async fn upload(
    client: &FleetClient,
    file: &Upload<'_>,
    retries: Retries,
) -> Result<String, UploadError> {
    let begin = json!({
        "action_id": file.action_id,
        "agent_id": file.agent_id,
        "src": "agent",
        "file": {
            "name": file.name,
            "size": file.content.len(),
            "mime_type": file.mime_type,
            "Compression": "",
            "hash": {"sha256": hex::encode(digest(&SHA256, &file.content).as_ref())},
        },
    });
    let call = Call::post("/api/fleet/uploads", file.key, begin.to_string().into_bytes(), CHUNK_TIME);
    let begun: Begun = persistently(client, &call, "beginning the upload", retries).await?;
    if begun.chunk_size == 0 || begun.chunk_size > LARGEST_CHUNK {
        return Err(UploadError::ChunkSize(begun.chunk_size));
    }
    let mut transit = Context::new(&SHA256);
    for (number, start) in (0..file.content.len()).step_by(begun.chunk_size).enumerate() {
        let end = (start + begun.chunk_size).min(file.content.len());
        let chunk = file.content.slice(start..end);
        let hash = digest(&SHA256, &chunk);
        transit.update(hash.as_ref());
        put_chunk(client, file.key, &begun.upload_id, number, chunk, hash.as_ref(), retries).await?;
    }
    let finish = json!({"transithash": {"sha256": hex::encode(transit.finish().as_ref())}});
    let path = format!("/api/fleet/uploads/{}", begun.upload_id);
    let call = Call::post(&path, file.key, finish.to_string().into_bytes(), CHUNK_TIME);
    persist(client, &call, "ending the upload", retries).await?;
    Ok(begun.upload_id)
}

async fn put_chunk(
    client: &FleetClient,
    key: &str,
    upload_id: &str,
    number: usize,
    body: Bytes,
    hash: &[u8],
    retries: Retries,
) -> Result<(), UploadError> {
    let path = format!("/api/fleet/uploads/{upload_id}/{number}");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(hash) = HeaderValue::try_from(hex::encode(hash)) {
        headers.insert("x-chunk-sha2", hash);
    }
    let call = Call { method: Method::PUT, path: &path, key: Some(key), body, headers, timeout: CHUNK_TIME };
    persist(client, &call, &format!("sending chunk {number}"), retries).await.map(drop)
}

async fn persistently<T: serde::de::DeserializeOwned>(
    client: &FleetClient,
    call: &Call<'_>,
    step: &str,
    retries: Retries,
) -> Result<T, UploadError> {
    let answer = persist(client, call, step, retries).await?;
    answer.read().map_err(|source| UploadError::Step { step: step.to_owned(), source })
}

async fn persist(
    client: &FleetClient,
    call: &Call<'_>,
    step: &str,
    retries: Retries,
) -> Result<super::client::Answer, UploadError> {
    let mut backoff = Backoff::new(retries.first, retries.longest);
    for attempt in 0.. {
        match client.send(call).await {
            Ok(answer) => return Ok(answer),
            Err(source) if attempt >= retries.most || is_final(&source) => {
                return Err(UploadError::Step { step: step.to_owned(), source });
            }
            Err(error) => {
                tracing::warn!(step, error = &error as &dyn std::error::Error, "upload failed, trying again");
                tokio::time::sleep(backoff.wait()).await;
            }
        }
    }
    Err(UploadError::ChunkSize(0))
}

/// Whether trying again is of no use.
fn is_final(error: &CallError) -> bool {
    error.status().is_some_and(|status| {
        status.is_client_error()
            && !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
    })
}
