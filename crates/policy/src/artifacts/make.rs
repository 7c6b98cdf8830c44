//! Making artifacts, and removing them.

use std::io::Write as _;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use fleet_store::{Expect, Write, WriteError};
use ring::digest::{SHA256, digest};

use super::{ArtifactError, Artifacts, LARGEST, checked_id};
use crate::documents::{ARTIFACT_PARTS, Artifact};
use crate::files::{PART, encode_part};
use crate::timestamp::Timestamp;

/// An artifact that is to be made.
#[derive(Clone, Debug, Default)]
pub struct Make {
    /// What it is.
    pub identifier: String,
    /// Its kind.
    pub kind: String,
    /// The package that it belongs to.
    pub package_name: String,
    /// What it is once it is unpacked.
    pub decoded: Bytes,
}

impl Artifacts {
    /// Makes an artifact, compressed. One that is there already stays.
    ///
    /// # Errors
    /// See [`ArtifactError`].
    pub async fn make(&self, make: Make, now: Timestamp) -> Result<Artifact, ArtifactError> {
        let decoded_sha256 = hex::encode(digest(&SHA256, &make.decoded).as_ref());
        let id = checked_id(&make.identifier, &decoded_sha256)?;
        if let Some(found) = self.artifacts.get(&id).await? {
            return Ok(found.value);
        }
        let decoded = make.decoded.clone();
        let compressed = tokio::task::spawn_blocking(move || compress(&decoded)).await;
        let encoded = compressed.map_err(|error| ArtifactError::Compress(error.into()))?;
        let encoded = encoded.map_err(ArtifactError::Compress)?;
        if encoded.len() > LARGEST {
            return Err(ArtifactError::Invalid(format!("an artifact may have {LARGEST} bytes, compressed")));
        }
        let mut artifact = Artifact {
            compression_algorithm: "zlib".to_owned(),
            encryption_algorithm: "none".to_owned(),
            encoded_sha256: hex::encode(digest(&SHA256, &encoded).as_ref()),
            encoded_size: encoded.len() as u64,
            decoded_size: make.decoded.len() as u64,
            created: now,
            relative_url: format!("/api/fleet/artifacts/{}/{decoded_sha256}", make.identifier),
            identifier: make.identifier,
            decoded_sha256,
            package_name: make.package_name,
            kind: make.kind,
            ..Artifact::default()
        };
        if encoded.len() <= PART {
            artifact.body = Some(STANDARD.encode(&encoded));
        } else {
            for part in encoded.chunks(PART) {
                let write = Write::put(artifact.part_id(artifact.parts), Expect::Any, encode_part(part));
                self.store.write(&ARTIFACT_PARTS, write, None).await?;
                artifact.parts += 1;
            }
        }
        match self.artifacts.put(&id, &artifact, Expect::Absent, None, None).await {
            // Somebody else has made the same.
            Ok(_) | Err(WriteError::Conflict { .. }) => Ok(artifact),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an artifact. Servers that have it in their cache keep it for a while; they serve it only as long
    /// as a policy names it. Whether there was one.
    ///
    /// # Errors
    /// See [`ArtifactError`].
    pub async fn remove(&self, id: &str) -> Result<bool, ArtifactError> {
        let Some(found) = self.artifacts.get(id).await? else { return Ok(false) };
        self.cache().remove(id);
        let parts = (0..found.value.parts).map(|part| Write::delete(found.value.part_id(part), Expect::Any));
        let parts = parts.collect();
        for answer in Arc::clone(&self.store).write_many(&ARTIFACT_PARTS, parts, None).await {
            answer?;
        }
        // Last, so that what is left of a removal that was cut short can be removed again.
        self.artifacts.delete(id, Expect::Any, None).await?;
        Ok(true)
    }
}

fn compress(decoded: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(decoded)?;
    encoder.finish()
}
