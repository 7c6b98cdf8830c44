//! The bytes of a file, as they are stored.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use fleet_store::Store;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::part::{PART, decode};
use super::{CHUNK, File, FileError, Files, complete};
use crate::documents::{FILE_PARTS, FileStatus};

/// Bytes of a file, a part at a time.
pub type FileStream = BoxStream<'static, Result<Bytes, FileError>>;

/// What of a part is wanted.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    id: String,
    wanted: Range<usize>,
}

impl Files {
    /// The bytes of a file in this range, which lies within its size. At most one part is in memory.
    ///
    /// # Errors
    /// The file is not whole, or the store does not answer.
    pub async fn read(&self, file: &File, range: Range<u64>) -> Result<FileStream, FileError> {
        let document = &file.value;
        if document.file.status != FileStatus::Ready {
            return Err(FileError::NotFound);
        }
        let chunks = self.chunks_of(&file.id).await?;
        let transit = document.transithash.as_ref().map(|hash| hash.sha256.as_str()).unwrap_or_default();
        // A chunk that came in another version after the end does not count.
        complete(document, &chunks, transit).map_err(|_| FileError::Corrupt(file.id.clone()))?;
        let ids = chunks.iter().flat_map(|chunk| {
            let start = u64::from(chunk.number) * CHUNK;
            chunk
                .part_ids()
                .zip(0_u64..)
                .map(move |(id, part)| (id, start + part * PART as u64, start + chunk.size))
        });
        let pieces: Vec<Piece> = ids.filter_map(|(id, start, end)| piece(id, start, end, &range)).collect();
        let (store, file_id) = (Arc::clone(&self.store), file.id.clone());
        let bytes =
            stream::iter(pieces).then(move |piece| read_piece(Arc::clone(&store), file_id.clone(), piece));
        Ok(bytes.boxed())
    }
}

/// What of the part that begins at `start`, in a chunk that ends at `chunk_end`, lies in `range`.
fn piece(id: String, start: u64, chunk_end: u64, range: &Range<u64>) -> Option<Piece> {
    let end = (start + PART as u64).min(chunk_end);
    let (from, to) = (range.start.max(start), range.end.min(end));
    let within = |at: u64| usize::try_from(at - start).ok();
    if from < to { Some(Piece { id, wanted: within(from)?..within(to)? }) } else { None }
}

async fn read_piece(store: Arc<dyn Store>, file_id: String, piece: Piece) -> Result<Bytes, FileError> {
    let document = store.get(&FILE_PARTS, &piece.id).await?;
    let bytes = document.and_then(|document| decode(&document.body));
    match bytes {
        Some(bytes) if bytes.len() >= piece.wanted.end => Ok(bytes.slice(piece.wanted)),
        _ => Err(FileError::Corrupt(file_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range() {
        let part = PART as u64;
        let wanted = |start, end, range: Range<u64>| {
            piece(String::new(), start, end, &range).map(|piece| piece.wanted)
        };
        assert_eq!(wanted(0, CHUNK, 0..1), Some(0..1));
        assert_eq!(wanted(part, CHUNK, 0..part), None);
        assert_eq!(wanted(part, CHUNK, part - 1..part + 5), Some(0..5));
        assert_eq!(wanted(part, part + 3, 0..CHUNK), Some(0..3));
        assert_eq!(wanted(part, CHUNK, 0..CHUNK), Some(0..PART));
    }
}
