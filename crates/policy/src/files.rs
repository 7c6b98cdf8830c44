//! Files that agents upload, and files that are to be delivered to them.
//!
//! A file is a document ([`FileDocument`]), a document for each chunk that has arrived whole ([`FileChunk`]),
//! and the bytes of chunks in parts: a chunk has 4 MiB, a document of a store at most 1 MiB. Each attempt to
//! send a chunk writes parts of its own, and the chunk's document, written last, names the attempt that counts:
//! what breaks off in the middle, comes twice or comes at once in two versions leaves no mixture.

mod begin;
mod clean;
mod part;
mod read;
mod receive;
mod room;

use std::sync::Arc;

use fleet_store::{Error, ErrorKind, Expect, ListRequest, Scope, Store, Typed, Versioned, WriteError};
use ring::digest::{Context, SHA256};
use tokio::sync::{Mutex, Semaphore};

use crate::documents::{FILE_CHUNKS, FILES, FileChunk, FileDocument, FileStatus, TransitHash};
use crate::timestamp::Timestamp;
pub use begin::Begin;
pub use part::PART;
pub use part::{decode as decode_part, encode as encode_part};
pub use read::FileStream;
pub use receive::Receiving;
use room::Room;

/// Bytes of each chunk but the last: part of the protocol.
pub const CHUNK: u64 = 4 << 20;
/// The largest file in bytes.
pub const LARGEST: u64 = 4 << 30;
/// An upload must be done within so many seconds.
pub const WINDOW_SECONDS: u64 = 24 * 60 * 60;
/// Files are kept for so many seconds after they last changed.
pub const KEEP_SECONDS: u64 = 7 * WINDOW_SECONDS;
/// A document that changes at the same moment is decided again so often.
const ATTEMPTS: usize = 5;

/// How much files may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes of all files together. 0: there are no files.
    pub storage: u64,
    /// Chunks whose bytes are in memory at a time, a part of each.
    pub receiving: usize,
}

/// Why something cannot be done with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Files are switched off.
    #[error("files are switched off")]
    Disabled,
    /// No such file.
    #[error("there is no such upload")]
    NotFound,
    /// What was announced is not right.
    #[error("{0}")]
    Invalid(String),
    /// The file is larger than a file may be.
    #[error("the file may have {0} bytes")]
    TooLarge(u64),
    /// There is no room left in so many bytes.
    #[error("there is no room for a file of this size: there are {0} bytes for such files together")]
    NoRoom(u64),
    /// The agent has uploaded too many files lately.
    #[error("the agent has {0} files already: they are kept for 7 days")]
    TooMany(u64),
    /// The time for it is over.
    #[error("the upload is over: it must be done within 24 hours")]
    Expired,
    /// It is finished, or given up.
    #[error("the upload is finished or given up")]
    Closed,
    /// The chunk's number is too high for the file.
    #[error("the file has {chunks} chunks, counted from 0")]
    NoSuchChunk {
        /// How many there are.
        chunks: u32,
    },
    /// The chunk is too short or too long.
    #[error("the chunk must have {expected} bytes")]
    ChunkSize {
        /// How many it must have.
        expected: u64,
    },
    /// The bytes are not those that were announced.
    #[error("the hash does not match")]
    HashMismatch,
    /// Some of it has not come.
    #[error("chunks are missing: {have} of {chunks} came")]
    MissingChunks {
        /// How many came.
        have: usize,
        /// How many there are.
        chunks: u32,
    },
    /// It changes all the time.
    #[error("the upload changes at the same moment")]
    Busy,
    /// What is stored is not what was written.
    #[error("what is stored of a file cannot be read: {0}")]
    Corrupt(String),
    /// The store does not answer.
    #[error("the store does not answer")]
    Store(#[source] WriteError),
}

impl From<WriteError> for FileError {
    fn from(error: WriteError) -> FileError {
        FileError::Store(error)
    }
}

impl From<Error> for FileError {
    fn from(error: Error) -> FileError {
        match error.kind {
            ErrorKind::Corrupt => FileError::Corrupt(error.message),
            _ => FileError::Store(WriteError::NotDone(error)),
        }
    }
}

/// The files.
#[derive(Debug)]
pub struct Files {
    store: Arc<dyn Store>,
    files: Typed<FileDocument>,
    chunks: Typed<FileChunk>,
    limits: FileLimits,
    receiving: Arc<Semaphore>,
    room: Mutex<Room>,
}

/// A file as it was read.
pub type File = Versioned<FileDocument>;

