//! Removing files.

use fleet_store::{Expect, LeaseId, ListRequest, Scope, Write, WriteError};

use super::{ATTEMPTS, File, FileError, Files, KEEP_SECONDS, WINDOW_SECONDS, is_over, millis};
use crate::documents::{FILE_CHUNKS, FILE_PARTS, FileChunk, FileStatus};
use crate::timestamp::Timestamp;

/// Parts that are looked for together: a list brings their bytes too.
const PARTS_TOGETHER: usize = 8;
/// Documents that are removed together.
const REMOVED_TOGETHER: usize = 500;

impl Files {
    /// Removes the bytes of a file. That it was there is still told.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn delete(&self, file: File, now: Timestamp) -> Result<(), FileError> {
        self.close(file, FileStatus::Deleted, now, None).await
    }

    /// What came of an upload is not what was announced.
    pub(super) async fn give_up(&self, file: File, now: Timestamp) -> Result<(), FileError> {
        self.close(file, FileStatus::UploadError, now, None).await
    }

    /// Removes uploads whose time is over, and files that were kept for long enough. Returns how many.
    ///
    /// # Errors
    /// The store does not answer, or the lease is over.
    pub async fn clean_up(&self, now: Timestamp, lease: Option<LeaseId>) -> Result<usize, WriteError> {
        let files = self.files.list(Scope::All).await.map_err(WriteError::NotDone)?;
        let mut removed = 0;
        for file in files.values {
            let document = &file.value;
            if is_over(document.timestamp, KEEP_SECONDS, now) {
                self.drop_bytes(&file.id, lease).await?;
                self.drop_orphans(&file.id, lease).await?;
                // Last, so that what is left of a clean-up that was cut short is found again.
                self.files.delete(&file.id, Expect::Any, lease).await?;
            } else if document.file.status.is_open() && is_over(document.upload_start, WINDOW_SECONDS, now) {
                match self.close(file, FileStatus::Deleted, now, lease).await {
                    Ok(()) | Err(FileError::Busy | FileError::NotFound) => {}
                    Err(FileError::Store(error)) => return Err(error),
                    // Nothing else comes of closing.
                    Err(_) => continue,
                }
            } else {
                continue;
            }
            removed += 1;
        }
        Ok(removed)
    }

    /// Says first what has become of a file, so that no more of it comes, and removes its bytes then.
    async fn close(
        &self,
        mut file: File,
        status: FileStatus,
        now: Timestamp,
        lease: Option<LeaseId>,
    ) -> Result<(), FileError> {
        for _ in 0..ATTEMPTS {
            let mut document = file.value.clone();
            document.file.status = status;
            document.timestamp = millis(now);
            let expect = Expect::Revision(file.revision);
            match self.files.put(&file.id, &document, expect, None, lease).await {
                Ok(_) => {
                    self.room.lock().await.forget();
                    self.drop_bytes(&file.id, lease).await?;
                    return Ok(());
                }
                Err(WriteError::Conflict { .. }) => {
                    file = self.find(&file.id).await?.ok_or(FileError::NotFound)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(FileError::Busy)
    }

    async fn drop_bytes(&self, file_id: &str, lease: Option<LeaseId>) -> Result<(), WriteError> {
        for chunk in self.chunks_of(file_id).await.map_err(WriteError::NotDone)? {
            let parts = chunk.part_ids().map(|id| Write::delete(id, Expect::Any)).collect();
            for answer in self.store.write_many(&FILE_PARTS, parts, lease).await {
                answer?;
            }
            let id = FileChunk::id(file_id, chunk.number);
            self.store.write(&FILE_CHUNKS, Write::delete(id, Expect::Any), lease).await?;
        }
        Ok(())
    }

    /// Removes what no chunk names: of attempts that broke off, and of chunks that cannot be read.
    async fn drop_orphans(&self, file_id: &str, lease: Option<LeaseId>) -> Result<(), WriteError> {
        for (collection, together) in [(&FILE_PARTS, PARTS_TOGETHER), (&FILE_CHUNKS, REMOVED_TOGETHER)] {
            loop {
                let request =
                    ListRequest { limit: Some(together), ..ListRequest::prefix(format!("{file_id}.")) };
                let page = self.store.list(collection, request).await.map_err(WriteError::NotDone)?;
                let ids = page.documents.into_iter().map(|document| document.id);
                let writes = ids.map(|id| Write::delete(id, Expect::Any)).collect();
                for answer in self.store.write_many(collection, writes, lease).await {
                    answer?;
                }
                if page.next.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}
