//! A chunk on its way into the store.

use bytes::BytesMut;
use fleet_store::{Expect, Write, WriteError};
use ring::digest::{Context, Digest, SHA256, digest};
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::part::{PART, encode};
use super::{
    ATTEMPTS, CHUNK, File, FileError, Files, check_open, chunk_count, chunk_size, is_sha256, millis,
};
use crate::documents::{FILE_PARTS, FileChunk, FileDocument, FileStatus, part_id};
use crate::timestamp::Timestamp;

/// A chunk that is coming in. At most one part of it is in memory.
pub struct Receiving<'a> {
    files: &'a Files,
    file: File,
    chunk: FileChunk,
    /// Bytes that it must have.
    expected: u64,
    /// What is there of this number already.
    before: Option<FileChunk>,
    /// The same chunk is there already: only its hash is looked at.
    is_repeat: bool,
    part: BytesMut,
    digest: Context,
    now: Timestamp,
    _room: OwnedSemaphorePermit,
}

impl Files {
    /// Begins to take a chunk, whose SHA-256 the agent has announced. Waits while too many others come in.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn receive(
        &self,
        file: File,
        number: u32,
        sha2: &str,
        now: Timestamp,
    ) -> Result<Receiving<'_>, FileError> {
        check_open(&file.value, now)?;
        let chunks = chunk_count(file.value.file.size);
        if number >= chunks {
            return Err(FileError::NoSuchChunk { chunks });
        }
        if !is_sha256(sha2) {
            return Err(FileError::Invalid("X-Chunk-SHA2 must have 64 hexadecimal digits".to_owned()));
        }
        let room =
            std::sync::Arc::clone(&self.receiving).acquire_owned().await.map_err(|_| FileError::Busy)?;
        let sha2 = sha2.to_ascii_lowercase();
        let before = self.chunks.get(&FileChunk::id(&file.id, number)).await?.map(|chunk| chunk.value);
        let is_repeat = before.as_ref().is_some_and(|chunk| chunk.sha2 == sha2);
        let chunk = FileChunk {
            timestamp: millis(now),
            bid: file.id.clone(),
            number,
            last: number + 1 == chunks,
            sha2,
            size: 0,
            attempt: uuid::Uuid::new_v4().simple().to_string(),
            parts: 0,
        };
        Ok(Receiving {
            files: self,
            expected: chunk_size(file.value.file.size, number),
            file,
            chunk,
            before,
            is_repeat,
            part: BytesMut::new(),
            digest: Context::new(&SHA256),
            now,
            _room: room,
        })
    }

    /// Takes a whole chunk from memory. Returns its digest, for [`transit_hash`](super::transit_hash).
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn take_chunk(
        &self,
        file: &File,
        number: u32,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<Digest, FileError> {
        let digest = digest(&SHA256, bytes);
        let mut receiving = self.receive(file.clone(), number, &hex::encode(digest.as_ref()), now).await?;
        receiving.push(bytes).await?;
        receiving.end().await?;
        Ok(digest)
    }

    /// Something of the file has come.
    async fn mark_uploading(&self, mut file: File, now: Timestamp) -> Result<(), FileError> {
        for _ in 0..ATTEMPTS {
            match file.value.file.status {
                FileStatus::AwaitingUpload => {}
                FileStatus::Uploading => return Ok(()),
                _ => return Err(FileError::Closed),
            }
            let mut document: FileDocument = file.value.clone();
            document.file.status = FileStatus::Uploading;
            document.timestamp = millis(now);
            match self.files.put(&file.id, &document, Expect::Revision(file.revision), None, None).await {
                Ok(_) => return Ok(()),
                // Another chunk came first.
                Err(WriteError::Conflict { .. }) => {
                    file = self.find(&file.id).await?.ok_or(FileError::NotFound)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(FileError::Busy)
    }

    /// Removes parts that nothing names. What stays goes with the file.
    pub(super) async fn drop_parts(&self, chunk: &FileChunk) {
        let writes = chunk.part_ids().map(|id| Write::delete(id, Expect::Any)).collect();
        for answer in self.store.write_many(&FILE_PARTS, writes, None).await {
            if let Err(error) = answer {
                warn!(
                    file = chunk.bid,
                    error = &error as &dyn std::error::Error,
                    "a part of a chunk stays until its file is removed"
                );
            }
        }
    }
}

impl Receiving<'_> {
    /// How many bytes the chunk must have.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// There are more than the chunk has, or the store does not answer.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.chunk.size += bytes.len() as u64;
        if self.chunk.size > self.expected {
            self.files.drop_parts(&self.chunk).await;
            return Err(FileError::ChunkSize { expected: self.expected });
        }
        self.digest.update(bytes);
        if self.is_repeat {
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.part.capacity() == 0 {
                let most = usize::try_from(self.expected.min(CHUNK)).unwrap_or(PART);
                self.part.reserve(PART.min(most));
            }
            let (now, later) = rest.split_at(rest.len().min(PART - self.part.len()));
            self.part.extend_from_slice(now);
            rest = later;
            if self.part.len() == PART {
                self.write_part().await?;
            }
        }
        Ok(())
    }

    /// The chunk is whole: from now on it counts.
    ///
    /// # Errors
    /// It is not what was announced, or the store does not answer.
    pub async fn end(mut self) -> Result<(), FileError> {
        let digest = self.digest.clone().finish();
        let error = if self.chunk.size != self.expected {
            Some(FileError::ChunkSize { expected: self.expected })
        } else if hex::encode(digest.as_ref()) != self.chunk.sha2 {
            Some(FileError::HashMismatch)
        } else {
            None
        };
        if let Some(error) = error {
            self.files.drop_parts(&self.chunk).await;
            return Err(error);
        }
        if self.is_repeat {
            return Ok(());
        }
        if !self.part.is_empty() {
            self.write_part().await?;
        }
        self.files.mark_uploading(self.file, self.now).await?;
        let id = FileChunk::id(&self.chunk.bid, self.chunk.number);
        self.files.chunks.put(&id, &self.chunk, Expect::Any, None, None).await?;
        if let Some(before) = self.before {
            self.files.drop_parts(&before).await;
        }
        Ok(())
    }

    async fn write_part(&mut self) -> Result<(), FileError> {
        let id = part_id(&self.chunk.bid, self.chunk.number, &self.chunk.attempt, self.chunk.parts);
        let body = encode(&self.part);
        self.part.clear();
        // Counted first: a part that may have been written is one that may have to be removed.
        self.chunk.parts += 1;
        self.files.store.write(&FILE_PARTS, Write::put(id, Expect::Any, body), None).await?;
        Ok(())
    }
}

impl std::fmt::Debug for Receiving<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Receiving").field("chunk", &self.chunk).finish_non_exhaustive()
    }
}