impl Files {
    /// The files in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, limits: FileLimits) -> Files {
        Files {
            store: Arc::clone(store),
            files: Typed::new(Arc::clone(store), &FILES),
            chunks: Typed::new(Arc::clone(store), &FILE_CHUNKS),
            limits,
            receiving: Arc::new(Semaphore::new(limits.receiving.clamp(1, Semaphore::MAX_PERMITS))),
            room: Mutex::default(),
        }
    }

    /// The file with this id. What cannot be an id of a file is none.
    ///
    /// # Errors
    /// The store does not answer, or the document cannot be read.
    pub async fn find(&self, id: &str) -> Result<Option<File>, Error> {
        let is_id = !id.is_empty()
            && id.len() <= 64
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_id { self.files.get(id).await } else { Ok(None) }
    }

    /// What an agent has uploaded, newest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn of_agent(&self, agent_id: &str) -> Result<Vec<File>, Error> {
        let filter = vec![("agent_id", agent_id.to_owned())];
        let (listing, _) = self.files.page(ListRequest { filter, ..ListRequest::all() }).await?;
        let mut files = listing.values;
        files.sort_by(|a, b| (b.value.upload_start, &a.id).cmp(&(a.value.upload_start, &b.id)));
        Ok(files)
    }

    /// Ends an upload: its chunks are all there, and are what the agent sent. To end it again the same way is
    /// done, not an error. What is not right is given up.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn finish(&self, mut file: File, transit: &str, now: Timestamp) -> Result<(), FileError> {
        for _ in 0..ATTEMPTS {
            let document = &file.value;
            let is_same =
                document.transithash.as_ref().is_some_and(|hash| hash.sha256.eq_ignore_ascii_case(transit));
            if document.file.status == FileStatus::Ready && is_same {
                return Ok(());
            }
            check_open(document, now)?;
            let chunks = self.chunks_of(&file.id).await?;
            if let Err(error) = complete(document, &chunks, transit) {
                self.give_up(file, now).await?;
                return Err(error);
            }
            let mut ready = document.clone();
            ready.file.status = FileStatus::Ready;
            ready.transithash = Some(TransitHash { sha256: transit.to_ascii_lowercase() });
            ready.timestamp = millis(now);
            match self.files.put(&file.id, &ready, Expect::Revision(file.revision), None, None).await {
                Ok(_) => return Ok(()),
                Err(WriteError::Conflict { .. }) => {
                    file = self.find(&file.id).await?.ok_or(FileError::NotFound)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(FileError::Busy)
    }

    /// The chunks that have arrived, in their order.
    async fn chunks_of(&self, file_id: &str) -> Result<Vec<FileChunk>, Error> {
        let listing = self.chunks.list(Scope::Prefix(format!("{file_id}."))).await?;
        Ok(listing.values.into_iter().map(|chunk| chunk.value).collect())
    }
}

/// How many chunks a file of this size has.
#[must_use]
pub fn chunk_count(size: u64) -> u32 {
    u32::try_from(size.div_ceil(CHUNK)).unwrap_or(u32::MAX)
}

/// How many bytes the chunk of this number has.
fn chunk_size(size: u64, number: u32) -> u64 {
    size.saturating_sub(u64::from(number) * CHUNK).min(CHUNK)
}

fn millis(moment: Timestamp) -> i64 {
    moment.unix().saturating_mul(1000)
}

fn is_over(start_millis: i64, seconds: u64, now: Timestamp) -> bool {
    let age = millis(now).saturating_sub(start_millis);
    u64::try_from(age).unwrap_or(0) > seconds.saturating_mul(1000)
}

fn check_open(document: &FileDocument, now: Timestamp) -> Result<(), FileError> {
    if !document.file.status.is_open() {
        return Err(FileError::Closed);
    }
    if is_over(document.upload_start, WINDOW_SECONDS, now) {
        return Err(FileError::Expired);
    }
    Ok(())
}

/// Whether `chunks` are all of the file.
fn complete(document: &FileDocument, chunks: &[FileChunk], transit: &str) -> Result<(), FileError> {
    let count = chunk_count(document.file.size);
    if chunks.len() != count as usize {
        return Err(FileError::MissingChunks { have: chunks.len(), chunks: count });
    }
    for (chunk, number) in chunks.iter().zip(0..) {
        let expected = chunk_size(document.file.size, number);
        if chunk.number != number || chunk.size != expected || chunk.last != (number + 1 == count) {
            return Err(FileError::ChunkSize { expected });
        }
    }
    let digests: Option<Vec<Vec<u8>>> = chunks.iter().map(|chunk| hex::decode(&chunk.sha2).ok()).collect();
    let digests = digests.ok_or_else(|| FileError::Corrupt(document.upload_id.clone()))?;
    if transit_hash(digests).eq_ignore_ascii_case(transit) { Ok(()) } else { Err(FileError::HashMismatch) }
}

/// SHA-256 over the digests of all chunks in their order, in hexadecimal.
pub fn transit_hash(digests: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut context = Context::new(&SHA256);
    for digest in digests {
        context.update(digest.as_ref());
    }
    hex::encode(context.finish().as_ref())
}

/// Whether this is a SHA-256 digest in hexadecimal.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
